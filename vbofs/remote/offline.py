"""The object store of somebody who stays off the network: it has nothing, and says so at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from ..errors import Offline
from ..model import Blob, Extent, ObjectVersion
from .protocol import Listed, Page, Requests, Sink


class OfflineObjectStore:
    """Answers every request with ``Offline``, without waiting for anything."""

    async def fetch(self, blob: Blob, extent: Extent, sink: Sink) -> None:
        self._refuse(f"{blob.version.key} bytes {extent.start}-{extent.stop}")

    async def head(self, version: ObjectVersion) -> Listed:
        self._refuse(version.key)

    async def page(
        self, prefix: str, *, marker: Mapping[str, str] | None = None, shallow: bool = False
    ) -> Page:
        self._refuse(f"the listing of {prefix}")

    async def prepare(self, version: ObjectVersion, requests: int) -> None:
        """None of them will be sent."""

    def requests(self) -> Requests:
        return Requests()

    def distrust(self, version: ObjectVersion) -> None:
        """Nobody is asked anyway."""

    def _refuse(self, subject: str) -> NoReturn:
        raise Offline(f"{subject} is not cached, and vbofs runs with --offline")
