"""Block arithmetic: which blocks cover which bytes.  Pure; whatever divides by block size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..model import Extent

#: Bytes; the grain of presence and of checksums, and so of what a lone read costs.  HDF5's metadata
#: lie in pieces of 2 KiB all over a file: with blocks of 128 KiB a listing fetches nearly twice as
#: much, with smaller ones it waits more often.  3 GB cost 368 KB of map.
BLOCK_SIZE = 64 << 10
#: Bytes; the publisher's multipart unit, and our largest request.
PART_SIZE = 8 << 20
BLOCKS_PER_PART = PART_SIZE // BLOCK_SIZE


def clipped(offset: int, length: int, size: int) -> Extent:
    """The part of [offset, offset + length) that lies in a *size*-byte blob, as read(2) has it."""
    start = min(max(offset, 0), size)
    return Extent(start, max(start, min(offset + length, size)))


def covering(extent: Extent) -> range:
    """The blocks that hold *extent*; none for an empty one."""
    if extent.start >= extent.stop:
        return range(0)
    return range(extent.start // BLOCK_SIZE, (extent.stop - 1) // BLOCK_SIZE + 1)


def block_count(size: int) -> int:
    """How many blocks a *size*-byte blob has."""
    return -(-size // BLOCK_SIZE)


def span(blocks: range, size: int) -> Extent:
    """The bytes of adjacent *blocks* of a *size*-byte blob, whose last block may be short."""
    return clipped(blocks.start * BLOCK_SIZE, len(blocks) * BLOCK_SIZE, size)


def runs(blocks: Iterable[int]) -> Iterator[range]:
    """Gather ascending *blocks* into adjacent runs, cut where a part ends.

    Cut there, equal needs of different readers and machines become equal requests, which a
    caching proxy can answer once.
    """
    start = stop = -1
    for block in blocks:
        if block != stop or block % BLOCKS_PER_PART == 0:
            if stop > start:
                yield range(start, stop)
            start = block
        stop = block + 1
    if stop > start:
        yield range(start, stop)
