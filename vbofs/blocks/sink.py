"""Where the bytes of one request go: out of the network's thread, into blocks, onto the disk."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..errors import BlockUnavailable
from ..model import Extent
from ..remote.carrying import Place
from .extents import BLOCK_SIZE, covering, span
from .flights import Priority, Request
from .store import BlockStore

#: Bytes of a request that are gathered before they are kept, and seconds for which a block that
#: nobody waits for may lie there: a pwrite(2) and a look at the map for each block cost more than
#: its checksum.
GATHERED, PAUSE = 4 * BLOCK_SIZE, 0.02


class BlockSink:
    """Gathers the bytes of a request, and keeps its blocks as they are complete.

    Runs in the remote's worker thread.  Blocks are kept a few at a time, but at once if somebody
    waits for one of them and for nothing that follows.  A block is announced if somebody waits for
    it or if the disk refuses it; waking the trio thread for each of the others would cost more than
    fetching them.
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
        self._left = span(request.blocks, request.blob.size).size
        self._room: memoryview | None = None
        self._filled = 0
        self._block = request.blocks.start  # The first in the buffer.
        self._complete = 0  # Blocks in the buffer that are whole.
        self._since = 0.0

    def get_buffer(self) -> memoryview:
        if self._request.is_abandoned:
            # Our caller has been told; this ends the thread that still pours, and its connection.
            raise BlockUnavailable("nobody wants it any more")
        return self._buffer[self._filled : self._filled + self._left]

    @property
    def _buffer(self) -> memoryview:
        """Made when it is needed: another process may pour instead."""
        if self._room is None:
            self._room = memoryview(bytearray(min(GATHERED, self._left)))
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        self._left -= nbytes
        complete = self._filled // BLOCK_SIZE if self._left else len(self._request.blocks)
        complete = min(complete, self._request.blocks.stop - self._block)
        now = time.monotonic()
        if complete == self._complete and not (complete and now - self._since > PAUSE):
            return
        self._since = self._since if self._complete else now
        self._complete = complete
        full = not self._left or self._filled == len(self._buffer)
        if full or now - self._since > PAUSE or self._is_awaited():
            self._keep()

    def end(self) -> None:
        """No more will come, and nobody calls any more: keep the blocks that are whole."""
        if self._complete:
            self._keep()

    # --- another process pours instead (remote/carrying.py)

    def is_patient(self) -> bool:
        return self._request.priority > Priority.CHASE

    def place(self, extent: Extent) -> Place | None:
        request = self._request
        if request.file is None or self._filled:
            return None  # The disk refuses, or there are bytes in the buffer.
        return self._store.place(request.file, extent.size)

    def elsewhere(self, ask: Callable[[int], None] | None) -> None:
        self._request.ask = ask
        awaited = [block for block in self._request.blocks if self._waits_for(block)]
        if ask and awaited:
            ask(span(range(awaited[-1] + 1), self._request.blob.size).stop)

    def kept(self, nbytes: int) -> None:
        request, start = self._request, self._block * BLOCK_SIZE
        extent = Extent(start, start + nbytes)
        blocks = covering(extent)
        self._left -= nbytes
        self._block = blocks.stop
        if request.file is not None:
            self._store.kept(request.file, extent)
        request.complete.update(blocks)
        self._say({block: None for block in blocks if self._waits_for(block)})

    def refused(self, error: OSError) -> None:
        if self._request.file is not None:
            self._store.refused(self._request.file, error, BLOCK_SIZE)

    # ---

    def _is_awaited(self) -> bool:
        """A read waits for what is here, and for nothing that comes next: large reads want many."""
        end = self._block + self._complete
        return not self._waits_for(end) and any(map(self._waits_for, range(self._block, end)))

    def _waits_for(self, block: int) -> bool:
        flight = self._request.flights.get(block)
        return flight is not None and flight.waiters > 0

    def _keep(self) -> None:
        blocks = range(self._block, self._block + self._complete)
        size = span(blocks, self._request.blob.size).size
        content, request = self._buffer[:size], self._request
        kept = request.file is not None and self._store.put(request.file, blocks.start, content)
        request.complete.update(blocks)
        pieces: dict[int, bytes | None] = {
            block: bytes(content[nth * BLOCK_SIZE : (nth + 1) * BLOCK_SIZE])
            for nth, block in enumerate(blocks)
            if self._waits_for(block) or (not kept and block in request.flights)
        }
        self._say(pieces)
        rest = self._filled - size
        self._buffer[:rest] = self._buffer[size : self._filled]
        self._filled, self._block, self._complete = rest, blocks.stop, 0

    def _say(self, pieces: dict[int, bytes | None]) -> None:
        if pieces:
            self._request.announced.update(pieces)
            self._announce(pieces)
