"""The manifests themselves: fetched once, kept for ever, parsed when asked.

They are checked when they are first seen, so that a bad one never becomes a directory; it is
reported, and the others stay.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import msgspec

from ..catalog.manifest import MAX_DOCUMENT, Manifest, Origin, parse
from ..errors import AccessDenied, ManifestInvalid, ObjectMissing
from ..kept import Kept
from ..model import Blob, Extent
from ..remote.protocol import Collected, ObjectStore
from .facts import together
from .listing import Document

log = logging.getLogger(__name__)


class Manifests:
    """The manifests of the dataset of *origin*, kept in *folder*."""

    def __init__(self, remote: ObjectStore, origin: Origin, folder: Path) -> None:
        self._remote = remote
        self._origin = origin
        self._folder = folder

    def __repr__(self) -> str:
        return f"<Manifests in {self._folder}>"

    async def of(self, document: Document) -> Manifest:
        """What *document* says.  ManifestInvalid, or a RemoteError if it is not kept."""
        return parse(await self.body(document), self._origin, document.release)

    async def checked(self, news: list[Document]) -> list[Document]:
        """Read and check manifests never seen before; the bad ones say why in ``flaw``."""
        done: list[Document] = []

        async def check(document: Document) -> None:
            try:
                manifest = await self.of(document)
                done.append(msgspec.structs.replace(document, entries=len(manifest.entries)))
            except ManifestInvalid as error:
                log.warning("%s", error)
                done.append(msgspec.structs.replace(document, flaw=str(error)))
            except (AccessDenied, ObjectMissing) as error:
                # Not the manifest's own flaw, so not kept: the next look asks again.
                log.warning("the manifest of v%s is left out: %s", document.release, error)

        await together(check, news)
        return done

    async def body(self, document: Document) -> bytes:
        """A manifest byte for byte, from disk or, the first time, from the bucket."""
        kept = Kept(self._folder / digest(*document.version), bytes)
        body = kept.load()
        if body is None:
            body = await self._download(document.blob)
            kept.save(body)
        return body

    async def _download(self, blob: Blob) -> bytes:
        if blob.size > MAX_DOCUMENT:
            raise ManifestInvalid(f"{blob.version.key} has {blob.size} bytes: that is no manifest")
        sink = Collected(blob.size)
        if blob.size:
            await self._remote.fetch(blob, Extent(0, blob.size), sink)
        return sink.getvalue()


def digest(*words: str) -> str:
    """A file name for what *words* name together."""
    return hashlib.blake2b("\0".join(words).encode(), digest_size=16).hexdigest()
