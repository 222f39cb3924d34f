"""Which blocks an open file's reader wanted first, remembered per object version.

The chase finds metadata; a profile also knows which arrays were read, and knows it at once.  It is
replayed when a reader jumps in a file some of whose remembered blocks are not on disk: evicted, or
never here because ``profiles/`` was brought from another machine (one small file per blob, under
the blob's name; copying the directory is all there is to it).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..kept import Kept
from ..model import Blob
from .extents import block_count

#: Blocks remembered of one open, and so fetched by a replay: 32 MB at the most.
MOST_BLOCKS = 256
#: Bytes of a profile at the most; it may come from another machine.
LARGEST = 64 << 10


class Profile:
    """The profile of *blob* under *folder*; what is on disk is read at the first replay."""

    def __init__(self, folder: Path, blob: Blob) -> None:
        self._blob = blob
        self._kept = Kept(folder / blob.ident[:2] / blob.ident, list[int], largest=LARGEST)
        self._wanted: dict[int, None] = {}  # In the order of wanting.

    def __repr__(self) -> str:
        return f"<Profile of {self._blob.version.key}, {len(self._wanted)} blocks>"

    def note(self, blocks: Iterable[int]) -> None:
        """A read wanted *blocks*; only the first of an open count."""
        for block in blocks:
            if len(self._wanted) >= MOST_BLOCKS:
                return
            self._wanted[block] = None

    def replay(self) -> list[int]:
        """The blocks that an earlier open wanted, ascending; none if there was none."""
        count = block_count(self._blob.size)
        remembered = (self._kept.load() or [])[:MOST_BLOCKS]
        return sorted({block for block in remembered if 0 <= block < count})

    def save(self) -> None:
        """Remember what was noted, unless an earlier open wanted all of that and more."""
        if self._wanted and not self._wanted.keys() <= set(self.replay()):
            self._kept.save(list(self._wanted))
