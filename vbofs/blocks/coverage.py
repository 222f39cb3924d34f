"""What is on disk of a blob, by its map alone; for commands that look at thousands of them.

Nothing is made by looking: ``BlobFile`` would make two files for each blob that is not here.  What
the map says is not proved by it: only reading compares a block with its checksum.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ..model import Blob, Extent
from .blobmap import HEADER_SIZE, SLOT_SIZE, STAMP_OFFSET, VERIFIED, header_of, map_size
from .extents import BLOCK_SIZE, block_count, runs, span
from .space import empty


class Coverage(NamedTuple):
    """What the map of *blob* has: a byte per block, 1 where it is here.

    *verified*: all of it was compared with the publisher's digest.
    """

    blob: Blob
    present: bytes
    verified: bool = False

    @property
    def bytes(self) -> int:
        """Bytes of the blob that are here."""
        return bytes_of(self.blob, (b for b, here in enumerate(self.present) if here))

    @property
    def is_complete(self) -> bool:
        return 0 not in self.present

    def extents(self) -> list[Extent]:
        """The bytes that are here, in stretches as long as they go."""
        found: list[Extent] = []
        for run in runs(block for block, here in enumerate(self.present) if here):
            extent = span(run, self.blob.size)
            if found and found[-1].stop == extent.start:
                extent = Extent(found.pop().start, extent.stop)
            found.append(extent)
        return found

    def missing(self, blocks: Iterable[int] | None = None) -> list[int]:
        """Those of *blocks* (None: of all) that are not here, ascending."""
        chosen = range(len(self.present)) if blocks is None else blocks
        return [block for block in chosen if not self.present[block]]


def bytes_of(blob: Blob, blocks: Iterable[int]) -> int:
    """Bytes in distinct *blocks* of *blob*, whose last one may be short."""
    last = block_count(blob.size) - 1
    total = 0
    for block in blocks:
        total += BLOCK_SIZE if block != last else span(range(last, last + 1), blob.size).size
    return total


def look(folder: Path, blob: Blob) -> Coverage:
    """What is here of *blob* under *folder*, as far as its map can be read and believed."""
    count = block_count(blob.size)
    try:
        content = _place(folder, blob, ".map").read_bytes()
    except OSError:
        content = b""
    if content[:STAMP_OFFSET] != header_of(blob) or len(content) > map_size(blob.size):
        return Coverage(blob, bytes(count), verified=False)
    slots = content[HEADER_SIZE:].ljust(count * SLOT_SIZE, b"\0")
    present = bytes(map(bool, array("Q", slots)))
    return Coverage(blob, present, content[STAMP_OFFSET:HEADER_SIZE] == VERIFIED)


def room_of(folder: Path, blob: Blob) -> int:
    """Bytes of disk that the blob takes."""
    try:
        return os.stat(_place(folder, blob)).st_blocks * 512
    except OSError:
        return 0


def drop(folder: Path, blob: Blob) -> int:
    """Evict all of *blob*; the bytes of disk that this gave back.  CacheUnwritable's OSError.

    Others may be reading it: what they miss they fetch again.
    """
    room = room_of(folder, blob)
    empty(_place(folder, blob))
    return room - room_of(folder, blob)


def _place(folder: Path, blob: Blob, suffix: str = "") -> Path:
    return folder / blob.ident[:2] / (blob.ident + suffix)
