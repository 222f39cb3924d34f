"""A prefetch done by whoever is nearest: the daemon that has the same cache, or this process.

A daemon that goes away in the middle, or forgets the job, leaves the rest to this process: what is
here is not fetched twice, so to begin again is to go on.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from .. import control
from ..config import Settings
from ..errors import VbofsError

if TYPE_CHECKING:
    from ..blocks.prefetch import Prefetch, Want
    from ..daemon import Floors

#: Seconds between two looks how far it is.
INTERVAL = 0.25
#: Bytes of one request to the daemon; it takes a megabyte.
LARGEST_REQUEST = 256 << 10

#: What is shown while it goes on, and told at the end: ``blocks.prefetch.Progress``, as a document.
Document = dict[str, Any]
Show = Callable[[Document], None]


async def fetch(
    mountpoint: Path | None, settings: Settings, floors: Floors, wants: Sequence[Want], show: Show
) -> Document:
    """Have *wants* fetched by the daemon at *mountpoint* or here, and return how that went."""
    before = 0
    if mountpoint is not None:
        try:
            done = await _by_daemon(mountpoint, wants, show)
            if done.get("stopped") != control.FORGOTTEN:
                return {**done, "by": str(mountpoint)}
            before = done["bytes"]
        except VbofsError:
            pass  # It has gone, or is older than this command.
    done = await _here(settings, floors, wants, lambda doc: show(_plus(doc, before)))
    return {**_plus(done, before), "by": ""}


def _plus(document: Document, before: int) -> Document:
    return {**document, "bytes": document["bytes"] + before}


async def _here(settings: Settings, floors: Floors, wants: Sequence[Want], show: Show) -> Document:
    from ..blocks.prefetch import Prefetch

    turns = trio.Semaphore(settings.connections)
    job = Prefetch(wants, floors.store, floors.fetcher, turns)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch, job, show)
        await job.run()
    return job.progress.document()


async def _watch(job: Prefetch, show: Show) -> None:
    while not job.progress.finished:
        show(job.progress.document())
        await trio.sleep(INTERVAL)


async def _by_daemon(mountpoint: Path, wants: Iterable[Want], show: Show) -> Document:
    async def ask(verb: str, **args: Any) -> Any:
        return await trio.to_thread.run_sync(lambda: control.ask(mountpoint, verb, **args))

    job = await ask("prefetch")
    finished = False
    try:
        for release, files in _requests(wants):
            await ask("prefetch_want", job=job, release=release, files=files)
        await ask("prefetch_run", job=job)
        while True:
            document: Document = await ask("prefetch_progress", job=job)
            finished = document["finished"]
            if finished:
                return document
            show(document)
            await trio.sleep(INTERVAL)
    finally:
        if not finished:
            _stop(mountpoint, job)


def _stop(mountpoint: Path, job: int) -> None:
    """Somebody has interrupted this command; the daemon would notice by itself, but later."""
    try:
        control.ask(mountpoint, "prefetch_stop", job=job)
    except VbofsError:
        return


def _requests(wants: Iterable[Want]) -> Iterator[tuple[str, list[Any]]]:
    """Files of one release at a time, and no more of them than one request may tell."""
    by_release: dict[str, list[Any]] = defaultdict(list)
    for want in wants:
        release, _, path = want.name.removeprefix("v").partition("/")
        ranges = None if want.extents is None else [list(extent) for extent in want.extents]
        by_release[release].append([path, ranges])
    for release, files in by_release.items():
        for _, some in itertools.groupby(_weighed(files), key=lambda one: one[0]):
            yield release, [file for _, file in some]


def _weighed(files: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    """Each file with the number of the request in which it goes."""
    total = 0
    for file in files:
        total += len(json.dumps(file))
        yield total // LARGEST_REQUEST, file
