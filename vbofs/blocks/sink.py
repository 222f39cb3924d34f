"""Where the bytes of one request go: out of the network's thread, into blocks, onto the disk."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import BlockUnavailable
from ..model import Extent
from ..remote.carrying import Place
from .extents import BLOCK_SIZE, covering, span
from .flights import Priority, Request
from .gathering import Gathering
from .store import BlockStore


class BlockSink:
    """Gathers the bytes of a request, and keeps its blocks as they are complete.

    Runs in the remote's worker thread.  Blocks are kept at once if somebody waits for one of them
    and for nothing that follows.  A block is announced if somebody waits for it or if the disk
    refuses it; waking the trio thread for each of the others would cost more than fetching them.
    ``Flight.waiters`` is read without a lock: see ``Fetcher._had``.
    """

    def __init__(
        self,
        request: Request,
        store: BlockStore,
        announce: Callable[[dict[int, bytes | None]], None],
    ) -> None:
        self._request = request
        self._store = store
        self._announce = announce
        self._gathering = Gathering(span(request.blocks, request.blob.size), self._is_awaited)

    def get_buffer(self) -> memoryview:
        if self._request.is_abandoned:
            # Our caller has been told; this ends the thread that still pours, and its connection.
            raise BlockUnavailable("nobody wants it any more")
        return self._gathering.get_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        if self._gathering.add(nbytes):
            self._keep()

    def end(self) -> None:
        """No more will come, and nobody calls any more: keep the blocks that are whole."""
        if self._gathering.whole:
            self._keep()

    # --- another process pours instead (remote/carrying.py)

    def is_patient(self) -> bool:
        return self._request.priority > Priority.CHASE

    def place(self, extent: Extent) -> Place | None:
        request = self._request
        if request.file is None or not self._gathering.is_empty:
            return None  # The disk refuses, or there are bytes in the buffer.
        return self._store.place(request.file, extent.size)

    def elsewhere(self, ask: Callable[[int], None] | None) -> None:
        self._request.ask = ask
        awaited = [block for block in self._request.blocks if self._waits_for(block)]
        if ask and awaited:
            ask(span(range(awaited[-1] + 1), self._request.blob.size).stop)

    def kept(self, nbytes: int) -> None:
        request, start = self._request, self._gathering.start
        extent = Extent(start, start + nbytes)
        blocks = covering(extent)
        self._gathering.skip(nbytes)
        if request.file is not None:
            self._store.kept(request.file, extent)
        request.complete.update(blocks)
        self._say({block: None for block in blocks if self._waits_for(block)})

    def refused(self, error: OSError) -> None:
        if self._request.file is not None:
            self._store.refused(self._request.file, error, BLOCK_SIZE)

    # ---

    def _is_awaited(self, stop: int) -> bool:
        """A read waits for what is here, and for nothing that comes next: large reads want many."""
        blocks = covering(Extent(self._gathering.start, stop))
        return not self._waits_for(blocks.stop) and any(map(self._waits_for, blocks))

    def _waits_for(self, block: int) -> bool:
        flight = self._request.flights.get(block)
        return flight is not None and flight.waiters > 0

    def _keep(self) -> None:
        content, start, request = self._gathering.whole, self._gathering.start, self._request
        blocks = covering(Extent(start, start + len(content)))
        kept = request.file is not None and self._store.put(request.file, blocks.start, content)
        request.complete.update(blocks)
        pieces: dict[int, bytes | None] = {
            block: bytes(content[nth * BLOCK_SIZE : (nth + 1) * BLOCK_SIZE])
            for nth, block in enumerate(blocks)
            if self._waits_for(block) or (not kept and block in request.flights)
        }
        self._say(pieces)
        self._gathering.take()

    def _say(self, pieces: dict[int, bytes | None]) -> None:
        if pieces:
            self._request.announced.update(pieces)
            self._announce(pieces)
