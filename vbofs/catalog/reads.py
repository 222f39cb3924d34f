"""What was read of each file of a mount, as extents, in bounded memory.  Pure.

Extents of a file are kept sorted and apart; where a file was read in very many places, the places
nearest to each other become one, so that what is told is never less than what was read.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from heapq import nlargest

from ..model import Blob, Extent
from .record import MAX_EXTENTS

#: Extents of all files together, 16 bytes each: 4 MB, and ten in a document.
MOST = 1 << 18


class _Extents:
    """Sorted extents, no two of which touch."""

    __slots__ = ("starts", "stops")

    def __init__(self) -> None:
        self.starts = array("q")
        self.stops = array("q")

    def __len__(self) -> int:
        return len(self.starts)

    def add(self, start: int, stop: int) -> None:
        first = bisect_left(self.stops, start)
        last = bisect_right(self.starts, stop)
        if first < last:
            start = min(start, self.starts[first])
            stop = max(stop, self.stops[last - 1])
        self.starts[first:last] = array("q", [start])
        self.stops[first:last] = array("q", [stop])

    def coarsen(self, most: int) -> None:
        """Close the narrowest gaps, until there are no more than *most* extents."""
        if len(self) <= most:
            return
        gaps = nlargest(most - 1, range(1, len(self)), key=self._gap_before)
        kept = sorted(gaps)
        self.starts = array("q", [self.starts[0], *(self.starts[n] for n in kept)])
        self.stops = array("q", [*(self.stops[n - 1] for n in kept), self.stops[-1]])

    def _gap_before(self, number: int) -> int:
        return self.starts[number] - self.stops[number - 1]


class Reads:
    """What was read since it was made; inode numbers tell files apart."""

    def __init__(self, *, most: int = MOST, most_of_one: int = MAX_EXTENTS) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._files: dict[int, tuple[Blob, _Extents]] = {}
        self._opened: set[int] = set()
        self._extents = 0
        #: Grows with every note: whoever saves sees whether there is something new.
        self.notes = 0

    def __repr__(self) -> str:
        return f"<Reads {len(self._files)} files, {self._extents} extents>"

    def __len__(self) -> int:
        return len(self._files)

    @property
    def extents(self) -> int:
        return self._extents

    def is_first_open(self, ino: int) -> bool:
        """Whether *ino* has not been opened since; asked once at each open."""
        before = len(self._opened)
        self._opened.add(ino)
        return len(self._opened) > before

    def note(self, ino: int, blob: Blob, start: int, length: int) -> None:
        """*length* bytes of *blob* were read from *start* on."""
        if length <= 0:
            return
        self.notes += 1
        if ino not in self._files:
            self._files[ino] = blob, _Extents()
        extents = self._files[ino][1]
        before = len(extents)
        extents.add(start, start + length)
        if len(extents) > self._most_of_one:
            extents.coarsen(self._most_of_one // 2)
        self._extents += len(extents) - before
        if self._extents > self._most:
            self._coarsen()

    def files(self) -> Iterator[tuple[Blob, list[Extent]]]:
        """Each file that was read, and what of it."""
        for blob, extents in list(self._files.values()):
            yield blob, [Extent(*both) for both in zip(extents.starts, extents.stops, strict=True)]

    @property
    def bytes(self) -> int:
        """Bytes that were read, each counted once."""
        files = self._files.values()
        return sum(sum(extents.stops) - sum(extents.starts) for _, extents in files)

    def _coarsen(self) -> None:
        """Halve what a file may have until half of the room is free: not at every note again."""
        most = self._most_of_one
        while self._extents > self._most // 2 and most > 1:
            most //= 2
            for _, extents in self._files.values():
                extents.coarsen(most)
            self._extents = sum(len(extents) for _, extents in self._files.values())
