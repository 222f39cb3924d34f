"""One queue for all requests, demand first; what is under way, and what becomes of it.

Invariants, all of them kept between two awaits of the one trio thread:

* A block that is wanted and not here has exactly one ``Flight``; whoever wants it waits for that
  flight, and nobody else asks the remote for it.
* A waiter is no owner: flights belong to requests, which run in the mount's nursery.  A reader that
  goes away takes nothing from the others.
* A flight ends and wakes its waiters in one step: with the block on disk, with the block in
  ``content``, or with an ``error``.  The next asker starts afresh.
* Demand never waits behind anything else: it is taken from the queue first, and other requests
  leave it a share of the connections.

Blocks that are waited for land one by one while their request is still under way.  They are
checksummed and written by the remote's worker thread, in sink.py; the trio thread only wakes the
waiters.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterable

import trio

from ..errors import BlockUnavailable, VbofsError
from ..model import Blob
from ..remote.protocol import ObjectStore
from ..remote.waits import Waits, begin
from .blobfile import BlobFile
from .extents import runs, span
from .flights import Flight, Priority, Request
from .sink import BlockSink
from .store import BlockStore

log = logging.getLogger(__name__)

#: Seconds after the last read when readers are taken to have come to rest.
REST = 1.0
#: Blocks that are fetched to the end although nobody wants them: as much as a new connection costs.
FEW = 16


class Scheduler:
    """Fetches blocks from *remote* into *store* with up to *connections* requests at once.

    *arrived* is told of each file of which a request has brought something.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        store: BlockStore,
        remote: ObjectStore,
        connections: int,
        arrived: Callable[[BlobFile], None],
    ) -> None:
        self._nursery = nursery
        self._store = store
        self._remote = remote
        self._connections = connections
        self._arrived = arrived
        # A quarter is kept for who waits and for chases, which are over in a round trip and mostly
        # come before somebody waits; half of that for demand alone.  But there is read-ahead even
        # on one connection.
        self._unhurried = max(1, connections - max(1, connections // 4))
        self._chasing = max(1, connections - max(1, connections // 8))
        # Prefetching takes hours.  At rest it leaves room for who begins to read; as long as
        # somebody reads, the network is mostly his.
        self._at_rest, self._considerate = max(1, connections // 2), max(1, connections // 8)
        self._flights: dict[tuple[str, int], Flight] = {}
        self._queue: list[Request] = []
        self._flying: list[Request] = []
        self._serials = itertools.count()
        #: Blocks asked for, by why, and those that somebody asked for who found them under way;
        #: requests that failed, and what was wrong with the last of them.
        self.asked: Counter[Priority] = Counter()
        self.joined = self.failed = 0
        self.last_error: str | None = None
        self._read_at = -REST
        self._stirred = trio.Event()

    def __repr__(self) -> str:
        return f"<Scheduler {self.flying} flying, {self.queued} queued>"

    @property
    def flying(self) -> int:
        """Requests that are being answered."""
        return len(self._flying)

    @property
    def queued(self) -> int:
        """Requests that wait for their turn."""
        return len(self._queue)

    @property
    def under_way(self) -> int:
        """Blocks of all requests, but those that have landed."""
        return len(self._flights)

    @property
    def prefetching(self) -> int:
        """Blocks on their way that only a prefetch wants."""
        requests = itertools.chain(self._queue, self._flying)
        return sum(len(r.flights) for r in requests if r.priority is Priority.PREFETCH)

    @property
    def is_busy(self) -> bool:
        """Somebody reads, or something is fetched."""
        return bool(self._flying) or self._is_read

    @property
    def _is_read(self) -> bool:
        return trio.current_time() - self._read_at < REST

    def note_read(self) -> None:
        """Somebody reads, if only what is here: what can wait for him does."""
        self._read_at = trio.current_time()
        self._stirred.set()

    async def stirred(self) -> None:
        """Wait until there is something to do, or has been since he who waited last was told."""
        event = self._stirred
        await event.wait()
        if self._stirred is event:
            self._stirred = trio.Event()

    def is_under_way(self, blob: Blob, block: int) -> bool:
        return (blob.ident, block) in self._flights

    def missing(self, blob: Blob, blocks: range) -> list[int]:
        """Those of *blocks* that are not on disk."""
        file = self._store.file(blob)
        return file.missing(blocks) if file else list(blocks)

    def request(self, blob: Blob, blocks: Iterable[int], priority: Priority) -> dict[int, Flight]:
        """Join or start a flight for each of *blocks*; no checkpoint in here: that is the lock."""
        wanted = list(blocks)
        fresh = []
        for block in wanted:
            flight = self._flights.get((blob.ident, block))
            if flight is None or self._is_spent(flight, blob, block):
                fresh.append(block)
            else:
                self.joined += 1
                if flight.request is not None and flight.request.is_queued:
                    flight.request.priority = min(flight.request.priority, priority)
        for run in runs(fresh):
            self._enqueue(blob, run, priority)
        self._start_what_may()
        return {block: self._flights[blob.ident, block] for block in wanted}

    def _is_spent(self, flight: Flight, blob: Blob, block: int) -> bool:
        """Its block was kept for nobody in particular, and has been evicted since."""
        request = flight.request
        if request is None or block not in request.complete or block in request.announced:
            return False
        return bool(self.missing(blob, range(block, block + 1)))

    def _enqueue(self, blob: Blob, run: range, priority: Priority) -> None:
        waits = Waits()
        flights = {block: Flight(waits) for block in run}
        request = Request(blob, run, priority, next(self._serials), flights, waits)
        self._queue.append(request)
        for block, flight in flights.items():
            flight.request = request
            self._flights[blob.ident, block] = flight
        self.asked[priority] += len(run)

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
        return unhurried >= (self._chasing if priority is Priority.CHASE else self._unhurried)

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

    # --- flying

    async def _fly(self, request: Request) -> None:
        error: Exception = BlockUnavailable("the mount is going away")
        request.waits.queue = trio.current_time() - request.queued_at
        self._stirred.set()
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
            error = _bare(failure)
            sink.end()
            self.failed += 1
            self.last_error = str(failure)
            # Whoever waits reports it; of what was fetched ahead nobody need know.
            log.debug("%s: %s", request.blob.version.key, failure)
        except Exception as bug:
            error = bug
            self.failed += 1
            self.last_error = repr(bug)
            log.exception("%s: a bug; the readers see EIO", request.blob.version.key)
        finally:
            # Synchronous, so that a cancelled flight still lands.
            self._flying.remove(request)
            self._land_all(request, error)
            self._start_what_may()
        if request.file is not None:
            self._arrived(request.file)

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


def _bare(error: VbofsError) -> VbofsError:
    """*error*, and those that it came from, without the frames they came through: these hold the
    request's buffers, and *error* with them, until the garbage collector happens to come by."""
    bared: set[BaseException] = set()  # An error that was raised again may come from itself.
    chain: BaseException | None = error
    while chain is not None and chain not in bared:
        chain.__traceback__ = None
        bared.add(chain)
        chain = chain.__cause__ or chain.__context__
    return error
