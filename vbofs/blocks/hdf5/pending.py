"""What a chase has under way: the bytes it may still ask for, and the structures it waits for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...model import Extent
from ..extents import covering, span
from .pointer import Pointer

#: Structures that wait for their bytes at one time, each some 300 bytes of memory.
LARGEST_COUNT = 1024
#: Bytes kept of structures that go on in a block that is not here yet.
LARGEST_WEIGHT = 128 << 10
#: Blocks remembered to be here; those forgotten cost their bytes again.
REMEMBERED = 1024


class Purse:
    """Spends *budget* bytes on the blocks of a file of *size* bytes; none is paid for twice."""

    def __init__(self, size: int, budget: int) -> None:
        self._size = size
        self._budget = budget
        self.spent = 0
        self._asked: set[int] = set()  # On their way to us.
        self._paid: set[int] = set()  # Asked for at some time, or come unasked.

    def received(self, blocks: range) -> None:
        self._asked.difference_update(blocks)
        if len(self._paid) < REMEMBERED:
            self._paid.update(blocks)

    def add(self, allowance: int) -> None:
        """So many bytes more may be spent."""
        self._budget += allowance

    def has(self, blocks: Iterable[int]) -> bool:
        """They are here or on their way, as far as we know."""
        return self._paid.issuperset(blocks)

    def coming(self, blocks: Iterable[int]) -> bool:
        """They are on their way, and the chase will see them."""
        return self._asked.issuperset(blocks)

    def holes(self, blocks: Iterable[int]) -> Iterator[range]:
        """Blocks between one of *blocks* and another that is here or on its way."""
        for block in sorted(blocks):
            for beside, beyond in ((block - 1, block - 2), (block + 1, block + 2)):
                if beyond in self._paid and beside not in self._paid:
                    yield range(beside, beside + 1)

    def ask(self, extent: Extent, missing: Iterable[int]) -> bool:
        """Pay for *extent*, of which *missing* are to come; False if that is too dear."""
        blocks = covering(extent)
        fresh = (span(range(b, b + 1), self._size).size for b in blocks if b not in self._paid)
        cost = max(sum(fresh), extent.size)  # To look again is not free.
        if self.spent + cost > self._budget:
            return False
        self.spent += cost
        self._asked.update(missing)
        self._paid.update(blocks)
        return True


class Arrival:
    """The bytes of one call, and what is to be parsed and asked for because of them."""

    def __init__(self, start: int, content: memoryview) -> None:
        self.extent = Extent(start, start + len(content))
        self.blocks = covering(self.extent)
        self._content = content
        # Cut out only when it is their turn: they may overlap, and be many.
        self._due: list[tuple[Pointer, Extent, bytes | None]] = []
        self.asks: list[Extent] = []

    def piece(self, wanted: Extent) -> bytes:
        """What is here of *wanted*."""
        start = max(wanted.start - self.extent.start, 0)
        return bytes(self._content[start : max(wanted.stop - self.extent.start, 0)])

    @property
    def due(self) -> int:
        """How many structures are here and not parsed."""
        return len(self._due)

    def put(self, pointer: Pointer, extent: Extent, content: bytes | None = None) -> None:
        """The structure in *extent* is here; *content* if that is more than arrived just now."""
        self._due.append((pointer, extent, content))

    def take(self) -> tuple[Pointer, bytes]:
        """A structure to parse."""
        pointer, extent, content = self._due.pop()
        return pointer, self.piece(extent) if content is None else content


class Wait:
    """A structure of which blocks are *missing*; what is here of it is kept."""

    __slots__ = ("_kept", "extent", "missing", "pointer", "weight")

    def __init__(self, pointer: Pointer, extent: Extent) -> None:
        self.pointer = pointer
        self.extent = extent
        self.missing = tuple(covering(extent))
        # Bytes to keep, if it does not come all at once.
        self.weight = extent.size if len(self.missing) > 1 else 0
        self._kept: bytearray | None = None

    def fill(self, arrival: Arrival) -> None:
        """Take what *arrival* has of it; once that is all, it is due."""
        if self.weight:
            self._kept = self._kept or bytearray(self.extent.size)
            piece = arrival.piece(self.extent)
            at = max(arrival.extent.start - self.extent.start, 0)
            self._kept[at : at + len(piece)] = piece
        self.missing = tuple(block for block in self.missing if block not in arrival.blocks)
        if not self.missing:
            arrival.put(self.pointer, self.extent, bytes(self._kept) if self._kept else None)


class Waiting:
    """The structures that wait, by the blocks that they wait for; bounded."""

    def __init__(self) -> None:
        self.count = self._weight = 0
        self._by_block: dict[int, list[Wait]] = {}

    def room_for(self, wait: Wait) -> bool:
        return self.count < LARGEST_COUNT and self._weight + wait.weight <= LARGEST_WEIGHT

    def add(self, wait: Wait) -> None:
        self.count += 1
        self._weight += wait.weight
        for block in wait.missing:
            self._by_block.setdefault(block, []).append(wait)

    def fill(self, arrival: Arrival) -> None:
        """Give *arrival* to those that wait for it."""
        for block in arrival.blocks:
            for wait in self._by_block.pop(block, ()):
                if wait.missing:
                    wait.fill(arrival)
                    if not wait.missing:
                        self.count -= 1
                        self._weight -= wait.weight
