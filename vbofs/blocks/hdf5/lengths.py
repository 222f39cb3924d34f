"""Where the names of a group are likely to be, by the lengths of the arrays that its file has."""

from __future__ import annotations

from collections import Counter

from ...model import Extent

#: Bytes of an array that parts metadata: what is nearer comes with the same request.
LEAST = 64 << 10
#: Bytes of metadata that come with the first array of a group: in files of pynwb's, 800 and more,
#: and seldom more than this.
BESIDE = 2 << 10


class Lengths:
    """The lengths of a file's arrays: a recording has few, for all that one clock times is as long.

    HDF5 makes a group's tree with the group, but the node of its names, to which the tree points,
    only when the first member is linked, and h5py links an array when its data are written.  So the
    node lies an array's length after the tree; asked for together with it, it spares a wait.
    """

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._commonest = 0

    def __repr__(self) -> str:
        return f"<Lengths {len(self._counts)} known>"

    def note(self, length: int) -> None:
        """There is an array of *length* bytes."""
        if length < LEAST:
            return
        self._counts[length] += 1
        if self._counts[length] > self._counts[self._commonest]:
            self._commonest = length

    def beyond(self, tree: Extent) -> Extent | None:
        """Where the node of names for *tree* begins if its first member is as long as most are;
        None if no length is known."""
        if not self._commonest:
            return None
        start = tree.stop + self._commonest
        return Extent(start, start + BESIDE)
