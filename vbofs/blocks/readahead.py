"""When to fetch bytes that nobody has asked for yet.  A policy: no I/O, no tasks, no clock.

HDF5 interleaves metadata, one array and another, and the kernel splits a large read into pieces
that arrive out of order.  So reads are sorted into a few streams by where they continue, and each
stream has a window of its own: it opens when some have come in a row, doubles while it is right,
and is topped up when a quarter of it is used: of requests that share a line all end together, so
that half a window, once read, has another half that is here already, and nothing on its way.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Set
from dataclasses import dataclass, field

from ..model import Extent
from .extents import BLOCK_SIZE, PART_SIZE
from .hdf5.watching import GLANCE

#: Streams followed per open file.
STREAMS = 8
#: Bytes by which a read may lag or lead its stream: the kernel's own read-ahead is 128 KiB and
#: is sent as separate requests, a few of them under way at once.
SLACK = 1 << 20
#: Bytes read in a row that open a window (pieces of metadata lie close to each other, too), bytes
#: of the first window, and the factor by which windows grow: anywhere, and inside a known array,
#: where 8 MiB are what 100 MB/s bring in one round trip over a continent.
FIRST_WINDOW = 512 << 10
CAREFUL = 256 << 10, FIRST_WINDOW, 2
BOLD = 128 << 10, 8 << 20, 4
LARGEST_WINDOW = 32 << 20
#: Bytes that the kernel's own read-ahead may run past the end of what is read.
OVERRUN = 2 << 20
#: Times its largest request that the kernel has read in a row when it makes no larger ones.
STEADY = 4
#: Runs of one length, one after the other, after which the next one is taken to be as long: of the
#: records that somebody reads here and there the kernel makes several requests.
ALIKE = 3
#: Arrays read from end to end that show a reader who wants the next one too, and the bytes of one
#: that counts if he has gone there: what a few of the kernel's smallest read-aheads bring.
THROUGH, LEAST_WHOLE = 3, 256 << 10

#: Bytes: the largest array that is fetched with the one before it, and what may lie between them.
#: NWB keeps a series' samples and their times like that; to wait for it costs more than to have it.
COMPANION, BESIDE = 2 << 20, 128 << 10

NOTHING = Extent(0, 0)


@dataclass(slots=True)
class _Stream:
    start: int
    head: int  # Where the furthest read ended.
    promised: int  # Up to here it has been asked for.
    window: int = 0
    length: int = 0  # Bytes read in a row.
    largest: int = 0  # Bytes of the largest read: the kernel may run on by as many.
    array: Extent | None = None  # The one that was read last.
    entered: list[Extent] = field(default_factory=list)  # Not known to be read whole.


class ReadAhead:
    """Watches the reads of one open file of *size* bytes and says what to have ready next."""

    def __init__(self, size: int, largest: int = LARGEST_WINDOW) -> None:
        self._size = size
        self._largest = largest
        # Most recently continued last; the first is the one to forget.
        self._streams: OrderedDict[int, _Stream] = OrderedDict()
        self._serial = 0
        self._runs: deque[int] = deque(maxlen=ALIKE)  # Bytes read in a row before each jump.
        self._through: set[Extent] = set()
        #: The array that the last read has gone to, or has ended; not one that it ran on into.
        self.meant: Extent | None = None
        #: It is known better than by where they lie which arrays come next.
        self.goes_by_name = False

    def __repr__(self) -> str:
        return f"<ReadAhead {[(s.head, s.window) for s in self._streams.values()]}>"

    @property
    def has_jumped(self) -> bool:
        """Some read did not continue an earlier one: this is no copy from front to back."""
        return self._serial > 1

    def observe(
        self, read: Extent, array: Extent | None = None, following: Extent | None = None
    ) -> Extent:
        """Record *read*; return what to fetch now, beyond it; mostly it is empty.

        *array*: where the array that is read begins and ends, if that is known.  Until some have
        been read whole nothing beyond its end is fetched, but for the one *following*, if it is
        a small companion, and what the kernel is likely to run on into; and so what lies before
        its end is fetched more boldly.
        """
        self.meant = array if read.size > GLANCE else None
        key = self._continued_by(read)
        if key is None:
            self._begin(read, array)
            return NOTHING
        self._streams.move_to_end(key)
        stream = self._streams[key]
        stream.length += read.size
        stream.largest = max(stream.largest, read.size)
        stream.head = max(stream.head, read.stop)
        if array and not _began(stream, array):
            self.meant = None
        self.meant = self._ended(stream, array) or self.meant
        stream.array = array or stream.array
        return self._top_up(stream, array, following)

    def _continued_by(self, read: Extent) -> int | None:
        for key, stream in reversed(self._streams.items()):
            if stream.head - SLACK <= read.start <= stream.head + min(SLACK, stream.length):
                return key
        return None

    def _begin(self, read: Extent, array: Extent | None) -> None:
        if self._streams:
            self._runs.append(next(reversed(self._streams.values())).length)
        self._serial += 1
        self._streams[self._serial] = _Stream(
            read.start, read.stop, read.stop, length=read.size, largest=read.size, array=array
        )
        if len(self._streams) > STREAMS:
            self._streams.popitem(last=False)

    def _ended(self, stream: _Stream, array: Extent | None) -> Extent | None:
        """The array that has been read whole with the last read."""
        for one in (stream.array, array):
            is_new = one not in self._through and one not in stream.entered
            if one and is_new and one.size >= LEAST_WHOLE:
                stream.entered.append(one)
        ended = [one for one in stream.entered if _is_through(stream, one)]
        self._through.update(ended)
        stream.entered = [one for one in stream.entered if one not in ended][-STREAMS:]
        return ended[-1] if ended else None

    @property
    def through(self) -> Set[Extent]:
        """The arrays that have been read from end to end."""
        return self._through

    @property
    def _reach(self) -> int:
        """Bytes to fetch beyond the end of an array: no more than was read of whole arrays."""
        if len(self._through) < THROUGH or self.goes_by_name:
            return 0
        return min(self._largest, sum(one.size for one in self._through))

    def _end(self, stream: _Stream, array: Extent | None, following: Extent | None) -> int:
        """Up to where it pays to fetch."""
        if array is None:
            return self._size
        last = array
        # Of who has gone there; others may only have run out of the array before.
        if following and _began(stream, array) and _is_companion(following, array):
            last = following
        return min(max(array.stop + self._reach, _asked_with(last.stop, stream)), self._size)

    @property
    def _record(self) -> int:
        """Bytes that this reader reads in a row, if it is the same each time, and not much."""
        is_known = len(self._runs) == ALIKE and len({*self._runs}) == 1
        return self._runs[0] if is_known and self._runs[0] <= SLACK else 0

    def _top_up(self, stream: _Stream, array: Extent | None, following: Extent | None) -> Extent:
        opening, first, growth = BOLD if array else CAREFUL
        length = stream.length
        if not array:
            opening = max(opening, self._record + 1)
        if array and array.start - stream.start > OVERRUN and not self._reach:
            # It has run out of another array into this one, or the kernel has run ahead of it.
            opening, length = OVERRUN, stream.head - array.start
        if length < opening or stream.promised - stream.head > 3 * stream.window // 4:
            return NOTHING
        # No wider than what has been read in a row: a short run is not followed by a long one.
        wider = max(first, growth * stream.window)
        stream.window = min(wider, self._largest, max(first, growth * stream.length))
        start = max(stream.promised, stream.head)
        stop = stream.head + stream.window
        if stream.window >= 2 * PART_SIZE:
            stop -= stop % PART_SIZE  # Whole parts: fewer requests, and the same for everybody.
        stop = min(stop, self._end(stream, array, following))
        if start >= stop:
            return NOTHING
        stream.promised = stop
        return Extent(start, stop)


def _asked_with(stop: int, stream: _Stream) -> int:
    """Up to where the kernel asks for what is before *stop*: before the reader has that, he waits
    for all of it."""
    if stream.length < STEADY * stream.largest:
        return stop + stream.largest
    # As large as the one before; but a page that is there already makes one shorter.
    requests = -(-(stop - stream.head) // stream.largest)
    if requests <= 0:
        return stop  # It has been asked for.
    return min(stream.head + requests * stream.largest + BLOCK_SIZE, stop + stream.largest)


def _is_through(stream: _Stream, array: Extent) -> bool:
    """*stream* has brought all of *array* to a reader who wanted it.

    The kernel runs out of one array over several small ones, but only so far; and it jumps nowhere.
    It may have the last pages already, from when a header beside them was read.
    """
    if stream.length + GLANCE < array.size or stream.head + GLANCE < array.stop:
        return False
    is_sure = array.size >= OVERRUN or array.stop + OVERRUN <= stream.head
    return is_sure or _began(stream, array)


def _began(stream: _Stream, array: Extent) -> bool:
    """*stream* has jumped to *array*, or into it."""
    return array.start - stream.start <= BLOCK_SIZE


def _is_companion(following: Extent, array: Extent) -> bool:
    is_small = following.size <= min(COMPANION, array.size)
    return is_small and following.start - array.stop <= BESIDE
