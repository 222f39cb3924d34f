"""What the daemon and its transfer process say to each other: one msgpack message per datagram.

They are the same release of vbofs, on the two ends of a socket pair that nobody else has.
"""

from __future__ import annotations

import msgspec

from ..remote.carrying import Order, Way

#: Bytes; a signed URL of a long key is the largest part of one.
LARGEST = 32 << 10


class Fetch(msgspec.Struct, tag=True, frozen=True):
    """Keep what *order* brings.  Comes with two descriptors: the map and the data of its blob."""

    serial: int
    way: Way
    order: Order


class Ask(msgspec.Struct, tag=True, frozen=True):
    """Somebody waits for what is before byte *stop* of the blob: say when it is kept."""

    serial: int
    stop: int


class Cancel(msgspec.Struct, tag=True, frozen=True):
    """Nobody wants the rest."""

    serial: int


class Ping(msgspec.Struct, tag=True, frozen=True):
    """Is anybody there?"""


class Pong(msgspec.Struct, tag=True, frozen=True):
    """Yes; said unasked when the process is ready."""


class Kept(msgspec.Struct, tag=True, frozen=True):
    """All before byte *stop* of the blob is where it belongs."""

    serial: int
    stop: int


class Ended(msgspec.Struct, tag=True, frozen=True):
    """The last that is said of a fetch, after *received* bytes; what is kept ends at *stop*.

    *error* and *words*: the class and the message of what went wrong.  *errno*: the disk refuses.
    """

    serial: int
    stop: int
    received: int
    error: str = ""
    words: str = ""
    errno: int = 0


Request = Fetch | Ask | Cancel | Ping
Report = Kept | Ended | Pong
