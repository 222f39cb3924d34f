"""HDF5 and NWB files to read in tests: shaped as the published ones are, with holes for traces.

``SparseFile`` is what h5py writes to: a write of a large array leaves a hole, so a file of 300 MB
takes a second and a few megabytes, and every piece of metadata is where it would be.
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime

import h5py
import numpy as np
from hdmf.backends.hdf5.h5_utils import H5DataIO
from hdmf.common import DynamicTable, VectorData
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.epoch import TimeIntervals
from pynwb.file import Subject
from pynwb.image import ImageSeries
from pynwb.ophys import (
    DfOverF,
    Fluorescence,
    ImageSegmentation,
    OpticalChannel,
    PlaneSegmentation,
    RoiResponseSeries,
)

#: A write of this many bytes is a trace; no piece of metadata in these files is as large.
TRACE = 1 << 20
SAMPLES = 230_000  # Of the running wheel: an hour at 60 Hz.
FRAMES = 140_000


class SparseFile:
    """A file for h5py's fileobj driver that keeps the size of large writes, not their bytes."""

    def __init__(self, path):
        self._file = open(path, "w+b", buffering=0)  # noqa: SIM115 - closed by close().
        self.seek, self.tell = self._file.seek, self._file.tell
        self.read, self.readinto = self._file.read, self._file.readinto
        self.truncate = self._file.truncate
        self.flush, self.close = self._file.flush, self._file.close

    def write(self, content):
        if len(content) < TRACE:
            return self._file.write(content)
        end = self._file.seek(len(content), os.SEEK_CUR)
        if os.fstat(self._file.fileno()).st_size < end:
            self._file.truncate(end)
        return len(content)


@contextlib.contextmanager
def sparse_hdf5(path, **options):
    """An h5py.File to write to, whose traces are holes."""
    with contextlib.closing(SparseFile(path)) as sparse, h5py.File(sparse, "w", **options) as file:
        yield file


def nwb(path, *, libver=None, userblock=0, chunked=False, cells=40):
    """A recording of 166 MB of templates, some 90 MB of traces and 250 datasets.

    *chunked* stores what is large in chunks, as newer writers do.
    """
    with (
        sparse_hdf5(path, libver=libver, userblock_size=userblock or None) as file,
        NWBHDF5IO(file=file, mode="w") as writer,
    ):
        writer.write(_recording(chunked, cells), expandable=())
    return path


def _recording(chunked, cells):
    file = NWBFile(
        session_description="Behavior, ophys",
        identifier="870987812",
        session_start_time=datetime(2019, 5, 9, tzinfo=UTC),
        experiment_description="Images A; synthetic",
        institution="Allen Institute for Brain Science",
        keywords=["visual", "behavior"],
        subject=Subject(subject_id="451787", age="P100D", sex="M", species="Mus musculus"),
    )
    traces = _Traces(chunked)
    _add_behavior(file, traces)
    _add_intervals(file)
    _add_eye(file, traces)
    _add_ophys(file, traces, cells)
    _add_templates(file, traces)
    return file


class _Traces:
    """Arrays of zeros, to be stored as they are or in chunks."""

    def __init__(self, chunked):
        self._chunked = chunked

    def __call__(self, *shape):
        zeros = np.zeros(shape)
        if not self._chunked:
            return zeros
        # Chunks of a megabyte and more, so that SparseFile leaves them out.
        rows = max(1, -(-TRACE // zeros[0].nbytes))
        return H5DataIO(zeros, chunks=(min(rows, shape[0]), *shape[1:]))


def _series(name, values, times):
    return TimeSeries(name=name, data=values, unit="cm/s", timestamps=times, description=name)


def _add_behavior(file, traces):
    running = file.create_processing_module("running", "Running speed of the mouse")
    speed = _series("speed", traces(SAMPLES), traces(SAMPLES))
    running.add(speed)
    for name in ("speed_unfiltered", "dx"):
        running.add(_series(name, traces(SAMPLES), speed))
    for name in ("v_in", "v_sig"):
        file.add_acquisition(_series(name, traces(SAMPLES), speed))
    for name in ("licking", "rewards"):
        module = file.create_processing_module(name, name)
        times = np.sort(np.random.default_rng(1).uniform(0, 3600, 900))
        module.add(_series(name, np.ones(900), times))
    stimulus = file.create_processing_module("stimulus", "When the monitor changed")
    stimulus.add(_series("timestamps", traces(SAMPLES), traces(SAMPLES)))


def _columns(count, names, kinds):
    values = {
        "f": np.linspace(0, 1, count),
        "b": np.zeros(count, bool),
        "i": np.arange(count),
        "s": [f"im{n % 8:03d}" for n in range(count)],
    }
    return [
        VectorData(name=f"{name}_{n}", description=f"{name} {n} of all", data=values[kind])
        for name in names
        for n, kind in enumerate(kinds)
    ]


def _add_intervals(file):
    topics = ("trial", "lick", "reward", "change", "response", "omission")
    file.trials = _intervals("trials", 550, _columns(550, topics, "ffbbbiifss"))
    for name in ("images", "movie", "grating", "spontaneous"):
        columns = _columns(4800, ("image",), "fbbiissffbi")
        file.add_time_intervals(_intervals(f"{name}_presentations", 4800, columns))


def _intervals(name, count, columns):
    bounds = [
        VectorData(name=bound, description=bound, data=np.arange(float(count)))
        for bound in ("start_time", "stop_time")
    ]
    return TimeIntervals(name=name, description=name, columns=bounds + columns, id=np.arange(count))


def _add_eye(file, traces):
    eye = file.create_processing_module("eye_tracking", "Ellipses")
    for part in ("pupil", "corneal_reflection", "eye"):
        columns = [
            VectorData(name=name, description=name, data=traces(FRAMES))
            for name in ("area", "area_raw", "width", "height", "angle", "x", "y", "blink")
        ]
        ids = np.arange(FRAMES)
        eye.add(DynamicTable(name=part, description=part, columns=columns, id=ids))


def _add_ophys(file, traces, cells):
    device = file.create_device("MESO.1", description="Allen Brain Observatory rig")
    channel = OpticalChannel(name="channel_1", description="green", emission_lambda=514.0)
    plane = file.create_imaging_plane(
        name="imaging_plane_1",
        optical_channel=channel,
        description="VISp at 175 um",
        device=device,
        excitation_lambda=910.0,
        indicator="GCaMP6f",
        location="VISp",
    )
    table = PlaneSegmentation(
        name="cell_specimen_table",
        description="The cells that were found",
        imaging_plane=plane,
        id=np.arange(cells),
        columns=[
            VectorData(
                name="image_mask", description="masks", data=np.zeros((cells, 512, 512), "?")
            ),
            *_columns(cells, ("roi", "mask"), "ffiibbffiibb"),
        ],
    )
    ophys = file.create_processing_module("ophys", "Two-photon calcium imaging, processed")
    ophys.add(ImageSegmentation(name="image_segmentation", plane_segmentations=table))
    times = traces(FRAMES // 3)
    for name in ("dff", "corrected_fluorescence", "demixed_trace", "neuropil_trace"):
        container = DfOverF(name=name) if name == "dff" else Fluorescence(name=name)
        ophys.add(container)
        rois = table.create_roi_table_region(description="all", region=list(range(cells)))
        values = traces(FRAMES // 3, cells)
        container.add_roi_response_series(
            RoiResponseSeries(name="traces", data=values, rois=rois, unit="NA", timestamps=times)
        )


def _add_templates(file, traces):
    for name, count in (("images", 8), ("grating", 1)):
        file.add_stimulus_template(
            ImageSeries(
                name=f"{name}_template",
                data=traces(count, 1200, 1920),
                unit="NA",
                format="raw",
                rate=1.0,
                description="The pictures shown, warped for the monitor",
            )
        )


# --- shapes that NWB files rarely have


def many_groups(path, *, libver="earliest", count=2000):
    """*count* groups in one, with a trace in every twentieth."""
    with sparse_hdf5(path, libver=libver) as file:
        for number in range(count):
            group = file.create_group(f"group_{number:05d}")
            group.attrs["kind"] = "unit"
            if number % 20 == 0:
                group["trace"] = np.zeros(TRACE // 4)
    return path


def many_attributes(path, *, libver="latest"):
    """20 groups of 50 attributes and 50 datasets: more than fit into an object header."""
    with sparse_hdf5(path, libver=libver) as file:
        for number in range(20):
            group = file.create_group(f"session_{number}")
            for column in range(50):
                group.attrs[f"attribute_{column}"] = f"value {column} " * (1 + column % 5)
                group[f"column_{column}"] = np.arange(10.0)
            group["trace"] = np.zeros(TRACE // 4)
    return path


def references(path):
    """Region references and strings, by the hundred, and a type that others share."""
    with sparse_hdf5(path, libver="earliest") as file:
        file["shared"] = np.dtype([("a", "i4"), ("b", "f8")])
        for number in range(20):
            trace = file.create_dataset(f"trace_{number}", data=np.zeros(TRACE // 4))
            file.create_dataset(f"table_{number}", (5,), dtype=file["shared"])
            region = file.create_dataset(f"region_{number}", (3,), dtype=h5py.regionref_dtype)
            region[0] = trace.regionref[10 : 100 + number]
            names = [f"name {number} {position}" for position in range(300)]
            file.create_dataset(f"names_{number}", data=names)
    return path


def values_apart(path):
    """20 groups whose headers lie together, each with a small array far from them; 5 MB."""
    with h5py.File(path, "w", meta_block_size=256 << 10) as file:
        for number in range(20):
            group = file.create_group(f"session_{number}")
            group.attrs["note"] = np.zeros(600)
            group["small"] = np.arange(300)
            group["large"] = np.zeros(32 << 10)
    return path


def beside_chunks(path):
    """An array of 3,000 chunks, the nodes of whose tree lie among them, and one of 24 MB."""
    with h5py.File(path, "w") as file:
        chunked = file.create_dataset("chunked", (3000, 2500), np.uint8, chunks=(1, 2500))
        for row in range(3000):
            chunked[row] = row % 251
            file.flush()
        file["plain"] = np.zeros(24 << 20, np.uint8)
    return path


def small_before_large(path):
    """20 groups, each with a small array in a block of its own and a large one behind all these."""
    with h5py.File(path, "w", meta_block_size=256 << 10) as file:
        for number in range(20):
            file[f"session_{number}/small"] = np.arange(3000)
            file[f"between/{number}"] = np.zeros(100 << 10, np.uint8)
        for number in range(20):
            file[f"session_{number}/large"] = np.zeros(512 << 10, np.uint8)
    return path


def scattered(path, counts, *, size=TRACE):
    """Groups of so many arrays, whose names have nothing to do with where they lie."""
    names = [
        f"group_{group}/more/array_{number}"
        for group, count in enumerate(counts)
        for number in range(count)
    ]
    with sparse_hdf5(path) as file:
        for at in np.random.default_rng(7).permutation(len(names)):
            file[names[at]] = np.full(size, at % 251, np.uint8)
    return path
