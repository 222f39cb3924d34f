"""What one piece of HDF5 metadata says about another: where it is, and how to read it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

#: No structure that is parsed is larger; HDF5's own object headers and heap blocks end here too.
LARGEST_STRUCTURE = 64 << 10
#: Nothing that is fetched without being parsed (names, values) is taken to be larger.
LARGEST_VALUE = 1 << 20
#: What HDF5 reads of an object header or local heap before it knows its size.
FIRST_READ = 512

#: "Bytes of a structure and its address in, pointers out."  A parser may trust its input in
#: nothing: it may raise struct.error or IndexError where the bytes end before the structure does.
Parser: TypeAlias = "Callable[[bytes, int], Iterable[Pointer]]"

ADDRESS = struct.Struct("<Q")


class Pointer(NamedTuple):
    """Bytes worth having, by address: counted from the superblock, not from the file's first byte.

    The undefined address, 2^64 - 1, is one that lies outside of every file.  *parse* is None where
    the bytes point to nothing else.  A parser that finds its structure longer than *stop* said
    returns a pointer to the whole of it.
    """

    start: int
    stop: int
    parse: Parser | None


def value(start: int, size: int) -> Pointer:
    """A pointer to *size* bytes that are read but point nowhere."""
    return Pointer(start, start + min(size, LARGEST_VALUE), None)


def whole(start: int, size: int, parse: Parser) -> tuple[Pointer, ...]:
    """The structure at *start* once more, now that it says that it has *size* bytes."""
    return (Pointer(start, start + size, parse),) if size <= LARGEST_STRUCTURE else ()
