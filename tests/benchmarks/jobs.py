"""What a job is, and which there are: a name, the files it needs, and what is done in a trial.

A job may measure several rows (cold, warm, …) in one trial. Names are paths, for patterns on the
command line: `hdf5/list/nwb300/*`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.benchmarks.servers import DIRECT, Link
from tests.benchmarks.trials import Trial

Run = Callable[[Trial], None]

#: Who can do it: those that offer paths, those and the plain HTTP client, …
PATHS = frozenset({"mount", "local"})
WITH_HTTP = PATHS | {"http"}
WITH_LIBRARIES = PATHS | {"library"}
#: Without a cache they differ from their twins in nothing but patience.
UNCACHED = frozenset({"rclone-off", "s3fs"})


@dataclass(frozen=True)
class Job:
    """*level* says in which selections it is: 0 quick, 1 default, 2 only by name.

    *limit* is in seconds, of each operation; *run* is called with a trial not yet mounted. A job
    that compares in every trial needs no rehearsal. *without* are contestants that only take part
    when they are asked for by name.
    """

    name: str
    files: tuple[str, ...]
    run: Run
    kinds: frozenset[str] = PATHS
    link: Link = DIRECT
    level: int = 2
    limit: float = 60.0
    names: bool = False
    rehearsed: bool = True
    without: frozenset[str] = frozenset()


def all_jobs() -> list[Job]:
    """Every job there is, in the order in which they run."""
    from tests.benchmarks import jobs_hdf5, jobs_listing, jobs_random, jobs_sequential

    parts = (jobs_sequential, jobs_random, jobs_listing, jobs_hdf5)
    return [job for part in parts for job in part.jobs()]


def chosen(patterns: list[str], level: int) -> list[Job]:
    """Those that match any of *patterns*; without patterns, those of *level*.  LookupError if a
    pattern matches none."""
    known = all_jobs()
    for pattern in patterns:
        if not any(fnmatchcase(job.name, pattern) for job in known):
            raise LookupError(pattern)
    if patterns:
        return [job for job in known if any(fnmatchcase(job.name, one) for one in patterns)]
    return [job for job in known if job.level <= level]
