"""An object store that a test can hold, watch and break; it wraps any other."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import trio

from vbofs.model import Blob, Extent, ObjectVersion
from vbofs.remote.protocol import Listed, ObjectStore, Page, Requests, Sink


class ScriptedStore:
    """Wraps *store*.  What a test sets holds from the next request on."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        #: What was fetched, in order of asking.
        self.fetched: list[Extent] = []
        self.keys: list[str] = []
        self.distrusted: list[ObjectVersion] = []
        self.under_way = self.peak = 0
        #: For the next fetches: pour so many bytes, then raise.
        self.failures: deque[tuple[int, Exception]] = deque()
        #: For the next calls of head and page.
        self.head_errors: deque[Exception] = deque()
        self.page_errors: deque[Exception] = deque()
        self.page_delay = 0.0
        self.distrusted: list[ObjectVersion] = []
        self._door = trio.Event()
        self._door.set()
        self._held_at = 0

    def hold(self, at: int = 0) -> None:
        """Stop each fetch after *at* bytes until ``let_go``."""
        self._door, self._held_at = trio.Event(), at

    def let_go(self) -> None:
        self._door.set()

    async def fetch(self, blob: Blob, extent: Extent, sink: Sink) -> None:
        self.fetched.append(extent)
        self.keys.append(blob.version.key)
        self.under_way += 1
        self.peak = max(self.peak, self.under_way)
        try:
            await self._fetch(blob, extent, sink)
        finally:
            self.under_way -= 1

    async def _fetch(self, blob: Blob, extent: Extent, sink: Sink) -> None:
        await trio.lowlevel.checkpoint()
        if self.failures:
            length, error = self.failures.popleft()
            await self._pour(blob, extent, sink, extent.start + length)
            raise error
        held = self._door
        start = extent.start
        if not held.is_set():
            start = await self._pour(blob, extent, sink, extent.start + self._held_at)
            await held.wait()
        await self._pour(blob, Extent(start, extent.stop), sink, extent.stop)

    async def _pour(self, blob: Blob, extent: Extent, sink: Sink, stop: int) -> int:
        piece = Extent(extent.start, min(stop, extent.stop))
        if piece.size:
            await self.store.fetch(blob, piece, sink)
        return piece.stop

    async def head(self, version: ObjectVersion) -> Listed:
        if self.head_errors:
            raise self.head_errors.popleft()
        return await self.store.head(version)

    async def page(
        self, prefix: str, *, marker: Mapping[str, str] | None = None, shallow: bool = False
    ) -> Page:
        await trio.sleep(self.page_delay)
        if self.page_errors:
            raise self.page_errors.popleft()
        return await self.store.page(prefix, marker=marker, shallow=shallow)

    async def prepare(self, version: ObjectVersion, requests: int) -> None:
        await self.store.prepare(version, requests)

    def requests(self) -> Requests:
        return self.store.requests()

    def distrust(self, version: ObjectVersion) -> None:
        self.distrusted.append(version)
