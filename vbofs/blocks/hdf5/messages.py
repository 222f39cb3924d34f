"""The messages of an object header that point somewhere: groups, links, attributes, raw data."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from .pointer import (
    FIRST_READ,
    LARGEST_STRUCTURE,
    MISTAKES,
    SIEVE,
    Item,
    Kind,
    Pointer,
    address_at,
    chunk_node,
    to,
    value,
)

#: Its type, its flags, where its body begins and ends.
Message: TypeAlias = tuple[int, int, int, int]

#: Raw data that readers take with the metadata: scalars, names, short columns.
SMALL = 16 << 10
#: Raw data read for what they point to: 64 strings, which lie in the same few collections.
FOLLOWED_VALUES = 1 << 10

_DATATYPE, _LAYOUT, _CONTINUATION = 0x03, 0x08, 0x10
_SHARED = 0x02
_COMMITTED = 2
_SHARED_TYPE = 0x01
_ORDER_TRACKED = 0x01
_ORDER_INDEXED = 0x02
_REFERENCE, _VLEN = 7, 9
#: A value that is in a global heap: its length, its collection; a region reference has no length.
_VALUE, _REGION = struct.Struct("<IQ4x"), struct.Struct("<Q4x")
_COMPACT, _CONTIGUOUS, _CHUNKED, _VIRTUAL = range(4)
#: Bytes of a version 4 layout between an index's type and its address; implicit indexes and
#: single chunks point to raw data.
_INDEX_PARAMETERS = {3: 1, 4: 5, 5: 6}
#: Bytes of the header of a chunk index of the newer kinds.
_CHUNK_HEADER = 64
#: Bytes of a global heap beside the values in it: its own header, and that of one value.
_COLLECTED = 48
_LONG = FIRST_READ[Kind.GCOL] - _COLLECTED


def pointers(
    content: bytes, messages: Iterable[Message], more: Kind, shape: object = None
) -> list[Pointer]:
    """What the *messages* in *content* point to; *more* is what continues them."""
    found: list[Pointer] = []
    element: Kind | None = None  # What the raw data consist of, if that points anywhere.
    for kind, flags, at, stop in messages:
        if kind not in _FOLLOWED or stop > len(content):
            continue
        body = content[at:stop]
        try:
            if kind == _DATATYPE and not flags & _SHARED:
                element = _element(body, 0)
            elif kind == _DATATYPE:
                found += _committed(body, 0)
            elif kind == _LAYOUT:
                found += _layout(body, element)
            elif kind == _CONTINUATION:
                found += _continuation(body, more, shape)
            else:
                found += _SIMPLE[kind](body)
        except MISTAKES:
            continue  # The other messages may be sound.
    return found


def _continuation(body: bytes, kind: Kind, shape: object) -> Iterable[Pointer]:
    start, size = struct.unpack_from("<QQ", body)
    return (Pointer(start, start + size, kind, shape),) if size <= LARGEST_STRUCTURE else ()


def _committed(body: bytes, at: int) -> Iterator[Pointer]:
    """A message kept elsewhere: in another object's header, or in the file's shared heap."""
    version, kind = body[at], body[at + 1]
    if version == 1:
        yield to(Kind.HEADER, address_at(body, at + 16))
    elif version == 2 or kind == _COMMITTED:
        yield to(Kind.HEADER, address_at(body, at + 2))


def _element(body: bytes, at: int) -> Kind | None:
    """What values of the datatype at *at* are, if they are kept in global heaps."""
    kind, bits = body[at] & 15, body[at + 1] & 15
    if kind == _VLEN:
        return Kind.VLEN
    return Kind.REGION if kind == _REFERENCE and bits == 1 else None


# --- groups and links


def _symbol_table(body: bytes) -> Iterable[Pointer]:
    tree, heap = struct.unpack_from("<QQ", body)
    return to(Kind.TREE, tree), to(Kind.HEAP, heap)


def _link_info(body: bytes) -> Iterator[Pointer]:
    return _dense(body, 8, link)


def _attribute_info(body: bytes) -> Iterator[Pointer]:
    return _dense(body, 2, attribute)


def _dense(body: bytes, order: int, item: Item) -> Iterator[Pointer]:
    """A fractal heap of *items*, with a B-tree by name and perhaps one by order of creation."""
    flags = body[1]
    at = 2 + (order if flags & _ORDER_TRACKED else 0)
    heap, names = struct.unpack_from("<QQ", body, at)
    yield to(Kind.FRHP, heap, item)
    yield to(Kind.BTHD, names)
    if flags & _ORDER_INDEXED:
        yield to(Kind.BTHD, address_at(body, at + 16))


def _link(body: bytes) -> Iterable[Pointer]:
    return link(body, 0)[0]


def link(content: bytes, at: int) -> tuple[list[Pointer], int]:
    """What the link at *at* points to, and where it ends."""
    version, flags = content[at], content[at + 1]
    if version != 1 or flags & 0xE0:
        raise IndexError("not a link")
    at += 2
    kind = content[at] if flags & 0x08 else 0
    at += (1 if flags & 0x08 else 0) + (8 if flags & 0x04 else 0) + (1 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    at += width + int.from_bytes(content[at : at + width], "little")
    if kind == 0:
        return [to(Kind.HEADER, address_at(content, at))], at + 8
    return [], at + 2 + struct.unpack_from("<H", content, at)[0]


# --- attributes


def _attribute(body: bytes) -> Iterable[Pointer]:
    return attribute(body, 0)[0]


def attribute(content: bytes, at: int) -> tuple[list[Pointer], int]:
    """What the value of the attribute at *at* points to, and where it ends."""
    version, flags, *sizes = struct.unpack_from("<BBHHH", content, at)
    if version not in (1, 2, 3):
        raise IndexError("not an attribute")
    at += 9 if version == 3 else 8
    if version == 1:
        flags = 0
        sizes = [-(-size // 8) * 8 for size in sizes]
    kind, space = at + sizes[0], at + sizes[0] + sizes[1]
    start = space + sizes[2]
    if flags & _SHARED_TYPE:
        return list(_committed(content, kind)), len(content)
    stop = start + _values(content, space) * struct.unpack_from("<I", content, kind + 4)[0]
    element = _element(content, kind)
    return (_in_heap(content[start:stop], element) if element else []), stop


def _values(content: bytes, at: int) -> int:
    """How many values the dataspace at *at* holds."""
    version, rank = content[at], content[at + 1]
    if version == 2 and content[at + 3] == 2:
        return 0
    return math.prod(struct.unpack_from(f"<{rank}Q", content, at + (8 if version == 1 else 4)))


def heap_values(content: bytes, pointer: Pointer) -> list[Pointer]:
    return _in_heap(content, pointer.kind)


def _in_heap(content: bytes, element: Kind) -> list[Pointer]:
    """The collections that values are in; the length of a long one says how much there is."""
    lengths: dict[int, int] = {}
    if element is Kind.VLEN:
        for length, address in _VALUE.iter_unpack(content[: len(content) & ~15]):
            if length > lengths.get(address, -1):
                lengths[address] = length
    else:
        for (address,) in _REGION.iter_unpack(content[: len(content) // 12 * 12]):
            lengths[address] = 0
    found = [to(Kind.GCOL, address) for address in lengths]
    for address, length in lengths.items():
        if length > _LONG:
            found.append(value(address, length + _COLLECTED))
    return found


def collection(content: bytes, pointer: Pointer) -> Iterator[Pointer]:
    if content.startswith(b"GCOL"):
        size = address_at(content, 8)
        if size > len(content):
            yield value(pointer.start, size)


# --- raw data


def _layout(body: bytes, element: Kind | None) -> Iterable[Pointer]:
    version, storage = body[0], body[1]
    if version not in (3, 4, 5):
        return ()  # Before 2004.
    if storage == _COMPACT and element:
        return _in_heap(body[4:], element)
    if storage == _CONTIGUOUS:
        return _raw(address_at(body, 2), address_at(body, 10), element)
    if storage == _CHUNKED:
        return _chunk_index(body, version)
    if storage == _VIRTUAL:
        return (to(Kind.GCOL, address_at(body, 2)),)
    return ()


def _raw(start: int, size: int, element: Kind | None) -> Iterable[Pointer]:
    if element:
        followed = Pointer(start, start + min(size, FOLLOWED_VALUES), element)
        # The kernel reads as much again in advance.
        return followed, Pointer(start, start + min(size, 2 * SIEVE), Kind.STRINGS)
    if size <= SMALL:
        return (Pointer(start, start + size, Kind.SMALL),)
    return (Pointer(start, start + size, Kind.COLUMN if size <= SIEVE else Kind.ARRAY),)


def _chunk_index(body: bytes, version: int) -> Iterator[Pointer]:
    """The B-tree of the chunks, or only the header of an index of the newer kinds."""
    if version == 3:
        yield chunk_node(address_at(body, 3), body[2])
        return
    rank, width = body[3], body[4]
    at = 5 + rank * width
    parameters = _INDEX_PARAMETERS.get(body[at])
    if parameters:
        yield value(address_at(body, at + 1 + parameters), _CHUNK_HEADER)


_SIMPLE: dict[int, Callable[[bytes], Iterable[Pointer]]] = {
    0x02: _link_info,
    0x06: _link,
    0x0C: _attribute,
    0x11: _symbol_table,
    0x15: _attribute_info,
}
_FOLLOWED = {*_SIMPLE, _DATATYPE, _LAYOUT, _CONTINUATION}
