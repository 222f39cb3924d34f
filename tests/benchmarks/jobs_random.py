"""Small reads all over a large file: what is fetched for each, and how long it takes.

fio asks where it is installed, as far from a guess at what comes next as can be; the rehearsal,
which compares, reads other places with Python.
"""

from __future__ import annotations

from tests.benchmarks.jobs import PATHS, UNCACHED, Job
from tests.benchmarks.jobs_sequential import BIG
from tests.benchmarks.servers import DIRECT, Link
from tests.benchmarks.trials import Operation, Trial, Where

KiB = 1 << 10
#: Bytes of a read: how many of them each job makes.
READS = {4 * KiB: 200, 256 * KiB: 50}
FAR = Link(0.02, 100e6)
#: In the default selection: (size, jobs, is far).
DEFAULT = {(4 * KiB, 1, False), (256 * KiB, 1, False), (256 * KiB, 1, True)}
QUICK = {(256 * KiB, 1, False)}


def jobs() -> list[Job]:
    return [_job(size, count, link) for size in READS for count in (1, 4) for link in (DIRECT, FAR)]


def _job(size: int, count: int, link: Link) -> Job:
    name = f"random/{size // KiB}KiB/{count}/{link}"
    what = (size, count, link == FAR)
    level = 0 if what in QUICK else 1 if what in DEFAULT else 2
    without = UNCACHED if link == FAR else frozenset()
    run = _Scattered(size, count)
    return Job(name, (BIG,), run, PATHS, link, level, limit=40, without=without)


class _Scattered:
    """*count* readers at once, each of so many blocks of *size* bytes."""

    def __init__(self, size: int, count: int) -> None:
        self._size, self._count = size, count

    def __call__(self, trial: Trial) -> None:
        trial.mount(BIG)
        trial.forget_pages(BIG)
        has_fio = trial.ground.peers.program("fio") is not None

        def ask(where: Where) -> Operation:
            return {
                "operation": "fio" if has_fio else "scattered",
                "path": where.path(BIG),
                "size": self._size,
                "count": READS[self._size],
                "jobs": self._count,
                "heavy": True,
            }

        row = f"random {self._size // KiB} KiB x {self._count} {trial.link}"
        trial.measure(row, ask, needed=self._size * READS[self._size] * self._count)
