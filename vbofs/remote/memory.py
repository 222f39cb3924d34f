"""An object store in memory, for tests and for trying things out: no server, no thread."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import trio

from ..errors import BucketMissing, ObjectMissing
from ..model import Blob, Extent, ObjectFacts, ObjectVersion
from .protocol import Listed, Page, Requests, Sink

#: Objects a page, as S3 has it.
PAGE_SIZE = 1000


class MemoryObjectStore:
    """Versioned objects of one bucket; filled with ``put``."""

    def __init__(self, bucket: str, *, piece: int = 64 << 10) -> None:
        self._bucket = bucket
        self._piece = piece
        # Newest version first, as S3 lists them.
        self._objects: dict[str, dict[str, tuple[bytes, int]]] = {}
        self._requests = Requests()

    def __repr__(self) -> str:
        return f"<MemoryObjectStore {self._bucket}, {len(self._objects)} keys>"

    def put(self, key: str, content: bytes, *, mtime: int = 1_600_000_000) -> Blob:
        """Store a new version of *key* and return it."""
        versions = self._objects.get(key, {})
        version_id = f"v{len(versions) + 1}.{hashlib.md5(content).hexdigest()}"
        self._objects[key] = {version_id: (content, mtime), **versions}
        version = ObjectVersion(self._bucket, key, version_id)
        facts = self._facts(content, mtime)
        return Blob(version, *facts, hashlib.blake2b(content).hexdigest())

    async def fetch(self, blob: Blob, extent: Extent, sink: Sink) -> None:
        content, _ = self._content(blob.version)
        self._requests = self._requests._replace(get=self._requests.get + 1)
        rest = memoryview(content)[extent.start : extent.stop]
        while rest:
            await trio.lowlevel.checkpoint()
            room = sink.get_buffer()
            step = min(len(room), len(rest), self._piece)
            room[:step] = rest[:step]
            self._requests = self._requests._replace(received=self._requests.received + step)
            sink.buffer_updated(step)
            rest = rest[step:]

    async def head(self, version: ObjectVersion) -> Listed:
        await trio.lowlevel.checkpoint()
        self._requests = self._requests._replace(head=self._requests.head + 1)
        version_id = version.version_id or next(iter(self._objects.get(version.key, {"": None})))
        named = version._replace(version_id=version_id)
        return Listed(named, self._facts(*self._content(named)), self._is_latest(named))

    async def page(
        self, prefix: str, *, marker: Mapping[str, str] | None = None, shallow: bool = False
    ) -> Page:
        await trio.lowlevel.checkpoint()
        self._requests = self._requests._replace(list=self._requests.list + 1)
        everything = [
            Listed(version, self._facts(*self._content(version)), self._is_latest(version))
            for key in sorted(self._objects)
            if key.startswith(prefix) and not (shallow and "/" in key.removeprefix(prefix))
            for version in (ObjectVersion(self._bucket, key, v) for v in self._objects[key])
        ]
        start = int((marker or {}).get("start", 0))
        stop = start + PAGE_SIZE
        return Page(
            everything[start:stop], {"start": str(stop)} if stop < len(everything) else None
        )

    async def prepare(self, version: ObjectVersion, requests: int) -> None:
        """There is nothing to connect to."""

    def requests(self) -> Requests:
        return self._requests

    def distrust(self, version: ObjectVersion) -> None:
        """There is nothing in between."""

    def _content(self, version: ObjectVersion) -> tuple[bytes, int]:
        if version.bucket != self._bucket:
            raise BucketMissing(f"there is no bucket {version.bucket}")
        try:
            return self._objects[version.key][version.version_id]
        except KeyError as error:
            raise ObjectMissing(f"{version.key} has no version {version.version_id}") from error

    def _is_latest(self, version: ObjectVersion) -> bool:
        return next(iter(self._objects[version.key])) == version.version_id

    @staticmethod
    def _facts(content: bytes, mtime: int) -> ObjectFacts:
        return ObjectFacts(len(content), hashlib.md5(content).hexdigest(), mtime)
