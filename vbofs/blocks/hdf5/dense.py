"""New-style groups and many attributes: fractal heaps that hold them, B-trees that order them.

HDF5 finds an item through the B-tree; we read the heap's blocks from the front, where items lie
one after another until the first that was deleted.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .pointer import LARGEST_STRUCTURE, MISTAKES, Item, Kind, Pointer, address_at

_CHECKSUMMED = 0x02
_NODE_OVERHEAD = 10  # Signature, version, type, checksum.
#: Levels of a B-tree: with 15 records to a node, more than files have bytes.
_DEEPEST = 8


class _Table(NamedTuple):
    """How a fractal heap's blocks grow: *width* to a row, twice as large from the third row on."""

    item: Item
    width: int
    first: int
    largest: int
    offset: int  # Bytes of a block's position in the heap.
    checksum: int  # Bytes.

    def block(self, address: int, size: int) -> Pointer:
        return Pointer(address, address + min(size, LARGEST_STRUCTURE), Kind.FHDB, self)

    def nested(self, address: int, rows: int) -> Iterable[Pointer]:
        size = 13 + self.offset + 8 * self.width * rows + 4
        if not 0 < rows <= 64 or size > LARGEST_STRUCTURE:
            return ()
        return (Pointer(address, address + size, Kind.FHIB, (self, rows)),)


def fractal_heap(content: bytes, pointer: Pointer) -> Iterable[Pointer]:
    if not content.startswith(b"FRHP\0"):
        return ()
    filters, flags = struct.unpack_from("<HB", content, 7)
    width, first, largest, bits = struct.unpack_from("<HQQH", content, 110)
    root, rows = struct.unpack_from("<QH", content, 132)
    if filters or not width or not 0 < first <= largest:
        return ()  # Compressed blocks say nothing to us.
    checksum = 4 if flags & _CHECKSUMMED else 0
    table = _Table(pointer.shape, width, first, largest, -(-bits // 8), checksum)
    return table.nested(root, rows) if rows else (table.block(root, first),)


def indirect_block(content: bytes, pointer: Pointer) -> Iterator[Pointer]:
    table, rows = pointer.shape
    if not content.startswith(b"FHIB"):
        return
    at = 13 + table.offset
    for row in range(rows):
        size = table.first << max(0, row - 1)
        for child in struct.unpack_from(f"<{table.width}Q", content, at):
            if size <= table.largest:
                yield table.block(child, size)
            else:
                yield from table.nested(child, (size // (table.first * table.width)).bit_length())
        at += 8 * table.width


def direct_block(content: bytes, pointer: Pointer) -> list[Pointer]:
    table = pointer.shape
    found: list[Pointer] = []
    if content.startswith(b"FHDB"):
        at = 13 + table.offset + table.checksum
        try:
            while at < len(content):
                pointers, at = table.item(content, at)
                found += pointers
        except MISTAKES:
            pass  # What is left of the block is free.
    return found


class _Level(NamedTuple):
    """A level of a version 2 B-tree, counted from the leaves."""

    node: int  # Bytes.
    record: int  # Bytes.
    depth: int

    def to(self, address: int, records: int) -> Pointer:
        kind = Kind.BTIN if self.depth else Kind.VALUE
        return Pointer(address, address + self.node, kind, (self, records))

    def child(self) -> tuple[int, int]:
        """How a pointer to a child is kept: bytes of its number of records, bytes in all."""
        most = total = (self.node - _NODE_OVERHEAD) // self.record
        counted = _bytes_of(most)
        size = 8 + counted
        for _ in range(self.depth - 1):
            here = (self.node - _NODE_OVERHEAD - size) // (self.record + size)
            total = (here + 1) * total + here
            size = 8 + counted + _bytes_of(total)
        return counted, size


def _bytes_of(number: int) -> int:
    return -(-number.bit_length() // 8)


def index_header(content: bytes, pointer: Pointer) -> Iterable[Pointer]:
    if not content.startswith(b"BTHD\0"):
        return ()
    level = _Level(*struct.unpack_from("<IHH", content, 6))
    if not level.record or level.depth > _DEEPEST or not 64 <= level.node <= LARGEST_STRUCTURE:
        return ()
    return (level.to(*struct.unpack_from("<QH", content, 16)),)


def index_node(content: bytes, pointer: Pointer) -> Iterator[Pointer]:
    """The children of an inner node, whose records come first."""
    level, records = pointer.shape
    if not content.startswith(b"BTIN\0"):
        return
    counted, size = level.child()
    at = 6 + records * level.record
    for _ in range(records + 1):
        address = address_at(content, at)
        below = int.from_bytes(content[at + 8 : at + 8 + counted], "little")
        yield level._replace(depth=level.depth - 1).to(address, below)
        at += size
