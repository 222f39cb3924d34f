"""Who is fetching what: single flight per block, one queue for everybody, demand first.

Invariants, all of them kept between two awaits of the one trio thread:

* A block that is wanted and not here has exactly one ``Flight`` in ``_flights``; whoever wants it
  waits for that flight, and nobody else asks the remote for it.
* A waiter is no owner: flights belong to requests, which run in the fetcher's nursery.  A reader
  that goes away takes nothing from the others.
* A flight leaves ``_flights`` and wakes its waiters in one step: with the block on disk, with the
  block in ``content``, or with an ``error``.  The next asker starts afresh.
* Demand never waits behind anything else: it is taken from the queue first, and other requests
  leave it a share of the connections.

Blocks that are waited for land one by one while their request is still under way.  They are
checksummed and written by the remote's worker thread, in sink.py; the trio thread only wakes the
waiters.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Set

import trio

from ..errors import BlockUnavailable, VbofsError
from ..model import Blob
from ..remote.protocol import ObjectStore
from ..remote.waits import Waits, begin
from .budget import USUAL, Budget, Shares
from .extents import BLOCK_SIZE, runs, span
from .flights import FetcherStatistics, Flight, Priority, Request, waiting_for
from .sink import BlockSink
from .slow import explained
from .store import BlockStore
from .verifier import Verifier

log = logging.getLogger(__name__)


#: Seconds after the last read when readers are taken to have come to rest.
REST = 1.0
#: Blocks that are fetched to the end although nobody wants them: as much as a new connection costs.
FEW = 16
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
        self._connections = connections
        # A quarter is kept for demand, but there is read-ahead even on one connection.
        self._unhurried = max(1, connections - max(1, connections // 4))
        # Prefetching takes hours.  At rest it leaves room for who begins to read; as long as
        # somebody reads, the network is mostly his.
        self._at_rest, self._considerate = max(1, connections // 2), max(1, connections // 8)
        # A read holds its blocks and, for a moment, the answer made of them.
        self._memory = {Priority.DEMAND: (Budget(shares.reads), 2 * BLOCK_SIZE)}
        self._chases = Budget(shares.chases), BLOCK_SIZE
        # More than that fetched ahead would be evicted again before it is read.
        self._most_ahead = min(shares.ahead, max(1, store.limit // 4 // BLOCK_SIZE))
        self._flights: dict[tuple[str, int], Flight] = {}
        self._queue: list[Request] = []
        self._flying: list[Request] = []
        self._serials = itertools.count()
        self._asked: Counter[Priority] = Counter()
        self._joined = self._failed = self._hits = 0
        self.last_error: str | None = None
        self._read_at = -REST
        self.verifier = Verifier(nursery, remote, store, lambda: self._is_busy)

    def __repr__(self) -> str:
        return f"<Fetcher {len(self._flying)} flying, {len(self._queue)} queued>"

    def statistics(self) -> FetcherStatistics:
        return FetcherStatistics(
            self._asked[Priority.DEMAND],
            self._asked[Priority.CHASE],
            self._asked[Priority.READ_AHEAD],
            self._asked[Priority.PREFETCH],
            self._joined,
            self._failed,
            len(self._flying),
            len(self._queue),
            self._hits,
        )

    async def have(
        self,
        blob: Blob,
        blocks: range,
        *,
        but: Set[int] = frozenset(),
        ahead: range = range(0),
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
        self, blob: Blob, blocks: range, but: Set[int], ahead: range, priority: Priority
    ) -> dict[int, bytes]:
        missing = [block for block in self._missing(blob, blocks) if block not in but]
        self._request(blob, missing, priority)
        waited = {block: self._flights[blob.ident, block] for block in missing}
        self.want(blob, ahead)
        with waiting_for(waited.values()):
            # Counted, then looked again; the sink writes, then looks at the count.  So a block
            # that a thread completes meanwhile is either found here or announced to us.
            for block in waited.keys() - self._missing(blob, blocks):
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
        missing = self._missing(blob, blocks)
        self._request(blob, missing, Priority.PREFETCH)
        flights = deque(self._flights[blob.ident, block] for block in missing)
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
        room = self._most_ahead - len(self._flights) + self._prefetching
        if not blocks or room <= 0:
            return
        file = self._store.file(blob)
        if file is None or self._store.takes_none:
            return  # With nowhere to keep them, they would be thrown away and fetched again.
        missing = file.missing(blocks)
        if not missing:
            file.expect(span(blocks, blob.size))
        missing = [block for block in missing if (blob.ident, block) not in self._flights]
        self._request(blob, missing[:room], Priority.READ_AHEAD)

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
        self._read_at = trio.current_time()

    def note_hit(self, blocks: int) -> None:
        """So many blocks were read from disk, and nobody had to be asked."""
        self._hits += blocks

    @property
    def _is_read(self) -> bool:
        return trio.current_time() - self._read_at < REST

    @property
    def _prefetching(self) -> int:
        """Blocks on their way that only a prefetch wants; they have a limit of their own."""
        requests = itertools.chain(self._queue, self._flying)
        return sum(len(r.flights) for r in requests if r.priority is Priority.PREFETCH)

    @property
    def _is_busy(self) -> bool:
        return bool(self._flying) or self._is_read

    def abandon(self, blob: Blob) -> None:
        """Nobody reads *blob* any more: drop what was to be fetched ahead, also what has begun if
        there is much left of it."""
        error = BlockUnavailable("the file was closed")
        for request in [r for r in self._queue if r.blob.ident == blob.ident and not r.is_wanted]:
            self._queue.remove(request)
            self._land_all(request, error)
        for request in self._flying:
            if request.blob.ident == blob.ident and not request.is_wanted and request.left > FEW:
                # Landed now, so that whoever comes while it ends starts a flight of his own.
                self._land_all(request, error)
                request.is_abandoned = True
                request.life.cancel()

    # --- deciding

    def _check(self, blob: Blob) -> None:
        if self.verifier.is_condemned(blob):
            raise BlockUnavailable(f"{blob.version.key}: its bytes are not those of its release")

    def _missing(self, blob: Blob, blocks: range) -> list[int]:
        file = self._store.file(blob)
        return file.missing(blocks) if file else list(blocks)

    def _request(self, blob: Blob, blocks: Iterable[int], priority: Priority) -> None:
        """Join or start a flight for each of *blocks*; no checkpoint in here: that is the lock."""
        fresh = []
        for block in blocks:
            flight = self._flights.get((blob.ident, block))
            if flight is None or self._is_spent(flight, blob, block):
                fresh.append(block)
            else:
                self._joined += 1
                if flight.request is not None and flight.request.is_queued:
                    flight.request.priority = min(flight.request.priority, priority)
        for run in runs(fresh):
            self._enqueue(blob, run, priority)
        self._start_what_may()

    def _is_spent(self, flight: Flight, blob: Blob, block: int) -> bool:
        """Its block was kept for nobody in particular, and has been evicted since."""
        request = flight.request
        if request is None or block not in request.complete or block in request.announced:
            return False
        return bool(self._missing(blob, range(block, block + 1)))

    def _enqueue(self, blob: Blob, run: range, priority: Priority) -> None:
        waits = Waits()
        flights = {block: Flight(waits) for block in run}
        request = Request(blob, run, priority, next(self._serials), flights, waits)
        self._queue.append(request)
        for block, flight in flights.items():
            flight.request = request
            self._flights[blob.ident, block] = flight
        self._asked[priority] += len(run)

    def _start_what_may(self) -> None:
        while self._queue and len(self._flying) < self._connections:
            first = min(self._queue, key=lambda r: (r.priority, r.serial))
            if first.priority is not Priority.DEMAND and self._leave_no_share(first.priority):
                return
            self._nursery.start_soon(self._fly, first)  # Raises if the nursery has closed.
            self._queue.remove(first)
            self._flying.append(first)
            first.is_queued = False

    def _leave_no_share(self, priority: Priority) -> bool:
        """One more request of *priority* would take connections that others may need at once."""
        unhurried = sum(r.priority is not Priority.DEMAND for r in self._flying)
        if priority is Priority.PREFETCH:
            return unhurried >= (self._considerate if self._is_read else self._at_rest)
        return unhurried >= self._unhurried

    # --- flying

    async def _fly(self, request: Request) -> None:
        error: Exception = BlockUnavailable("the mount is going away")
        request.waits.queue = trio.current_time() - request.queued_at
        begin(request.waits)
        sink = self._sink(request)
        try:
            request.file = self._store.file(request.blob)
            extent = span(request.blocks, request.blob.size)
            with request.life:
                await self._remote.fetch(request.blob, extent, sink)
                # The last announcements may still be on their way to this thread.
                for flight in [f for b, f in request.flights.items() if b in request.announced]:
                    await flight.landed.wait()
            error = BlockUnavailable("the answer ended early")
        except VbofsError as failure:
            error = failure
            sink.end()
            self._failed += 1
            self.last_error = str(failure)
            # Whoever waits reports it; of what was fetched ahead nobody need know.
            log.debug("%s: %s", request.blob.version.key, failure)
        except Exception as bug:
            error = bug
            self._failed += 1
            self.last_error = repr(bug)
            log.exception("%s: a bug; the readers see EIO", request.blob.version.key)
        finally:
            # Synchronous, so that a cancelled flight still lands.
            self._flying.remove(request)
            self._land_all(request, error)
            self._start_what_may()
        self._consider(request)

    def _consider(self, request: Request) -> None:
        if request.file is not None:
            try:
                self.verifier.consider(request.file)
            except Exception:  # This task's nursery is the mount's.
                log.exception("%r: a bug; it stays unverified", request.file)

    def _sink(self, request: Request) -> BlockSink:
        token = trio.lowlevel.current_trio_token()

        def announce(pieces: dict[int, bytes | None]) -> None:
            try:
                token.run_sync_soon(self._land, request, pieces)
            except trio.RunFinishedError:
                return  # The daemon has gone; the block is on disk for the next one.

        return BlockSink(request, self._store, announce)

    def _land(self, request: Request, pieces: dict[int, bytes | None]) -> None:
        for block, content in pieces.items():
            flight = request.flights.pop(block, None)
            if flight is None:
                continue  # It was landed with an error when its request was cancelled.
            flight.content = content
            self._end(request, block, flight)

    def _land_all(self, request: Request, error: Exception) -> None:
        """Land what is left of *request*: who waits for a block that is not here sees *error*."""
        for block, flight in request.flights.items():
            if block not in request.complete:
                flight.error = error
            self._end(request, block, flight)
        request.flights.clear()

    def _end(self, request: Request, block: int, flight: Flight) -> None:
        key = request.blob.ident, block
        if self._flights.get(key) is flight:  # Not the one that took its place.
            del self._flights[key]
        flight.landed.set()
