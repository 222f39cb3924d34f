"""Object headers: which messages they hold, in both of their encodings."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from .messages import Message, pointers
from .pointer import Kind, Pointer, whole

_LONG_MESSAGE = struct.Struct("<HHB3x")
_SHORT_MESSAGE = struct.Struct("<BHB")
_TRACKED = 0x04  # Messages have a creation order,
_PHASES = 0x10  # headers limits for attributes
_TIMES = 0x20  # and times.


def object_header(content: bytes, pointer: Pointer) -> Iterable[Pointer]:
    if content.startswith(b"OHDR\2"):
        return _second_version(content, pointer)
    if content.startswith(b"\1\0"):
        (size,) = struct.unpack_from("<I", content, 8)
        if 16 + size > len(content):
            return whole(pointer, 16 + size)
        return pointers(content, _long_messages(content, 16, 16 + size), Kind.MESSAGES)
    return ()


def _second_version(content: bytes, pointer: Pointer) -> Iterable[Pointer]:
    flags = content[5]
    at = 6 + (16 if flags & _TIMES else 0) + (4 if flags & _PHASES else 0)
    width = 1 << (flags & 3)
    first = at + width
    stop = first + int.from_bytes(content[at:first], "little")
    if stop + 4 > len(content):  # A checksum ends it.
        return whole(pointer, stop + 4)
    tracked = bool(flags & _TRACKED)
    return pointers(content, _short_messages(content, first, stop, tracked), Kind.OCHK, tracked)


def continued_messages(content: bytes, pointer: Pointer) -> Iterable[Pointer]:
    return pointers(content, _long_messages(content, 0, len(content)), Kind.MESSAGES)


def continued_chunk(content: bytes, pointer: Pointer) -> Iterable[Pointer]:
    if not content.startswith(b"OCHK"):
        return ()
    messages = _short_messages(content, 4, len(content) - 4, pointer.shape)
    return pointers(content, messages, Kind.OCHK, pointer.shape)


def _long_messages(content: bytes, at: int, stop: int) -> Iterator[Message]:
    while at + 8 <= stop:
        kind, size, flags = _LONG_MESSAGE.unpack_from(content, at)
        at += 8
        yield kind, flags, at, at + size
        at += size


def _short_messages(content: bytes, at: int, stop: int, tracked: bool) -> Iterator[Message]:
    prefix = 6 if tracked else 4
    while at + prefix <= stop:
        kind, size, flags = _SHORT_MESSAGE.unpack_from(content, at)
        at += prefix
        yield kind, flags, at, at + size
        at += size
