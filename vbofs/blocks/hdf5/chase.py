"""One file's chase: what has arrived, what that points to, what to ask for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ...model import Extent
from ..extents import BLOCK_SIZE, clipped, covering
from .groups import superblock_in
from .parsers import pointers_in
from .pending import Arrival, Purse, Wait, Waiting
from .pointer import Kind, Pointer, to

#: Bytes asked for of one file.  What a listing reads of a published file lies in 80 to 150 blocks,
#: or 5 to 10 MB; the more, the more chunks it has.
BUDGET = 16 << 20
#: Bytes fetched on open: the tail holds what was written last, often the outermost groups.  More of
#: it than one block spares a wait in recordings of every size, and costs nothing, for it is read.
HEAD, TAIL = BLOCK_SIZE, 4 * BLOCK_SIZE
#: Arrays remembered of one file: each read looks through them, and a recording has a hundred.
ARRAYS = 512
#: Kinds that are fetched once some are missed, by how many: a chunk tree is walked, and the first
#: string of each array is looked at, by who does so once; but a column may be read for itself.
MISSED = {Kind.LEAF: 1, Kind.STRINGS: 1, Kind.COLUMN: 2}
#: Extents of one such kind that are remembered.
LATER = 512
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
        self._arrays: list[Extent] = []
        self._waiting = Waiting()
        self._later: dict[Kind, set[Extent]] = {kind: set() for kind in MISSED}
        self._missed: Counter[Kind] = Counter()
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
    def arrays(self) -> list[Extent]:
        """Where the large contiguous arrays lie that were found so far, in no order; they are the
        file's own claims, and may overlap."""
        return self._arrays

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
        the budget.  Never raises, whatever the content.
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
        self._finished = self._finished or (self._origin is not None and not self._waiting.count)
        return arrival.asks

    def missed(self, blocks: range) -> list[Extent]:
        """A reader waits for *blocks*; return what he is likely to want after that.

        Within the budget, as all that is asked for; also when the chase is finished.
        """
        asks: list[Extent] = []
        for kind, later in self._later.items():
            hit = {one for one in later if _touch(covering(one), blocks)}
            self._missed[kind] += bool(hit)
            if hit and self._missed[kind] >= MISSED[kind]:
                asks += [one for one in sorted(later - hit) if self._is_new(one)]
                later.clear()
        return asks

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
            for child in pointers_in(piece, pointer):
                self._follow(child, arrival)
        self._given_up += arrival.due

    def _follow(self, pointer: Pointer, arrival: Arrival) -> None:
        """Parse what *pointer* points to, now if it is here; else ask for it and wait."""
        start = pointer.start + (self._origin or 0)
        stop = min(start + pointer.stop - pointer.start, self._size)
        if pointer.kind is Kind.ARRAY or pointer.kind in self._later:
            self._remember(pointer.kind, Extent(start, stop))
            return
        if stop - start <= self._found.get(start, 0):
            return  # Not in the file, or not new.
        extent = Extent(start, stop)
        if pointer.kind is Kind.VALUE:
            self._want(extent, arrival)
        elif len(self._found) >= STRUCTURES:
            self._given_up += 1
            self._want(extent, arrival)
        else:
            self._found[start] = stop - start
            if arrival.extent.start <= start and stop <= arrival.extent.stop:
                arrival.put(pointer, extent)
            else:
                self._await(Wait(pointer, extent), arrival)

    def _remember(self, kind: Kind, extent: Extent) -> None:
        """Nobody asks for *extent* yet; a reader may."""
        if extent.start >= extent.stop:
            return  # Not in the file.
        if kind in (Kind.ARRAY, Kind.COLUMN) and len(self._arrays) < ARRAYS:
            self._arrays.append(extent)
        later = self._later.get(kind)
        if later is not None and len(later) < LATER:
            later.add(extent)

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


def _touch(one: range, other: range) -> bool:
    return max(one.start, other.start) < min(one.stop, other.stop)
