"""When to fetch bytes that nobody has asked for yet.  A policy: no I/O, no tasks, no clock.

HDF5 interleaves metadata, one array and another, and the kernel splits a large read into pieces
that arrive out of order.  So reads are sorted into a few streams by where they continue, and each
stream has a window of its own: it opens when some have come in a row, doubles while it is right,
and is topped up when half of it is used, so that the reader never stops to wait for a round trip.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from ..model import Extent
from .extents import PART_SIZE

#: Streams followed per open file.
STREAMS = 8
#: Bytes by which a read may lag or lead its stream: the kernel's own read-ahead is 128 KiB and
#: is sent as separate requests, a few of them under way at once.
SLACK = 1 << 20
#: Bytes read in a row that open a window (pieces of metadata lie close to each other, too), bytes
#: of the first window, and the factor by which windows grow: anywhere, and inside a known array.
FIRST_WINDOW = 512 << 10
CAREFUL = 256 << 10, FIRST_WINDOW, 2
BOLD = 128 << 10, 2 << 20, 4
LARGEST_WINDOW = 32 << 20

NOTHING = Extent(0, 0)


@dataclass(slots=True)
class _Stream:
    head: int  # Where the furthest read ended.
    promised: int  # Up to here it has been asked for.
    window: int = 0
    length: int = 0  # Bytes read in a row.


class ReadAhead:
    """Watches the reads of one open file of *size* bytes and says what to have ready next."""

    def __init__(self, size: int, largest: int = LARGEST_WINDOW) -> None:
        self._size = size
        self._largest = largest
        # Most recently continued last; the first is the one to forget.
        self._streams: OrderedDict[int, _Stream] = OrderedDict()
        self._serial = 0

    def __repr__(self) -> str:
        return f"<ReadAhead {[(s.head, s.window) for s in self._streams.values()]}>"

    @property
    def has_jumped(self) -> bool:
        """Some read did not continue an earlier one: this is no copy from front to back."""
        return self._serial > 1

    def observe(self, read: Extent, array: Extent | None = None) -> Extent:
        """Record *read*; return what to fetch now, beyond it; mostly it is empty.

        *array*: where the array that is read begins and ends, if that is known.  Nothing beyond
        its end is fetched, and so what lies before it is fetched more boldly.
        """
        key = self._continued_by(read)
        if key is None:
            self._begin(read)
            return NOTHING
        self._streams.move_to_end(key)
        stream = self._streams[key]
        stream.length += read.size
        stream.head = max(stream.head, read.stop)
        return self._top_up(stream, array)

    def _continued_by(self, read: Extent) -> int | None:
        for key, stream in reversed(self._streams.items()):
            if stream.head - SLACK <= read.start <= stream.head + min(SLACK, stream.length):
                return key
        return None

    def _begin(self, read: Extent) -> None:
        self._serial += 1
        self._streams[self._serial] = _Stream(read.stop, read.stop, length=read.size)
        if len(self._streams) > STREAMS:
            self._streams.popitem(last=False)

    def _top_up(self, stream: _Stream, array: Extent | None) -> Extent:
        if array and stream.length > array.size:
            array = None  # It has come through other arrays, and will go on to the next.
        opening, first, growth = BOLD if array else CAREFUL
        if stream.length < opening or stream.promised - stream.head > stream.window // 2:
            return NOTHING
        # No wider than what has been read in a row: a short run is not followed by a long one.
        wider = max(first, growth * stream.window)
        stream.window = min(wider, self._largest, max(first, growth * stream.length))
        start = max(stream.promised, stream.head)
        stop = stream.head + stream.window
        if stream.window >= 2 * PART_SIZE:
            stop -= stop % PART_SIZE  # Whole parts: fewer requests, and the same for everybody.
        stop = min(stop, array.stop if array else self._size)
        if start >= stop:
            return NOTHING
        stream.promised = stop
        return Extent(start, stop)
