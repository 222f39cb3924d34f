"""The sink of the transfer process: gathers bytes, keeps whole blocks, tells who asked."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from ..blocks.blobmap import write_blocks
from ..blocks.extents import BLOCK_SIZE
from ..errors import RemoteError
from ..model import Extent

#: Bytes that are gathered before they are kept, and seconds for which a whole block may lie there.
GATHERED, PAUSE = 4 * BLOCK_SIZE, 0.02


class DiskRefuses(RemoteError):
    """Not an error of the remote, but the pouring ends all the same."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class Landing:
    """Keeps *extent* of a blob at *places*, descriptors of its map and data that are its own.

    *extent* begins with a block and ends with one, or with the blob.  *tell* is called with how far
    it is when the first byte comes and when somebody has asked; from any thread.
    """

    def __init__(
        self, extent: Extent, places: tuple[int, int], tell: Callable[[int], None]
    ) -> None:
        self._places = places
        self._tell = tell
        self._stop = extent.stop
        #: All before this byte is kept.
        self.kept = extent.start
        self._buffer = memoryview(bytearray(min(GATHERED, extent.size)))
        self._filled = 0
        self._since = 0.0
        self._lock = threading.Lock()
        self._asked: list[int] = []
        self._has_begun = False
        self._is_cancelled = False

    def close(self) -> None:
        """Close the descriptors; nobody pours any more."""
        for place in self._places:
            os.close(place)

    def cancel(self) -> None:
        """Nobody wants the rest: the next step of whoever pours fails."""
        self._is_cancelled = True

    def ask(self, stop: int) -> None:
        """Tell when all before *stop* is kept."""
        with self._lock:
            if stop > self.kept:
                self._asked.append(stop)
                return
        self._tell(self.kept)

    def get_buffer(self) -> memoryview:
        if self._is_cancelled:
            raise RemoteError("nobody wants it any more")
        if not self._has_begun:
            self._has_begun = True
            self._tell(self.kept)
        return self._buffer[self._filled : self._stop - self.kept]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        end = self.kept + self._filled
        whole = end if end == self._stop else end - end % BLOCK_SIZE
        if whole <= self.kept:
            self._since = 0.0
            return
        now = time.monotonic()
        self._since = self._since or now
        full = end == self._stop or self._filled == len(self._buffer)
        if full or now - self._since > PAUSE or self._is_asked(whole):
            self._keep(whole - self.kept)

    def _is_asked(self, whole: int) -> bool:
        return any(stop <= whole for stop in self._asked)

    def _keep(self, size: int) -> None:
        try:
            write_blocks(self._places, self.kept // BLOCK_SIZE, self._buffer[:size])
        except OSError as error:
            raise DiskRefuses(error) from error
        rest = self._filled - size
        self._buffer[:rest] = self._buffer[size : self._filled]
        self._filled, self._since = rest, 0.0
        with self._lock:
            self.kept += size
            due = self._is_asked(self.kept)
            self._asked = [stop for stop in self._asked if stop > self.kept]
        if due:
            self._tell(self.kept)
