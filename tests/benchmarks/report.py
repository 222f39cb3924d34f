"""What came of it: medians and spread, as Markdown for people and JSON for programs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from tests.benchmarks.bench import Outcome
from tests.benchmarks.contestants import CONTESTANTS
from tests.benchmarks.trials import Sample

OURS = "vbofs"
_HEADINGS = (
    *("", "s", "least to most", "requests", "waits", "MB", "MB / needed"),
    *("daemon CPU s", "reader CPU s", "peak MB (anonymous)"),
)
_PACKAGES = ("vbofs", "pyfuse3", "trio", "h5py", "pynwb")


@dataclass(frozen=True)
class Figures:
    """The medians of one contestant in one row, and the fastest and slowest time."""

    row: str
    contestant: str
    seconds: float
    least: float
    most: float
    requests: float
    sent: float
    needed: int
    waits: float
    cpu: float
    reader_cpu: float
    peak: float
    anonymous: float
    times: int


def summed(samples: Iterable[Sample]) -> list[Figures]:
    """Figures by row and contestant, in the order in which they were first measured."""
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        if not sample.note:
            groups.setdefault((sample.row, sample.contestant), []).append(sample)
    return [_figures(group) for group in groups.values()]


def _figures(group: list[Sample]) -> Figures:
    def middle(name: str) -> float:
        return float(median(getattr(one, name) for one in group))

    times = [one.seconds for one in group]
    return Figures(
        row=group[0].row,
        contestant=group[0].contestant,
        seconds=middle("seconds"),
        least=min(times),
        most=max(times),
        requests=middle("requests"),
        sent=middle("sent"),
        needed=group[0].needed,
        waits=middle("waits"),
        cpu=middle("cpu"),
        reader_cpu=middle("reader_cpu"),
        peak=max(one.peak for one in group),
        anonymous=max(one.anonymous for one in group),
        times=len(group),
    )


def machine(peers: dict[str, str]) -> dict[str, str]:
    """What this was measured on, and with what."""
    known = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cores": f"{os.cpu_count()} x {_field('/proc/cpuinfo', 'model name')}",
        "memory": _field("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
        **peers,
    }
    settings = [f"{n}={v}" for n, v in sorted(os.environ.items()) if n.startswith("VBOFS_")]
    return known | ({"settings": " ".join(settings)} if settings else {})


def markdown(outcome: Outcome, about: dict[str, str], rows: Sequence[str]) -> str:
    """The report; *rows* are the lines of the goals' table."""
    figures = summed(outcome.samples)
    lines = ["# Benchmark", "", *(f"* {name}: {text}" for name, text in about.items()), ""]
    if outcome.interrupted:
        lines += ["**The run was interrupted; what is here is what there was till then.**", ""]
    if outcome.mismatches:
        lines += ["## WRONG BYTES", "", *(f"* {one}" for one in outcome.mismatches), ""]
    lines += ["## Medians, in seconds (x: times that of vbofs)", "", *_overview(figures), ""]
    if rows:
        lines += ["## Goals", "", "| job | at least | measured | |", "|---|---|---|---|", *rows, ""]
    for row in dict.fromkeys(one.row for one in figures):
        lines += [f"### {row}", "", *_details([one for one in figures if one.row == row]), ""]
    notes = [f"* {one.row}: {one.contestant}: {one.note}" for one in outcome.samples if one.note]
    notes += [f"* {name} is absent: {why}" for name, why in outcome.absent.items() if why]
    return "\n".join([*lines, *(["## Left out", "", *notes, ""] if notes else [])])


def _overview(figures: list[Figures]) -> Iterator[str]:
    present = {one.contestant for one in figures}
    names = [one.name for one in CONTESTANTS if one.name in present]
    found = {(one.row, one.contestant): one.seconds for one in figures}
    yield f"| job | {' | '.join(names)} |"
    yield f"|---|{'---:|' * len(names)}"
    for row in dict.fromkeys(one.row for one in figures):
        ours = found.get((row, OURS))
        cells = [_cell(found.get((row, name)), ours, name) for name in names]
        yield f"| {row} | {' | '.join(cells)} |"


def _cell(seconds: float | None, ours: float | None, name: str) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.3g}" + ("" if name == OURS or not ours else f" ({seconds / ours:.2g}x)")


def _details(figures: list[Figures]) -> Iterator[str]:
    yield f"| {' | '.join(_HEADINGS)} |"
    yield f"|---{'|---:' * (len(_HEADINGS) - 1)}|"
    for one in sorted(figures, key=lambda one: one.seconds):
        ratio = f"{one.sent / one.needed:.2f}" if one.needed else ""
        yield (
            f"| {one.contestant} | {one.seconds:.3f} | {one.least:.3f} to {one.most:.3f} |"
            f" {one.requests:.0f} | {one.waits:.0f} | {one.sent / 1e6:.1f} | {ratio} |"
            f" {one.cpu:.2f} | {one.reader_cpu:.2f} | {one.peak:.0f} ({one.anonymous:.0f}) |"
        )


def document(outcome: Outcome, about: dict[str, str]) -> str:
    """Everything, for programs."""
    return json.dumps(
        {
            "machine": about,
            "figures": [asdict(one) for one in summed(outcome.samples)],
            "samples": [asdict(one) for one in outcome.samples],
            "mismatches": outcome.mismatches,
            "absent": outcome.absent,
        },
        indent=1,
    )


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return "unknown"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
