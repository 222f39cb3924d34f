"""NWB files of about 60 MB, 300 MB and 1.4 GB, with the demo's writer and the real files' shape.

What the demo's files lack to be read like real ones is added here: about as many datasets (the
real ones have 239), by way of eye tracking, motion correction and more tables of presentations.
One cell's dF/F strides through 15 MB of the 300 MB file and 277 MB of the large one; the
stimulus templates take 166 MB of both.

A file is made by a process of its own, so that pynwb and its gigabytes stay out of the benchmark.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

#: By name: samples of running, cells, frames, frame rate, (images, rows, columns).
SHAPES: dict[str, tuple[int, int, int, float, tuple[int, int, int]]] = {
    "nwb60.nwb": (100_000, 24, 28_000, 31.0, (8, 400, 640)),
    "nwb300.nwb": (135_000, 40, 48_200, 11.0, (8, 1200, 2160)),
    "nwb1400.nwb": (270_000, 247, 140_000, 31.0, (8, 1200, 2160)),
}
#: A tenth of each, with as many datasets.
SMALL: dict[str, tuple[int, int, int, float, tuple[int, int, int]]] = {
    "nwb60.nwb": (12_000, 8, 5_600, 31.0, (8, 100, 320)),
    "nwb300.nwb": (27_000, 16, 12_000, 11.0, (8, 400, 640)),
    "nwb1400.nwb": (27_000, 50, 68_000, 31.0, (8, 400, 640)),
}
TABLES = 12
ELLIPSES = ("eye", "pupil", "corneal_reflection")
MEASURES = ("area", "area_raw", "angle", "width", "height", "likely_blink")


def write(path: Path, size: str) -> None:
    """Make the NWB file that is called so; CalledProcessError if that fails."""
    words = [sys.executable, "-m", "tests.benchmarks.nwbfiles", str(path), size]
    subprocess.run(words, cwd=Path(__file__).resolve().parents[2], check=True)


def _write(path: Path, shape: Any) -> None:
    from pynwb import NWBHDF5IO

    from vbofs.demo import behavior, imaging, nwb
    from vbofs.demo.signals import Signals

    recording = _recording(path.name, shape)
    signals = Signals(recording.shape, recording.seed)
    file = nwb._file(recording)
    behavior.add_behavior(file, signals)
    behavior.add_stimulus(file, signals, image_set=recording.row["image_set"] or "A")
    imaging.add_ophys(file, signals, recording)
    _add_eyes(file, signals)
    _add_tables(file, signals)
    nwb._settle_object_ids(file, recording.identity)
    with NWBHDF5IO(str(path), "w") as io:
        io.write(file, expandable=())


def _recording(name: str, shape: Any) -> Any:
    from vbofs.demo import tables
    from vbofs.demo.recording import Cell, Recording, Shape
    from vbofs.demo.releases import DATES, LARGEST

    rows = tables.shipped(tables.EXPERIMENTS)
    row = next(row for row in rows if row["ophys_experiment_id"] == LARGEST)
    samples, cells, frames, rate, images = shape
    return Recording(
        name=name,
        revision="1.0.1",
        created=DATES["1.0.1"],
        row=row,
        shape=Shape(samples, cells, frames, rate, images),
        cells=tuple(Cell(1_080_884_343 + n, 1_086_613_265 + n) for n in range(cells)),
    )


def _add_eyes(file: Any, signals: Any) -> None:
    from vbofs.demo.behavior import module, series

    count = 2 * signals.shape.samples
    eyes = module(file, "eye_tracking", "Ellipses fitted to eye, pupil and reflection")
    clock = series("clock", signals.noise(count, 1.0), "s", times=signals.clock(count, 30.0))
    eyes.add(clock)
    for ellipse in ELLIPSES:
        for measure in MEASURES:
            values = signals.noise(count, 40.0)
            eyes.add(series(f"{ellipse}_{measure}", values, "pixels", times=clock))


def _add_tables(file: Any, signals: Any) -> None:
    from vbofs.demo.behavior import _intervals, _presentation_columns

    for number in range(TABLES):
        name = f"block_{number}"
        columns = _presentation_columns(signals, name)
        file.add_time_intervals(_intervals(f"{name}_presentations", columns))


if __name__ == "__main__":
    target = Path(sys.argv[1])
    _write(target, (SHAPES if sys.argv[2] == "full" else SMALL)[target.name])
