"""In which order the arrays of a file come to who visits them all by name."""

from __future__ import annotations

from bisect import bisect_right
from typing import TypeAlias

from ...model import Extent
from .pointer import Kind, Pointer

#: Structures whose place is remembered, each some 150 bytes of memory.
PLACES = 6144
#: What lies on the way from the superblock to an array.
ON_THE_WAY = {
    Kind.HEADER,
    Kind.MESSAGES,
    Kind.OCHK,
    Kind.TREE,
    Kind.SNOD,
    Kind.FRHP,
    Kind.FHDB,
    Kind.FHIB,
    Kind.ARRAY,
    Kind.COLUMN,
}
#: Structures on the way to an array that count; in published files there are up to 30.  A file that
#: lies may have it go round in a circle.
DEEPEST = 64

_Key: TypeAlias = tuple[int, ...]


class Visits:
    """Keeps up to *most* arrays sorted as H5Ovisit comes to them: group by group, by name.

    Old-style groups keep their names sorted, so an array's place is that of what points to it, and
    of what points to that, back to the superblock.  In dense groups names lie as they were written.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        # A structure's parent, and which of the pointers in that leads to it.
        self._places: dict[int, tuple[int, int]] = {}
        self._keys: list[_Key] = []
        self.arrays: list[Extent] = []

    def __repr__(self) -> str:
        return f"<Visits {len(self.arrays)} arrays>"

    def note(self, child: Pointer, parent: int, index: int) -> None:
        """*child* is the pointer number *index* of the structure at *parent*."""
        if child.kind not in ON_THE_WAY or len(self._places) >= PLACES:
            return
        if child.start and child.start not in self._places:  # The superblock has no parent.
            self._places[child.start] = parent, index

    def add(self, array: Extent, start: int) -> bool:
        """*array* is in the file what a pointer to *start* points to; False: too many."""
        if len(self.arrays) >= self._most:
            return False
        key = self._key(start)
        at = bisect_right(self._keys, key)
        self._keys.insert(at, key)
        self.arrays.insert(at, array)
        return True

    def _key(self, start: int) -> _Key:
        key: list[int] = []
        while start in self._places and len(key) < DEEPEST:
            start, index = self._places[start]
            key.append(index)
        return tuple(reversed(key))
