"""The seam to a process that fetches in place of this one, and keeps what comes by itself.

Large requests that nobody waits for yet need no hand of ours: their bytes go from the network to
the disk.  In a process of their own they share no lock with the answers to the kernel.  Whoever
can let go of its bytes is a ``Landing``; ``transfer/`` is the ``Carrier``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import msgspec

from ..model import Blob, Extent
from .protocol import Sink

#: Bytes; a smaller request is here before another process has been told of it.
LEAST_CARRIED = 1 << 20


class Patience(NamedTuple):
    """Seconds to connect, seconds for a byte to come, and bytes that must have come in those."""

    connect: float
    read: float
    progress: int


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How to get to a server: what connections to it need, and what its errors are told with.

    *verify* is what trusts its certificate: True, or the path of a CA bundle.
    """

    bucket: str
    region: str
    endpoint_url: str | None
    profile: str | None
    connections: int
    patience: Patience
    proxies: Mapping[str, str]
    verify: bool | str


class Order(msgspec.Struct, frozen=True):
    """One GET: *extent* of *blob*."""

    url: str
    headers: Mapping[str, str]
    blob: Blob
    extent: Extent


class Place(NamedTuple):
    """Descriptors of a blob's map and data (blocks/blobmap.py), open as long as their *owner* is
    referred to: nobody else's file must ever be behind them."""

    map: int
    data: int
    owner: object


@runtime_checkable
class Landing(Sink, Protocol):
    """A sink whose bytes another process may keep in its place."""

    def is_patient(self) -> bool:
        """Nobody waits for its bytes yet."""

    def place(self, extent: Extent) -> Place | None:
        """Where to keep *extent*, all that is missing; there is room for it.  None: pour it.

        For a thread: making room takes a while.
        """

    def elsewhere(self, ask: Callable[[int], None] | None) -> None:
        """Until the next call, another process pours.  *ask* has it tell when it has kept what is
        before some offset of the blob; else it tells when it likes."""

    def kept(self, nbytes: int) -> None:
        """The next *nbytes* are where they belong."""

    def refused(self, error: OSError) -> None:
        """The disk does not take the next ones.  For a thread."""


class Carrier(Protocol):
    """Another process that fetches."""

    def is_ready(self) -> bool:
        """Whether it would begin at once; if not, it will be ready soon, because it was asked."""

    async def carry(
        self, way: Way, order: Order, place: Place, landing: Landing, note: Callable[[int], None]
    ) -> None:
        """Have *order* kept at *place*, and say to *landing* what is, and to *note* how many bytes
        were received.

        It may come back early, with no error: then what is missing is to be poured.  Errors are
        those of ``ObjectStore.fetch``.
        """
