"""The seam to the remote: what an object store promises, whatever stands behind it.

Implementations: ``s3.S3ObjectStore`` and ``memory.MemoryObjectStore``; ``retrying.Retrying`` wraps.
tests/contract/test_object_store.py holds each of them to this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from ..model import Blob, Extent, ObjectFacts, ObjectVersion


class Sink(Protocol):
    """Where the bytes of one fetch go, in order, from the first to the last.

    Called in a worker thread, by one thread at a time.  The names are those of asyncio's
    ``BufferedProtocol``, which does the same.
    """

    def get_buffer(self) -> memoryview:
        """Room for at least one next byte; what is written there counts once it is announced."""

    def buffer_updated(self, nbytes: int) -> None:
        """The first *nbytes* of the buffer given last are the next bytes of the blob."""


class SinkFailed(Exception):
    """A bug of whoever takes the bytes: no error of the remote, and no other attempt mends it."""


class Listed(NamedTuple):
    """An object version in a listing.  *version_id* is "" where the listing may not name it."""

    version: ObjectVersion
    facts: ObjectFacts
    is_latest: bool


class Page(NamedTuple):
    """A piece of a listing, keys ascending; *marker* asks for the next piece, None at the end."""

    listed: list[Listed]
    marker: Mapping[str, str] | None


class Requests(NamedTuple):
    """Requests sent, answered or not, and bytes of bodies received."""

    get: int = 0
    head: int = 0
    list: int = 0
    received: int = 0


class ObjectStore(Protocol):
    """One bucket's object versions.  Every failure is a ``RemoteError``, but ``SinkFailed``."""

    async def fetch(self, blob: Blob, extent: Extent, sink: Sink) -> None:
        """Pour exactly *extent* of exactly *blob* into *sink*.

        Returns when the last byte has been announced.  On an error a prefix may have been: those
        bytes are right, and the sink is not called again.  Cancelled, it returns at once; the sink
        may still be called for a while.
        """

    async def head(self, version: ObjectVersion) -> Listed:
        """The facts of one version; of the current one, by name, if *version_id* is ""."""

    async def page(
        self, prefix: str, *, marker: Mapping[str, str] | None = None, shallow: bool = False
    ) -> Page:
        """One page of all versions under *prefix*; *shallow*: only those directly under it."""

    async def prepare(self, version: ObjectVersion, requests: int) -> None:
        """So many *requests* for *version* will soon be made at once: have connections for them.

        A hint.  It asks for no byte, may take as long as connecting does, and never fails.
        """

    def requests(self) -> Requests:
        """What has been asked so far."""

    def distrust(self, version: ObjectVersion) -> None:
        """A cache in between has given wrong bytes of *version*: ask past it from now on."""


class Collected:
    """A sink that keeps what it gets: for documents, which are small and wanted whole."""

    def __init__(self, size: int) -> None:
        self._bytes = bytearray(size)
        self._filled = 0

    def get_buffer(self) -> memoryview:
        return memoryview(self._bytes)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes

    def getvalue(self) -> bytes:
        """The bytes so far."""
        return bytes(memoryview(self._bytes)[: self._filled])
