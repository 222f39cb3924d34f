"""NWB files as scientists open them: latency, where waits come one after the other.

Every operation is done on a fresh mount with nothing cached. What must be compared is compared in
every trial, for it is small; reading everything is compared in the rehearsal.
"""

from __future__ import annotations

from tests.benchmarks.files import BUCKET
from tests.benchmarks.jobs import PATHS, UNCACHED, WITH_LIBRARIES, Job
from tests.benchmarks.servers import Link
from tests.benchmarks.trials import Operation, Trial, Where, needed_by

FILES = ("nwb60", "nwb300", "nwb1400")
IN_PYTHON = ("open", "list", "attributes", "pynwb", "running", "projection", "cell", "cells")
PROGRAMS = {"h5ls": "list", "ncdump": "attributes"}
DELAYS = (0.0, 0.02, 0.05, 0.1)
RATES = (None, 100e6, 12e6)
DEFAULT = {
    ("list", "nwb300"),
    ("pynwb", "nwb300"),
    ("running", "nwb300"),
    ("cell", "nwb300"),
    ("everything", "nwb300"),
    ("list", "nwb1400"),
    ("pynwb", "nwb1400"),
    ("cell", "nwb1400"),
}
QUICK = {("list", "nwb300"), ("cell", "nwb300")}
USUAL = Link(0.05, 100e6)
#: The same where connections are made as TCP and TLS 1.3 do over 25 ms, which is half of the delay.
SECURE = Link(0.05, 100e6, 0.05)


def jobs() -> list[Job]:
    links = [Link(delay, rate) for delay in DELAYS for rate in RATES] + [SECURE]
    operations = (*IN_PYTHON, "everything", *PROGRAMS)
    return [_job(what, name, link) for what in operations for name in FILES for link in links]


def _job(what: str, name: str, link: Link) -> Job:
    level = 2
    if link == USUAL:
        level = 0 if (what, name) in QUICK else 1 if (what, name) in DEFAULT else 2
    if link == SECURE and (what, name) in QUICK:
        level = 1
    kinds = PATHS if what in PROGRAMS else WITH_LIBRARIES
    limit = 300.0 if what == "everything" and link.rate == min(filter(None, RATES)) else 40.0
    path = f"hdf5/{what}/{name}/{link}"
    look = _Look(what, f"{name}.nwb")
    rehearsed = what == "everything"
    files = (f"{name}.nwb",)
    # With its read-ahead of 50 MB, fsspec takes half a minute for what jumps about.
    slow = what not in ("running", "projection", "cell") or name == "nwb1400"
    without = UNCACHED | {"fsspec"} if slow else UNCACHED
    return Job(path, files, look, kinds, link, level, limit, rehearsed=rehearsed, without=without)


class _Look:
    """*what*, done with the file called *name*."""

    def __init__(self, what: str, name: str) -> None:
        self._what, self._name = what, name

    def __call__(self, trial: Trial) -> None:
        needed = needed_by(trial.ground, PROGRAMS.get(self._what, self._what), self._name)
        trial.mount(self._name)
        trial.forget_pages(self._name)
        row = f"{self._what} {self._name.removesuffix('.nwb')} {trial.link}"
        trial.measure(row, lambda where: self._ask(trial, where), needed=needed)

    def _ask(self, trial: Trial, where: Where) -> Operation:
        if self._what in PROGRAMS:
            return {"operation": self._what, "path": where.path(self._name)}
        asked: Operation = {"operation": "hdf5", "what": self._what}
        if self._what == "pynwb":
            asked["warm"] = str(trial.ground.corpus.file(self._name).local)
        if self._what == "everything":
            asked["heavy"] = True
        if where.kind != "library":
            return {**asked, "path": where.path(self._name)}
        key = trial.ground.corpus.file(self._name).key
        there = {"endpoint": where.url, "bucket": BUCKET, "key": key, "library": where.name}
        return {**asked, **there, "url": where.link(trial.ground.corpus, self._name)}
