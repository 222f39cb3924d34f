"""Fetching ahead through a running daemon: jobs that commands begin, feed, poll and end.

A job lives as long as somebody asks after it.  A command that is killed stops asking, and its job
ends: nobody's network is busy for hours with what nobody can stop.  What the job has fetched is
here, and the next one asks for the rest.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import trio

from ..blocks.budget import Shares
from ..blocks.extents import BLOCKS_PER_PART
from ..blocks.fetcher import Fetcher
from ..blocks.prefetch import Prefetch, Want
from ..blocks.store import BlockStore
from ..config import Settings
from ..control import FORGOTTEN
from ..dataset import Dataset
from ..errors import JobUnknown
from ..model import Blob, Extent

log = logging.getLogger(__name__)

#: Seconds after which a job that nobody asks after ends.
LEASE = 20.0
#: Jobs at a time: each is a command that waits.
MOST_JOBS = 16

#: A path in a release ("" of the release: a file outside the releases), and which bytes of it.
Asked = tuple[str, list[tuple[int, int]] | None]


class _Job:
    """One command's wants; it runs when they are all told."""

    def __init__(self) -> None:
        self.wants: list[Want] = []
        self.prefetch: Prefetch | None = None
        self.lease = trio.CancelScope()
        self.renew()

    def renew(self) -> None:
        self.lease.deadline = trio.current_time() + LEASE

    @property
    def is_forgotten(self) -> bool:
        return self.lease.deadline < trio.current_time()

    def progress(self) -> dict[str, Any]:
        return self.prefetch.progress.document() if self.prefetch else {"finished": False}


class Ahead:
    """The prefetches that commands have this daemon do; *nursery* is the mount's."""

    def __init__(
        self,
        settings: Settings,
        dataset: Dataset,
        store: BlockStore,
        fetcher: Fetcher,
        nursery: trio.Nursery,
    ) -> None:
        self._settings = settings
        self._dataset = dataset
        self._store = store
        self._fetcher = fetcher
        self._nursery = nursery
        # Of all jobs together: what is on its way takes memory, an entry for each block.
        parts = Shares.of(settings.memory).ahead // BLOCKS_PER_PART
        self._turns = trio.Semaphore(max(1, min(settings.connections, parts)))
        self._jobs: dict[int, _Job] = {}
        self._numbers = itertools.count(1)

    def __repr__(self) -> str:
        return f"<Ahead {len(self._jobs)} jobs>"

    def verbs(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        return {
            "origin": self.origin,
            "prefetch": self.begin,
            "prefetch_want": self.want,
            "prefetch_run": self.run,
            "prefetch_progress": self.progress,
            "prefetch_stop": self.stop,
            "suspect": self.suspect,
        }

    async def origin(self) -> dict[str, Any]:
        """The settings by which a command finds the same files in the same cache."""
        names = ("dataset", "bucket", "project", "region", "endpoint_url", "profile", "offline")
        numbers = ("cache_size", "keep_free", "connections", "timeout")
        stated = {name: getattr(self._settings, name) for name in (*names, *numbers)}
        return {**stated, "cache_dir": str(self._settings.cache_dir)}

    # --- jobs

    async def begin(self) -> int:
        """A new job that wants nothing yet; its number."""
        for number in [n for n, job in self._jobs.items() if job.is_forgotten]:
            del self._jobs[number]
        if len(self._jobs) >= MOST_JOBS:
            raise JobUnknown(f"{MOST_JOBS} prefetches are under way here; wait for one of them")
        number = next(self._numbers)
        self._jobs[number] = _Job()
        return number

    async def want(self, job: int, release: str, files: Any) -> int:
        """Add *files* of *release* to a job that has not begun; how many were added."""
        try:
            asked = msgspec.convert(files, list[Asked])
        except msgspec.ValidationError as error:
            raise JobUnknown(f"that is no list of files: {error}") from error
        blobs = await self._blobs(release)
        wants = [
            Want(f"v{release}/{path}", blobs[path], _extents(ranges))
            for path, ranges in asked
            if path in blobs
        ]
        self._job(job).wants += wants
        return len(wants)

    async def run(self, job: int) -> None:
        """Begin with what was wanted."""
        begun = self._job(job)
        if begun.prefetch is None:
            begun.prefetch = Prefetch(begun.wants, self._store, self._fetcher, self._turns)
            self._nursery.start_soon(self._work, begun)

    async def progress(self, job: int) -> dict[str, Any]:
        """How far it is.  The answer that says "finished" is the last: then it is forgotten."""
        asked = self._job(job)
        progress = asked.progress()
        if progress["finished"]:
            del self._jobs[job]
        return progress

    async def stop(self, job: int) -> dict[str, Any]:
        """Ask for nothing more; what is under way lands."""
        stopped = self._jobs.pop(job, None)
        if stopped is None:
            return {"finished": True}
        stopped.lease.cancel()
        return stopped.progress()

    async def _work(self, job: _Job) -> None:
        assert job.prefetch is not None
        try:
            with job.lease:
                await job.prefetch.run()
        except Exception:  # Its nursery is the mount's.
            log.exception("a prefetch: a bug; the mount goes on")
            job.prefetch.progress.stopped = "a bug in the daemon; see its log"
        if job.lease.cancelled_caught:
            job.prefetch.progress.stopped = FORGOTTEN
        job.prefetch.progress.finished = True

    def _job(self, number: int) -> _Job:
        job = self._jobs.get(number)
        if job is None or job.is_forgotten:
            raise JobUnknown(f"no prefetch {number} is under way in this daemon")
        job.renew()
        return job

    async def _blobs(self, release: str) -> dict[str, Blob]:
        if release:
            return dict((await self._dataset.contents(release)).files)
        listing = self._dataset.listing
        return {document.name: document.blob for document in (*listing.root, *listing.manifests)}

    # --- what a command found out

    async def suspect(self, release: str, path: str) -> None:
        """A command found that a file is not what was published, and dropped it.

        From now on neither the kernel's pages of it nor a proxy between are trusted.
        """
        blob = (await self._blobs(release)).get(path)
        if blob is not None:
            self._fetcher.verifier.suspect(blob)
            log.error("%s is not as published, says vbofs verify; it is dropped", path)


def _extents(ranges: list[tuple[int, int]] | None) -> tuple[Extent, ...] | None:
    return None if ranges is None else tuple(Extent(*pair) for pair in ranges)
