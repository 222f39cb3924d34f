"""One file's chase: what has arrived, what that points to, what to ask for."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass

from ...model import Extent
from ..extents import BLOCK_SIZE, clipped, covering, span
from .groups import superblock_in
from .later import LISTED, MISSED, VALUES, Deferred, Missable
from .lengths import Lengths
from .parsers import pointers_in
from .pending import Arrival, Purse, Wait, Waiting
from .pointer import Kind, Pointer, to
from .visits import Visits
from .watching import GLANCE, Watch, first_page, touch

#: Bytes asked for of one file.  What a listing reads of a published file lies in 80 to 150 blocks,
#: or 5 to 10 MB; the more, the more chunks it has.
BUDGET = 16 << 20
#: And an eighth of what is read: who reads all of a large recording wants all of its structure.
SHARE = 8
#: Bytes fetched on open: the tail holds what was written last, often the outermost groups.  More of
#: it than one block spares a wait in recordings of every size, and costs nothing, for it is read.
HEAD, TAIL = BLOCK_SIZE, 4 * BLOCK_SIZE
#: Arrays remembered of one file: each read looks through them, and a recording has a hundred.
ARRAYS = 512
#: Bytes of a file that is searched as if everything were looked at: there is little to spare.
LITTLE = 16 << 20
#: Bytes of one file fetched for no other reason than where they lie: what two waits bring.
SPARE = 2 << 20
#: Bytes of one file fetched because ``Lengths`` has it that there are names: in pynwb's files every
#: other guess is right.
FORESIGHT = 768 << 10
#: Bytes.  Once some pages are read in a row, the kernel asks for 12 KiB beyond, and has the reader
#: wait for all of them, also where the next block begins, in which there may be nothing for him;
#: and beside a structure there are mostly others, which nobody knows of yet.
OVERRUN = 16 << 10
#: Structures followed in one file, each some 100 bytes of memory.
STRUCTURES = 6144
#: Bytes parsed in one file, some 0.1 s of work for each MiB of the most laborious.
EFFORT = 8 << 20
#: Bytes parsed for each byte of a call.  Honest structures do not overlap; but of each header 512
#: bytes are looked at, and some are of 64.
EFFORT_PER_BYTE = 16


@dataclass(frozen=True)
class ChaseStatistics:
    """*asked* counts bytes, the others pieces of metadata; *given_up* were beyond some bound."""

    asked: int
    found: int
    waiting: int
    given_up: int


def is_hdf5(head: bytes) -> bool:
    """Whether a file whose first block is *head* claims to be HDF5."""
    return superblock_in(head) is not None


class Chase:
    """Follows the metadata of one file of *size* bytes, asking for up to *budget* bytes in all.

    Feed it what arrives until it is ``finished``.  An extent that it returns may already be here,
    because what points there came later: then give those blocks to ``learn`` (again), at once.
    """

    def __init__(self, size: int, *, budget: int = BUDGET) -> None:
        self._size = size
        self._purse = Purse(size, budget)
        self._origin: int | None = None  # Where addresses count from, once that is known.
        self._found: dict[int, int] = {}  # Sizes of the structures, by where they start.
        self._values: set[Extent] = set()  # Asked for, not to be parsed.
        self._visits = Visits(ARRAYS)
        self._waiting = Waiting()
        self._missable = Missable()
        self._watch = Watch()
        self._lengths = Lengths()
        self._is_listed = size <= LITTLE
        self._deferred = Deferred(frozenset() if self._is_listed else LISTED | VALUES)
        self._spare, self._foresight = (0, 0) if self._is_listed else (SPARE, FORESIGHT)
        self._given_up = 0
        self._effort = EFFORT
        self._finished = not size

    def __repr__(self) -> str:
        state = "finished" if self._finished else f"{self._waiting.count} waiting"
        return f"<Chase {len(self._found)} found, {state}, {self._purse.spent} bytes asked>"

    @property
    def finished(self) -> bool:
        """There is nothing more to learn, or this is no HDF5."""
        return self._finished

    @property
    def rests(self) -> bool:
        """There is nothing to learn from what arrives now, unless more is asked for."""
        return self._finished or (self._origin is not None and not self._waiting.count)

    @property
    def arrays(self) -> list[Extent]:
        """Where the large contiguous arrays lie that were found so far, as who visits them by name
        comes to them; they are the file's own claims, and may overlap."""
        return self._visits.arrays

    @property
    def may_want_values(self) -> bool:
        """A reader has looked at everything, and of values nothing has been asked for."""
        return self._is_listed and self._deferred.defers(Kind.SMALL)

    def statistics(self) -> ChaseStatistics:
        found, waiting = len(self._found), self._waiting.count
        return ChaseStatistics(self._purse.spent, found, waiting, self._given_up)

    def opening(self) -> list[Extent]:
        """What to fetch when the file is opened, before anything of it is known."""
        head = clipped(0, HEAD, self._size)
        tail = Extent(max(head.stop, (self._size - TAIL) // BLOCK_SIZE * BLOCK_SIZE), self._size)
        return [extent for extent in (head, tail) if self._is_new(extent)]

    def learn(self, start: int, content: memoryview) -> list[Extent]:
        """Whole blocks have arrived: *content*, from *start* on; return what to fetch now.

        Extents lie within the file, none is returned twice, and together they cover no more than
        the budget, and a share of what readers were given.  Never raises, whatever the content.
        """
        if self._finished:
            return []
        arrival = Arrival(start, content)
        self._purse.received(arrival.blocks)
        if self._origin is None:
            self._begin(arrival)
        else:
            self._waiting.fill(arrival)
        self._pursue(arrival)
        return self._asks_of(arrival)

    def saw(self, read: Extent) -> list[Extent]:
        """A reader has been given *read*; return what is to be fetched because of that."""
        self._purse.add(read.size // SHARE)
        return self._list() if not self._is_listed and self._watch.shows_listing(read) else []

    def missed(self, read: Extent) -> list[Extent]:
        """A reader waits for *read*; return what he is likely to want after that.

        Within the budget, as all that is asked for; also when the chase is finished.
        """
        asks = self._run_on(read)
        if self._is_for_values(read):
            asks += [*self._list(), *self._follow_deferred(VALUES)]
        wanted = self._missable.missed(read, self._in, is_listed=self._is_listed)
        return asks + [one for one in wanted if self._is_new(one)]

    def visited(self) -> list[Extent]:
        """A reader reads one array after the other by name: return what of the others is small."""
        return [*([] if self._is_listed else self._list()), *self.rested()]

    def rested(self) -> list[Extent]:
        """A reader who has looked at everything thinks about it; return what of it is small, for
        some of that is what he will read."""
        asks = self._follow_deferred(VALUES)
        small = self._missable.take(Kind.STRINGS, Kind.COLUMN)
        return asks + [one for one in small if self._is_new(one)]

    def _run_on(self, read: Extent) -> list[Extent]:
        """What the kernel will run on into if *read* is of a structure near the end of a block."""
        arrival, page = Arrival(0, memoryview(b"")), first_page(read)
        if read.size <= GLANCE and self._in(page):
            self._overrun(page, arrival)
        return arrival.asks

    def _in(self, page: Extent) -> set[int]:
        """Where the structures begin of which something is in *page*."""
        return {at for at, size in self._found.items() if touch(Extent(at, at + size), page)}

    def _is_for_values(self, read: Extent) -> bool:
        """*read* is of something that was deferred, and of nothing else that we know of."""
        if read.size > GLANCE:
            return False
        page = first_page(read)
        return any(touch(one, page) for one in self._deferred.extents()) and not self._in(page)

    def _list(self) -> list[Extent]:
        """This reader looks at everything: pad what is known, and follow what was deferred."""
        self._is_listed = True
        arrival = Arrival(0, memoryview(b""))
        found = [Extent(start, start + size) for start, size in self._found.items()]
        for extent in found:
            self._overrun(extent, arrival)
        self._pad({block for extent in found for block in covering(extent)}, arrival)
        return [*self._asks_of(arrival), *self._follow_deferred(LISTED)]

    def _follow_deferred(self, kinds: Set[Kind]) -> list[Extent]:
        arrival = Arrival(0, memoryview(b""))
        for pointer in self._deferred.take(kinds):
            self._follow(pointer, arrival)
        return self._asks_of(arrival)

    def _asks_of(self, arrival: Arrival) -> list[Extent]:
        self._finished = self._finished or (self.rests and not self._deferred)
        if self._is_listed:
            self._pad({block for ask in arrival.asks for block in covering(ask)}, arrival)
        return arrival.asks

    def _pad(self, blocks: Iterable[int], arrival: Arrival) -> None:
        """Have the holes beside *blocks* fetched with them: in a cluster of metadata, the kernel
        or somebody's values will want them."""
        for hole in self._purse.holes(blocks):
            self._guess(hole, arrival)

    def _overrun(self, extent: Extent, arrival: Arrival) -> None:
        """Have the block after *extent* fetched if the kernel is likely to run on into it."""
        last = (extent.stop - 1) // BLOCK_SIZE
        if (last + 1) * BLOCK_SIZE - extent.stop < OVERRUN:
            self._guess(range(last + 1, last + 2), arrival)

    def _foresee(self, tree: Extent, arrival: Arrival) -> None:
        """Have what *tree* points to fetched with it, if a common length says where that is."""
        beyond = self._lengths.beyond(tree)
        if beyond is None or beyond.stop > self._size:
            return
        self._foresight -= self._within(self._foresight, covering(beyond), arrival)

    def _guess(self, blocks: range, arrival: Arrival) -> None:
        self._spare -= self._within(self._spare, blocks, arrival)

    def _within(self, allowance: int, blocks: range, arrival: Arrival) -> int:
        """Have *blocks* fetched if they are new and no more than *allowance*; the bytes of them."""
        extent = span(blocks, self._size)
        if extent.size > allowance or not self._is_new(extent):
            return 0
        arrival.asks.append(extent)
        return extent.size

    def _begin(self, arrival: Arrival) -> None:
        """Find the superblock in the file's first block; until that is here, nothing is known."""
        if arrival.extent.start:
            return
        self._origin = superblock_in(arrival.piece(arrival.extent))
        if self._origin is None:
            self._finished = True
        else:
            self._follow(to(Kind.SUPERBLOCK, 0), arrival)

    def _pursue(self, arrival: Arrival) -> None:
        """Parse what is here, and what that points to, as far as that is here too."""
        least = max(0, self._effort - EFFORT_PER_BYTE * arrival.extent.size)
        while arrival.due and self._effort > least:
            pointer, piece = arrival.take()
            self._effort -= len(piece)
            for index, child in enumerate(pointers_in(piece, pointer)):
                self._visits.note(child, pointer.start, index)
                self._watch.note(child.start + (self._origin or 0), child.kind, pointer.start)
                self._follow(child, arrival)
        self._given_up += arrival.due

    def _follow(self, pointer: Pointer, arrival: Arrival) -> None:
        """Parse what *pointer* points to, now if it is here; else ask for it and wait."""
        start = pointer.start + (self._origin or 0)
        stop = min(start + pointer.stop - pointer.start, self._size)
        if pointer.kind is Kind.ARRAY or pointer.kind in MISSED:
            self._remember(pointer, Extent(start, stop))
            return
        if stop - start <= self._found.get(start, 0):
            return  # Not in the file, or not new.
        extent = Extent(start, stop)
        here = arrival.extent.start <= start and stop <= arrival.extent.stop
        if not here and self._defers(pointer, extent):
            return
        if pointer.kind in (Kind.VALUE, Kind.SMALL, Kind.TWIG):
            self._want(extent, arrival)
        elif len(self._found) >= STRUCTURES:
            self._given_up += 1
            self._want(extent, arrival)
        else:
            self._found[start] = stop - start
            if self._is_listed:
                self._overrun(extent, arrival)
            if here:
                arrival.put(pointer, extent)
            else:
                self._await(Wait(pointer, extent), arrival)
                if pointer.kind is Kind.TREE:
                    self._foresee(extent, arrival)

    def _defers(self, pointer: Pointer, extent: Extent) -> bool:
        """Whether it is left for later, because nobody is known to want it and it costs bytes."""
        if not self._deferred.defers(pointer.kind) or self._purse.coming(covering(extent)):
            return False
        if not self._deferred.put(extent.start, pointer):
            self._given_up += 1
        return True

    def _remember(self, pointer: Pointer, extent: Extent) -> None:
        """Nobody asks for *extent* yet; a reader may."""
        if extent.start >= extent.stop:
            return  # Not in the file.
        is_array = pointer.kind in (Kind.ARRAY, Kind.COLUMN)
        if is_array and self._visits.add(extent, pointer.start):
            self._lengths.note(extent.size)
        self._missable.put(pointer.kind, extent)

    def _want(self, extent: Extent, arrival: Arrival) -> None:
        """Have *extent* fetched, not parsed; so it need not be asked for if it is here."""
        if self._is_new(extent):
            self._values.add(extent)
            arrival.asks.append(extent)

    def _is_new(self, extent: Extent) -> bool:
        """*extent* is not here nor on its way, and is paid for now."""
        blocks = covering(extent)
        return not self._purse.has(blocks) and self._purse.ask(extent, blocks)

    def _await(self, wait: Wait, arrival: Arrival) -> None:
        if wait.weight:
            wait.fill(arrival)
        if not self._waiting.room_for(wait):
            self._given_up += 1
            self._want(wait.extent, arrival)
        elif self._purse.coming(wait.missing):
            self._waiting.add(wait)
        elif wait.extent not in self._values and self._purse.ask(wait.extent, wait.missing):
            self._waiting.add(wait)
            arrival.asks.append(wait.extent)
        else:
            self._given_up += 1
