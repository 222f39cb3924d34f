"""Fetching what somebody will want: many blobs, whole or in part, in the background of all else.

A ``Prefetch`` knows what is wanted and counts what has come; which blocks are missing it asks of
the disk when it gets to a blob.  So it can be stopped, killed and begun again at any moment: what
is here is not asked for twice.  It enters at the fetcher like everybody else, below read-ahead, and
shares the flights of readers.

A blob that is wanted whole is compared with its publisher's digest when its last block is here; one
that fails was dropped by the verifier, and is fetched once more.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import trio

from ..errors import BlockUnavailable, CacheFull, ObjectMissing, VbofsError, WrongResponse
from ..model import Blob, Extent
from .coverage import bytes_of
from .extents import block_count, covering, runs
from .fetcher import Fetcher
from .store import BlockStore

log = logging.getLogger(__name__)

#: Blobs whose missing blocks are known at once; the requests of one part are what is parallel.
BLOBS_AT_ONCE = 4
#: Times that a blob is gone through: it may fail its digest, or be evicted as fast as it comes.
ROUNDS = 3
#: Failures that are told by name.
MOST_TOLD = 100
#: What concerns one blob only: the others are worth asking for.
_ITS_OWN = (ObjectMissing, WrongResponse)


@dataclass(frozen=True)
class Want:
    """*extents* of *blob* (None: all of it); *name* is what people call it."""

    name: str
    blob: Blob
    extents: tuple[Extent, ...] | None = None

    @property
    def blocks(self) -> Sequence[int]:
        """The blocks that hold what is wanted, ascending."""
        if self.extents is None:
            return range(block_count(self.blob.size))
        size = self.blob.size
        inside = (Extent(max(0, e.start), min(e.stop, size)) for e in self.extents)
        return sorted({block for extent in inside for block in covering(extent)})


@dataclass
class Progress:
    """What has come: blobs and bytes; *failed* says why of each, *stopped* why of all the rest."""

    files: int = 0
    files_done: int = 0
    bytes: int = 0
    verified: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    failures: int = 0
    stopped: str = ""
    finished: bool = False

    def document(self) -> dict[str, Any]:
        return asdict(self)


class Prefetch:
    """Has *wants* fetched, each request in its turn of *turns*, which several may share."""

    def __init__(
        self, wants: Iterable[Want], store: BlockStore, fetcher: Fetcher, turns: trio.Semaphore
    ) -> None:
        self._wants = list(wants)
        self._store = store
        self._fetcher = fetcher
        self._turns = turns
        self._blobs = trio.Semaphore(BLOBS_AT_ONCE)
        self._scope = trio.CancelScope()
        self.progress = Progress(files=len(self._wants))

    def __repr__(self) -> str:
        return f"<Prefetch {self.progress}>"

    async def run(self) -> None:
        """Return when all that can be had is here.  Never raises: ``progress`` says how it went."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                for want in self._wants:
                    await self._blobs.acquire()
                    nursery.start_soon(self._have, want)
        self.progress.finished = True

    def stop(self, why: str) -> None:
        """Ask for nothing more.  What is under way lands."""
        self.progress.stopped = self.progress.stopped or why
        self._scope.cancel()

    async def _have(self, want: Want) -> None:
        try:
            for _ in range(ROUNDS):
                if await self._is_sound(want):
                    self.progress.files_done += 1
                    return
                await self._bring(want)
            if not await self._is_sound(want):
                raise BlockUnavailable("it is evicted as fast as it is fetched")
            self.progress.files_done += 1
        except VbofsError as error:
            self._note(want, error)
        except Exception as bug:  # The nursery above may be the mount's.
            log.exception("prefetching %s: a bug; the others go on", want.name)
            self._fail(want, f"a bug: {bug!r}")
        finally:
            self._blobs.release()

    async def _is_sound(self, want: Want) -> bool:
        """All that is wanted is here, and is what was published as far as anybody can say."""
        if self._missing(want):
            return False
        if want.extents is None and want.blob.digest:
            verdict = await self._fetcher.verifier.settle(want.blob)
            self.progress.verified += verdict is True
            return verdict is True
        return True

    def _missing(self, want: Want) -> list[int]:
        if not want.blob.size:
            return []
        file = self._store.file(want.blob)
        absent = file.missing(range(block_count(want.blob.size))) if file else [0]
        wanted = set(want.blocks)
        missing = [block for block in absent if block in wanted]
        if file is None or (missing and self._store.takes_none):
            raise CacheFull("the cache takes no more: its disk refuses, or there is no room")
        return missing

    async def _bring(self, want: Want) -> None:
        """Fetch what is missing, a part at a time; the first of its errors is raised."""
        errors: list[VbofsError] = []

        async def one(run: range) -> None:
            try:
                await self._fetcher.bring(want.blob, run)
                self.progress.bytes += bytes_of(want.blob, run)
            except VbofsError as error:
                errors.append(error)
            finally:
                self._turns.release()

        async with trio.open_nursery() as nursery:
            for run in runs(self._missing(want)):
                await self._turns.acquire()
                if errors:
                    self._turns.release()
                    break
                nursery.start_soon(one, run)
        if errors:
            raise errors[0]

    def _note(self, want: Want, error: VbofsError) -> None:
        """One blob's failure; one that others would share ends it all: each has been tried again
        for as long as a reader would wait."""
        self._fail(want, str(error))
        cause = error.__cause__ if isinstance(error, BlockUnavailable) else error
        if isinstance(cause, VbofsError) and not isinstance(cause, _ITS_OWN):
            self.stop(str(cause))

    def _fail(self, want: Want, why: str) -> None:
        self.progress.failures += 1
        if len(self.progress.failed) < MOST_TOLD:
            self.progress.failed[want.name] = why
