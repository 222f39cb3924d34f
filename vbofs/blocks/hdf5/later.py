"""What of a file is fetched only for some readers: it is known where it lies, and left there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Set

from ...model import Extent
from .pointer import SIEVE, Kind, Pointer
from .watching import GLANCE, beginning, first_page, touch

#: Kinds that are fetched once a reader is seen to look at everything.  Who goes straight to an
#: array reads none of them.
LISTED = {Kind.TWIG}
#: Kinds that are fetched once a value is missed, or one who has looked at everything comes to rest:
#: he thinks about what to read.  A mere listing reads none of them, a seventh of its bytes.
VALUES = {Kind.SMALL, Kind.VLEN, Kind.REGION, Kind.GCOL}
#: Kinds that are fetched once some are missed, by how many: a chunk tree is walked, and the first
#: string of each array is looked at, by who does so once; but a column may be read for itself.
MISSED = {Kind.LEAF: 1, Kind.STRINGS: 1, Kind.COLUMN: 2}
#: Extents of one such kind that are remembered, and pointers of the others.
EXTENTS, POINTERS = 512, 6144


class Deferred:
    """Pointers that are not followed before somebody is known to want their kind."""

    def __init__(self, kinds: Set[Kind]) -> None:
        self._kinds = set(kinds)
        self._pointers: dict[int, Pointer] = {}  # By where they start.

    def __repr__(self) -> str:
        return f"<Deferred {len(self._pointers)}>"

    def __len__(self) -> int:
        return len(self._pointers)

    def defers(self, kind: Kind) -> bool:
        """Whether pointers of *kind* are to be put here."""
        return kind in self._kinds

    def put(self, start: int, pointer: Pointer) -> bool:
        """Keep *pointer*, to what is at *start* of the file; False if there are too many."""
        known = self._pointers.get(start)
        if known is None and len(self._pointers) >= POINTERS:
            return False
        if known is None or known.stop - known.start < pointer.stop - pointer.start:
            self._pointers[start] = pointer
        return True

    def take(self, kinds: Set[Kind]) -> list[Pointer]:
        """Those of *kinds*, which are followed at once from now on."""
        self._kinds -= kinds
        starts = [start for start, pointer in self._pointers.items() if pointer.kind in kinds]
        return [self._pointers.pop(start) for start in starts]

    def extents(self) -> Iterator[Extent]:
        """Where they point."""
        for start, pointer in self._pointers.items():
            yield Extent(start, start + pointer.stop - pointer.start)


class Missable:
    """Extents of the kinds in ``MISSED``, and how many of each have been missed."""

    def __init__(self) -> None:
        self._extents: dict[Kind, set[Extent]] = {kind: set() for kind in MISSED}
        self._missed: Counter[Kind] = Counter()

    def __repr__(self) -> str:
        return f"<Missable {sum(map(len, self._extents.values()))}>"

    def put(self, kind: Kind, extent: Extent) -> None:
        if kind in MISSED and len(self._extents[kind]) < EXTENTS:
            self._extents[kind].add(extent)

    def missed(
        self, read: Extent, structures_in: Callable[[Extent], Set[int]], *, is_listed: bool
    ) -> list[Extent]:
        """A reader waits for *read*; return what he is likely to want after that.

        *structures_in*: where the structures begin of which something is in a page."""
        page, wanted = first_page(read), []
        for kind, extents in self._extents.items():
            hit = {one for one in extents if touch(beginning(one), page)}
            if hit and is_listed and _is_for_one(read, hit):
                self._missed[kind] = MISSED[kind]
            # The page may be read for something else in it; but what lists reads the nodes, too.
            elif hit and (
                kind is Kind.LEAF or not structures_in(page) - {one.start for one in hit}
            ):
                self._missed[kind] += 1
            if hit and self._missed[kind] >= MISSED[kind]:
                wanted += [one for one in self.take(kind) if one not in hit]
        return wanted

    def take(self, *kinds: Kind) -> list[Extent]:
        """Those of *kinds*, which are forgotten."""
        taken = []
        for kind in kinds:
            taken += sorted(self._extents[kind])
            self._extents[kind].clear()
        return taken


def _is_for_one(read: Extent, extents: Collection[Extent]) -> bool:
    """*read* has what HDF5 reads of one of *extents*: headers beside it would be read by less."""
    ends = (min(one.stop, one.start + SIEVE) for one in extents)
    return read.size > GLANCE and any(read.stop >= end for end in ends)
