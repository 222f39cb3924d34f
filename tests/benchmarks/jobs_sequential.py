"""Throughput: one file read from its beginning to its end, by one or by many."""

from __future__ import annotations

from tests.benchmarks.files import parts
from tests.benchmarks.jobs import PATHS, UNCACHED, WITH_HTTP, Job
from tests.benchmarks.servers import DIRECT, Link
from tests.benchmarks.trials import Operation, Trial, Where

BIG = "big.bin"
SHARED = "shared.bin"
#: A good line, a poor one, and 10 Gbit/s in the bucket's own region.
FAR, FAST = Link(0.02, 100e6), Link(0.001, 1250e6)
LINKS = (FAR, Link(0.05, 12e6), FAST)


def jobs() -> list[Job]:
    made = [
        Job("sequential", (BIG,), _sequential, WITH_HTTP, level=0, limit=90),
        Job("copy", (BIG,), _copy, WITH_HTTP, level=2, limit=90),
        Job("first-byte/20ms", (BIG,), _first_byte, WITH_HTTP, Link(0.02, 100e6), level=1),
    ]
    for link in LINKS:
        level = 1 if link == FAST else 2
        made.append(Job(f"sequential/{link}", (BIG,), _cold, WITH_HTTP, link, level, limit=240))
    for count in (1, 4, 16):
        run = _ReadersOfOne(count)
        few = parts()[:count]
        for link in (DIRECT, FAR):
            # Where the network is the limit it shows whether readers share what is fetched.
            level = 1 if link == FAR and count != 4 else 2
            name = f"readers/one-file/{count}/{link}"
            made.append(Job(name, (SHARED,), run, PATHS, link, level, limit=30, without=UNCACHED))
            made.append(Job(f"readers/files/{count}/{link}", few, _ReadersOfMany(few), link=link))
    return made


def _dd(where: Where) -> Operation:
    return {"operation": "dd", "path": where.path(BIG), "heavy": True}


def _size(trial: Trial, name: str = BIG) -> int:
    return trial.ground.corpus.file(name).size


def _cold(trial: Trial) -> None:
    """dd, or what the network can do."""
    trial.mount(BIG)
    trial.forget_pages(BIG)
    label = f"sequential {trial.link}, cold" if trial.is_far else "sequential, cold"
    if trial.contestant.kind == "http":
        trial.measure(label, lambda where: _download(trial, where), needed=_size(trial))
    else:
        trial.measure(label, _dd, needed=_size(trial))


def _download(trial: Trial, where: Where) -> Operation:
    if where.kind == "local":
        return _dd(where)
    target = str(trial.scratch / "download")
    url = where.link(trial.ground.corpus, BIG)
    return {"operation": "download", "url": url, "target": target, "heavy": True}


def _sequential(trial: Trial) -> None:
    """Cold; again, from the page cache; if it has one, from its disk cache, and after a remount."""
    _cold(trial)
    if trial.contestant.kind == "http":
        return
    size = _size(trial)
    trial.measure("sequential, page cache", _dd, needed=size)
    if not trial.contestant.keeps:
        return
    trial.forget_pages(BIG)
    trial.measure("sequential, disk cache", _dd, needed=size)
    if trial.is_mount:
        trial.umount()
        trial.mount(BIG)
        trial.forget_pages(BIG)
        trial.measure("sequential, remounted", _dd, needed=size)


def _copy(trial: Trial) -> None:
    trial.mount(BIG)
    trial.forget_pages(BIG)

    def ask(where: Where) -> Operation:
        target = str(trial.scratch / "copy")
        if where.kind == "http":
            return _download(trial, where)
        return {"operation": "cp", "path": where.path(BIG), "target": target, "heavy": True}

    trial.measure("copy, cold", ask, needed=_size(trial))


def _first_byte(trial: Trial) -> None:
    trial.mount(BIG)
    trial.forget_pages(BIG)

    def ask(where: Where) -> Operation:
        if where.kind == "http":
            url = where.link(trial.ground.corpus, BIG)
            return {"operation": "download_first", "url": url}
        return {"operation": "first_byte", "path": where.path(BIG)}

    trial.measure(f"first byte {trial.link}", ask, needed=1)


class _ReadersOfOne:
    """So many readers of one cold file, all at once."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __call__(self, trial: Trial) -> None:
        trial.mount(SHARED)
        trial.forget_pages(SHARED)

        def ask(where: Where) -> Operation:
            return {
                "operation": "readers",
                "paths": [where.path(SHARED)] * self._count,
                "heavy": True,
            }

        trial.measure(
            f"{self._count} readers, one file, {trial.link}", ask, needed=_size(trial, SHARED)
        )


class _ReadersOfMany:
    """One reader for each of these cold files, all at once."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def __call__(self, trial: Trial) -> None:
        trial.mount(*self._names)
        trial.forget_pages(*self._names)

        def ask(where: Where) -> Operation:
            return {"operation": "readers", "paths": where.paths(self._names), "heavy": True}

        size = sum(_size(trial, name) for name in self._names)
        trial.measure(f"{len(self._names)} readers, a file each, {trial.link}", ask, needed=size)
