"""What one piece of HDF5 metadata says about another: where it is, and what it is."""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

#: No structure that is parsed is larger; HDF5's own object headers end here too.
LARGEST_STRUCTURE = 64 << 10
#: Nothing that is fetched without being parsed (names, values) is taken to be larger.
LARGEST_VALUE = 1 << 20


#: HDF5's sieve buffer: what it reads of a contiguous array when one value of it is asked for.
SIEVE = 64 << 10

#: What reading a structure raises where it is not what it was said to be.
MISTAKES = (struct.error, IndexError, OverflowError)


class Kind(enum.IntEnum):
    """What is to be found at an address; the signature, where HDF5 has one."""

    VALUE = enum.auto()  # Names, nodes that point to nothing.
    SMALL = enum.auto()  # A small array, or a single number.
    ARRAY = enum.auto()  # The same, too large to be fetched unasked.
    # Read by some and not by others, but then all of a kind: fetched when the first is missed.
    COLUMN = enum.auto()  # An array that HDF5 reads at once.
    STRINGS = enum.auto()  # As much of an array of strings as is read with the first.
    LEAF = enum.auto()  # The last nodes of a chunk tree.
    TWIG = enum.auto()  # The same, of a tree that has only a few.
    SUPERBLOCK = enum.auto()
    HEADER = enum.auto()  # Of an object: version 1 has no signature, version 2 OHDR.
    MESSAGES = enum.auto()  # A version 1 header, continued.
    OCHK = enum.auto()
    TREE = enum.auto()
    CHUNKS = enum.auto()  # The B-tree of a chunked array; its shape is the number of dimensions.
    SNOD = enum.auto()
    HEAP = enum.auto()
    VLEN = enum.auto()  # Values that are references into global heaps.
    REGION = enum.auto()  # The same, of region references.
    GCOL = enum.auto()
    FRHP = enum.auto()
    FHDB = enum.auto()
    FHIB = enum.auto()
    BTHD = enum.auto()
    BTIN = enum.auto()


#: What HDF5 reads at an address before it knows the size of what is there.
FIRST_READ = {
    Kind.SUPERBLOCK: 100,
    Kind.HEADER: 512,
    Kind.TREE: 544,  # 32 children, 33 keys: as HDF5 makes them unless told otherwise.
    Kind.SNOD: 328,  # 8 entries: likewise.
    Kind.HEAP: 512,
    Kind.FRHP: 512,
    Kind.BTHD: 38,
    Kind.GCOL: 4096,
}


class Pointer(NamedTuple):
    """Bytes worth having, by address: counted from the superblock, not from the file's first byte.

    The undefined address, 2^64 - 1, is just one that lies outside of every file.  *shape* is what
    the structure does not say of itself.
    """

    start: int
    stop: int
    kind: Kind
    shape: Any = None


_ADDRESS = struct.Struct("<Q")

#: "Bytes of a structure and the pointer to it in, pointers out."  The bytes may be anything, and a
#: parser may raise MISTAKES.  One that finds its structure longer than the pointer said returns a
#: pointer to the whole of it.
Parser: TypeAlias = Callable[[bytes, Pointer], Iterable[Pointer]]

#: Reads one item of a fractal heap: bytes and where it begins in, pointers and where it ends out.
Item: TypeAlias = Callable[[bytes, int], tuple[list[Pointer], int]]


def address_at(content: bytes, at: int) -> int:
    address: int = _ADDRESS.unpack_from(content, at)[0]
    return address


def to(kind: Kind, address: int, shape: Any = None) -> Pointer:
    """A pointer to a structure whose size is still unknown."""
    return Pointer(address, address + FIRST_READ[kind], kind, shape)


#: Children of a node of a chunk tree, as HDF5 makes them unless told otherwise (istore_k of 32).
_CHUNKS = 64
#: HDF5's limit, and one dimension for the size of an element.
_DIMENSIONS = 33


def chunk_key(dimensions: int) -> int:
    """Bytes of a key in a chunk tree: a chunk's size, its filters, where it is in the array."""
    return 8 + 8 * min(dimensions, _DIMENSIONS)


def chunk_node(address: int, dimensions: int, kind: Kind = Kind.CHUNKS) -> Pointer:
    """A pointer to a node of the chunk tree of an array of so many *dimensions*."""
    key = chunk_key(dimensions)
    return Pointer(address, address + 24 + _CHUNKS * (key + 8) + key, kind, dimensions)


def value(address: int, size: int) -> Pointer:
    """A pointer to *size* bytes that are read but point nowhere."""
    return Pointer(address, address + min(size, LARGEST_VALUE), Kind.VALUE)


def whole(pointer: Pointer, size: int) -> tuple[Pointer, ...]:
    """The structure of *pointer* once more, now that it says that it has *size* bytes."""
    if size > LARGEST_STRUCTURE:
        return ()
    return (pointer._replace(stop=pointer.start + size),)
