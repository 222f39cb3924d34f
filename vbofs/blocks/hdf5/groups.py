"""Superblocks and old-style groups: symbol table entries and nodes, B-trees, local heaps."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .headers import object_header
from .pointer import ADDRESS, FIRST_READ, Pointer, value, whole

SIGNATURE = b"\x89HDF\r\n\x1a\n"
#: Bytes of the longest superblock, version 1.
SUPERBLOCK = 100

# Nodes as large as HDF5 makes them unless told otherwise, and reads at once.
_NODE = 544  # Of a B-tree: 32 children, 33 keys.
_SYMBOLS = 328  # Of a symbol table: 8 entries.
_ENTRY = struct.Struct("<8xQI4xQQ")
_CACHED_GROUP = 1


def superblock_in(head: bytes) -> int | None:
    """Where in the first bytes of a file HDF5 begins: at 0, or after a userblock of 512 << n."""
    at = 0
    while at < len(head):
        if head.startswith(SIGNATURE, at):
            return at
        at = 2 * at or 512
    return None


def superblock(content: bytes) -> Iterator[Pointer]:
    """What the superblock at the start of *content* points to; nothing if its kind is unknown."""
    version = content[8]
    if version in (0, 1) and content[13:15] == b"\x08\x08":
        yield from _entry(*_ENTRY.unpack_from(content, 60 if version else 56))
    elif version in (2, 3) and content[9:11] == b"\x08\x08":
        extension, _, root = struct.unpack_from("<QQQ", content, 20)
        yield at_header(root)
        yield at_header(extension)


def at_header(address: int) -> Pointer:
    return Pointer(address, address + FIRST_READ, object_header)


def _entry(header: int, cached: int, tree: int, heap: int) -> Iterator[Pointer]:
    """A symbol table entry; that of a group often says what its object header says."""
    yield at_header(header)
    if cached == _CACHED_GROUP:
        yield from group(tree, heap)


def group(tree: int, heap: int) -> tuple[Pointer, ...]:
    """An old-style group: a B-tree of its members, a heap of their names."""
    return (
        Pointer(tree, tree + _NODE, _tree),
        Pointer(heap, heap + FIRST_READ, _heap),
    )


def _tree(content: bytes, start: int) -> Iterator[Pointer]:
    signature, kind, level, entries = struct.unpack_from("<4sBBH", content)
    if signature != b"TREE" or kind != 0:
        return
    size = 24 + 16 * entries
    if size > len(content):
        yield from whole(start, size, _tree)
        return
    # Left and right sibling, then keys and children in turn.
    children = struct.unpack_from(f"<{2 * entries}Q", content, 24)[1::2]
    for child in children:
        yield (
            Pointer(child, child + _NODE, _tree)
            if level
            else Pointer(child, child + _SYMBOLS, _symbols)
        )


def _symbols(content: bytes, start: int) -> Iterator[Pointer]:
    signature, entries = struct.unpack_from("<4s2xH", content)
    size = 8 + _ENTRY.size * entries
    if signature != b"SNOD":
        return
    if size > len(content):
        yield from whole(start, size, _symbols)
        return
    for entry in _ENTRY.iter_unpack(content[8:size]):
        yield from _entry(*entry)


def _heap(content: bytes, start: int) -> Iterator[Pointer]:
    if content.startswith(b"HEAP"):
        size, names = struct.unpack_from("<Q8xQ", content, 8)
        yield value(names, size)
