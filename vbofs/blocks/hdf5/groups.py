"""Superblocks, old-style groups (symbol table nodes, their B-trees, local heaps), chunk B-trees."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from .pointer import Kind, Pointer, address_at, chunk_key, chunk_node, to, value, whole

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_ENTRY = struct.Struct("<8xQI4xQQ")
_CACHED_GROUP = 1
_GROUP_NODE, _CHUNK_NODE = 0, 1
#: Leaves of a chunk tree that a listing may have unasked: half a MiB, less than a wait costs.
_FEW = 8


def superblock_in(head: bytes) -> int | None:
    """Where in the first bytes of a file HDF5 begins: at 0, or after a userblock of 512 << n."""
    at = 0
    while at < len(head):
        if head.startswith(SIGNATURE, at):
            return at
        at = 2 * at or 512
    return None


def superblock(content: bytes, pointer: Pointer) -> Iterator[Pointer]:
    """What the superblock in *content* points to; nothing if addresses are not of 8 bytes."""
    version = content[8]
    if version in (0, 1) and content[13:15] == b"\x08\x08":
        yield from _entry(*_ENTRY.unpack_from(content, 60 if version else 56))
    elif version in (2, 3) and content[9:11] == b"\x08\x08":
        extension, _, root = struct.unpack_from("<QQQ", content, 20)
        yield to(Kind.HEADER, root)
        yield to(Kind.HEADER, extension)


def _entry(header: int, cached: int, tree: int, heap: int) -> Iterator[Pointer]:
    """A symbol table entry; that of a group often says what its object header says."""
    yield to(Kind.HEADER, header)
    if cached == _CACHED_GROUP:
        yield to(Kind.TREE, tree)
        yield to(Kind.HEAP, heap)


def tree_node(content: bytes, pointer: Pointer) -> Iterable[Pointer]:
    signature, kind, level, entries = struct.unpack_from("<4sBBH", content)
    if signature != b"TREE" or kind != _GROUP_NODE:
        return ()
    size = 24 + 16 * entries
    if size > len(content):
        return whole(pointer, size)
    # After the siblings' addresses, keys and children in turn.
    children = struct.unpack_from(f"<{2 * entries}Q", content, 24)[1::2]
    return [to(Kind.TREE if level else Kind.SNOD, child) for child in children]


def chunks(content: bytes, pointer: Pointer) -> Iterable[Pointer]:
    """The nodes below one of a chunk tree.  ``H5Ovisit``, and so every listing with h5py, walks all
    of them to add up the bytes of metadata; the chunks themselves are data."""
    signature, kind, level, entries = struct.unpack_from("<4sBBH", content)
    if signature != b"TREE" or kind != _CHUNK_NODE or not level:
        return ()
    step = chunk_key(pointer.shape) + 8
    if 24 + step * entries > len(content):
        return ()
    last = Kind.TWIG if entries <= _FEW else Kind.LEAF
    below = Kind.CHUNKS if level > 1 else last
    places = range(24 + step - 8, 24 + step * entries, step)
    return [chunk_node(address_at(content, at), pointer.shape, below) for at in places]


def symbol_node(content: bytes, pointer: Pointer) -> Iterator[Pointer]:
    signature, entries = struct.unpack_from("<4s2xH", content)
    size = 8 + _ENTRY.size * entries
    if signature != b"SNOD":
        return
    if size > len(content):
        yield from whole(pointer, size)
        return
    for entry in _ENTRY.iter_unpack(content[8:size]):
        yield from _entry(*entry)


def local_heap(content: bytes, pointer: Pointer) -> Iterator[Pointer]:
    if content.startswith(b"HEAP"):
        size, names = struct.unpack_from("<Q8xQ", content, 8)
        yield value(names, size)
