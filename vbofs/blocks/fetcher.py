"""How blocks are asked for: by who waits for them, by who guesses at them, by who fetches ahead.

How much memory each of them may take is decided here; in which order they are fetched, and over how
many connections, in scheduler.py.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Mapping, Set

import trio

from ..errors import BlockUnavailable
from ..model import Blob
from ..remote.protocol import ObjectStore
from .blobfile import BlobFile
from .budget import USUAL, Budget, Shares
from .extents import BLOCK_SIZE, span
from .flights import FetcherStatistics, Flight, Priority, waiting_for
from .scheduler import Scheduler
from .slow import explained
from .store import BlockStore
from .verifier import Verifier

log = logging.getLogger(__name__)

#: Chases that may wait for memory; each is a task, and what they want is a guess.
MOST_CHASES = 256


class Fetcher:
    """Brings blocks from *remote* into *store*, with up to *connections* requests at once, and no
    more memory than *shares* say."""

    def __init__(
        self,
        nursery: trio.Nursery,
        store: BlockStore,
        remote: ObjectStore,
        connections: int,
        shares: Shares = USUAL,
    ) -> None:
        self._nursery = nursery
        self._store = store
        self._remote = remote
        # A read holds its blocks and, for a moment, the answer made of them.
        self._memory = {Priority.DEMAND: (Budget(shares.reads), 2 * BLOCK_SIZE)}
        self._chases = Budget(shares.chases), BLOCK_SIZE
        # More than that fetched ahead would be evicted again before it is read.
        self._most_ahead = min(shares.ahead, max(1, store.limit // 4 // BLOCK_SIZE))
        self._scheduler = Scheduler(nursery, store, remote, connections, self._consider)
        self._hits = 0
        self.verifier = Verifier(nursery, remote, store, lambda: self._scheduler.is_busy)

    def __repr__(self) -> str:
        return f"<Fetcher {self._scheduler.flying} flying, {self._scheduler.queued} queued>"

    @property
    def last_error(self) -> str | None:
        """What was wrong with the last request that failed."""
        return self._scheduler.last_error

    @property
    def under_way(self) -> int:
        """Blocks that have been asked for and are neither here nor lost."""
        return self._scheduler.under_way

    def statistics(self) -> FetcherStatistics:
        scheduler = self._scheduler
        return FetcherStatistics(
            scheduler.asked[Priority.DEMAND],
            scheduler.asked[Priority.CHASE],
            scheduler.asked[Priority.READ_AHEAD],
            scheduler.asked[Priority.PREFETCH],
            scheduler.joined,
            scheduler.failed,
            scheduler.flying,
            scheduler.queued,
            self._hits,
        )

    async def have(
        self,
        blob: Blob,
        blocks: range,
        *,
        but: Set[int] = frozenset(),
        ahead: Iterable[range] = (),
        priority: Priority = Priority.DEMAND,
    ) -> dict[int, bytes]:
        """Wait until *blocks* are here; have those *ahead* fetched too, without waiting for them.

        *but* these, which the caller holds.  Returns the blocks that were waited for, by number;
        the others are on disk.  BlockUnavailable if one cannot be had.
        """
        self._check(blob)
        budget, each = self._memory.get(priority, self._chases)
        async with budget.lent(len(blocks) * each):
            return await self._had(blob, blocks, but, ahead, priority)

    async def _had(
        self, blob: Blob, blocks: range, but: Set[int], ahead: Iterable[range], priority: Priority
    ) -> dict[int, bytes]:
        missing = [block for block in self._scheduler.missing(blob, blocks) if block not in but]
        waited = self._scheduler.request(blob, missing, priority)
        for some in ahead:
            self.want(blob, some)
        with waiting_for(waited.values()):
            # Counted, then looked again; the sink writes, then looks at the count.  So a block
            # that a thread completes meanwhile is either found here or announced to us.
            for block in waited.keys() - self._scheduler.missing(blob, blocks):
                del waited[block]
            self._ask(waited)
            with explained(blob, blocks, [flight.waits for flight in waited.values()]):
                for flight in waited.values():
                    await flight.landed.wait()
        for flight in waited.values():
            if flight.error is not None:
                raise BlockUnavailable(
                    f"{blob.version.key}: {flight.error}", flight.error
                ) from flight.error
        return {block: f.content for block, f in waited.items() if f.content is not None}

    def _ask(self, waited: Mapping[int, Flight]) -> None:
        """Be told of these by other processes that fetch them: of each request's last one."""
        last = {flight.request: block for block, flight in sorted(waited.items())}
        for request, block in last.items():
            if request is not None and request.ask is not None:
                request.ask(span(range(block + 1), request.blob.size).stop)

    async def bring(self, blob: Blob, blocks: range) -> None:
        """Wait until *blocks* have been fetched to disk, after whatever anybody waits for.

        BlockUnavailable if one cannot be had.  One that the disk refuses is lost: look there.
        """
        self._check(blob)
        missing = self._scheduler.missing(blob, blocks)
        flights = deque(self._scheduler.request(blob, missing, Priority.PREFETCH).values())
        for flight in flights:
            flight.onlookers += 1
        failed = None
        try:
            while flights:
                await flights[0].landed.wait()
                # Let go of at once: it has its bytes, where the disk has refused them.
                flight = flights.popleft()
                flight.onlookers -= 1
                failed = failed or flight.error
        finally:
            for flight in flights:
                flight.onlookers -= 1
        if failed is not None:
            raise BlockUnavailable(f"{blob.version.key}: {failed}", failed) from failed

    def want(self, blob: Blob, blocks: range) -> None:
        """Have *blocks* fetched some time; those on their way already are left as they are.

        Of all that everybody wants ahead there is a limit: what is beyond it, its reader will ask
        for himself."""
        scheduler = self._scheduler
        # What only a prefetch wants has a limit of its own.
        room = self._most_ahead - scheduler.under_way + scheduler.prefetching
        if not blocks or room <= 0:
            return
        file = self._store.file(blob)
        if file is None or self._store.takes_none:
            return  # With nowhere to keep them, they would be thrown away and fetched again.
        missing = file.missing(blocks)
        if not missing:
            file.expect(span(blocks, blob.size))
        missing = [block for block in missing if not scheduler.is_under_way(blob, block)]
        scheduler.request(blob, missing[:room], Priority.READ_AHEAD)

    def abandon(self, blob: Blob) -> None:
        """Nobody reads *blob* any more: drop what was to be fetched ahead."""
        self._scheduler.abandon(blob)

    def expect(self, blob: Blob, requests: int) -> None:
        """So many *requests* for *blob* are likely to be made at once soon."""
        self._nursery.start_soon(self._prepare, blob, requests)

    async def _prepare(self, blob: Blob, requests: int) -> None:
        try:
            await self._remote.prepare(blob.version, requests)
        except Exception:  # This task's nursery is the mount's.
            log.exception("%s: a bug; it is read all the same", blob.version.key)

    @property
    def may_chase(self) -> bool:
        """Whether another guess at what a reader will want has a chance to be in time."""
        return self._chases[0].waiting < MOST_CHASES

    def note_read(self) -> None:
        """Somebody reads, if only what is here: what can wait for him does."""
        self._scheduler.note_read()

    @property
    def is_busy(self) -> bool:
        """Somebody reads, or something is fetched."""
        return self._scheduler.is_busy

    async def stirred(self) -> None:
        """Wait until it is busy, or has been since he who waited last was told."""
        await self._scheduler.stirred()

    def note_hit(self, blocks: int) -> None:
        """So many blocks were read from disk, and nobody had to be asked."""
        self._hits += blocks

    def _check(self, blob: Blob) -> None:
        if self.verifier.is_condemned(blob):
            raise BlockUnavailable(f"{blob.version.key}: its bytes are not those of its release")

    def _consider(self, file: BlobFile) -> None:
        try:
            self.verifier.consider(file)
        except Exception:  # It is called by tasks whose nursery is the mount's.
            log.exception("%r: a bug; it stays unverified", file)
