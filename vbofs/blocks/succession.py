"""Which arrays to fetch before their reader comes to them.  A policy: no I/O, no tasks, no clock.

Who reads everything, as h5repack does and many a loop over ``visititems``, goes from array to
array by name, which is not how they lie in the file: there each of them is a jump.  Who has read
two of those that come before one is taken to go on like that.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..model import Extent
from .readahead import BOLD, LARGEST_WINDOW, LEAST_WHOLE

#: Arrays that come just before one, and how many of them were read whole by who goes by name: of
#: those that lie beside each other it is not always known.
BEFORE, READ = 4, 2


class Succession:
    """Watches which arrays of one open file are read, and says which ones come next."""

    def __init__(self, largest: int = LARGEST_WINDOW) -> None:
        self._largest = largest
        self._promised: dict[Extent, int] = {}  # Bytes asked for of arrays that he is to come to.
        self._looked_at: tuple[Extent, int] | None = None
        self.is_followed = False  # The reader goes by name, as far as is known.

    def __repr__(self) -> str:
        return f"<Succession {len(self._promised)} promised>"

    def after(
        self, array: Extent, visits: Sequence[Extent], whole: Collection[Extent]
    ) -> list[Extent]:
        """A piece of *array* is read, of *visits* in order, and *whole* have been read: what of
        the next ones to fetch, as much as was read of those, and some if that is little."""
        if self._looked_at == (array, len(whole)):
            return []
        self._looked_at = array, len(whole)
        self._promised.pop(array, None)
        large = [one for one in visits if one.size >= LEAST_WHOLE]
        at = large.index(array) if array in large else 0
        before = large[max(0, at - BEFORE) : at]
        self.is_followed = sum(one in whole for one in before) >= READ
        if not self.is_followed:
            return []
        return self._promise([one for one in large[at + 1 :] if one not in whole], whole)

    def forget(self, array: Extent) -> None:
        """*array* is read, by somebody who may have run into it."""
        self._promised.pop(array, None)

    def _promise(self, coming: Sequence[Extent], whole: Collection[Extent]) -> list[Extent]:
        allowed = min(self._largest, max(BOLD[1], sum(one.size for one in whole)))
        room = allowed - sum(self._promised.values())
        asked = []
        for one in coming:
            already = self._promised.get(one, 0)
            size = min(one.size - already, room)
            if size > 0:
                asked.append(Extent(one.start + already, one.start + already + size))
                self._promised[one] = already + size
                room -= size
        return asked
