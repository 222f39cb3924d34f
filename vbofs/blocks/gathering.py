"""Bytes on their way to the disk, in the daemon and in the process that fetches for it.

A pwrite(2) and a look at the map for each block cost more than its checksum, so blocks are kept a
few at a time; but not later than somebody wants them.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ..model import Extent
from .extents import BLOCK_SIZE

#: Bytes that are gathered before they are kept, and seconds for which a block that nobody waits for
#: may lie there.
GATHERED, PAUSE = 4 * BLOCK_SIZE, 0.02


class Gathering:
    """The bytes of *extent*, from the first to the last, in one small buffer.

    *extent* begins with a block and ends with one, or with its blob.  *is_awaited*: whether those
    who wait have all that they wait for, once what is before some byte of the blob has been kept.
    """

    def __init__(self, extent: Extent, is_awaited: Callable[[int], bool]) -> None:
        #: All before this byte of the blob has been taken.
        self.start = extent.start
        self._stop = extent.stop
        self._is_awaited = is_awaited
        self._room: memoryview | None = None
        self._filled = 0
        self._since: float | None = None  # When the first block in the buffer was whole.

    @property
    def is_empty(self) -> bool:
        return not self._filled

    def get_buffer(self) -> memoryview:
        """Room for at least one next byte."""
        if self._room is None:  # Made when it is needed: another process may pour instead.
            self._room = memoryview(bytearray(min(GATHERED, self._stop - self.start)))
        return self._room[self._filled : self._stop - self.start]

    def add(self, nbytes: int) -> bool:
        """The next *nbytes* are in the buffer; whether what is whole is to be kept now."""
        self._filled += nbytes
        size = self._whole
        if not size:
            return False
        now = time.monotonic()
        self._since = self._since or now
        is_full = self.start + size == self._stop or self._filled == len(self._room or b"")
        return is_full or now - self._since > PAUSE or self._is_awaited(self.start + size)

    @property
    def _whole(self) -> int:
        end = self.start + self._filled
        return self._filled if end == self._stop else self._filled - end % BLOCK_SIZE

    @property
    def whole(self) -> memoryview:
        """The blocks that are whole, from *start* on; empty, maybe."""
        return (self._room or memoryview(b""))[: self._whole]

    def take(self) -> None:
        """What was whole has been kept: there is room for more."""
        size, room = self._whole, self._room
        if room is not None:
            rest = self._filled - size
            room[:rest] = room[size : self._filled]
            self._filled, self._since = rest, None
            self.start += size

    def skip(self, nbytes: int) -> None:
        """The next *nbytes* have been kept by somebody else; nothing may be in the buffer."""
        assert self.is_empty
        self.start += nbytes
