"""Extended attributes of files: what is known of the object version behind a name.

Every file has the same names, in the namespace that users have; where there is nothing to say (a
file outside the releases has no hash) the value is empty.  Who lists names therefore costs no look
at the file: ``ls -l`` of newer coreutils lists those of every file that it shows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from .blocks.coverage import look
from .blocks.store import BlockStore
from .catalog.urls import versioned_url
from .config import Settings
from .dataset.places import Places
from .model import Blob

PREFIX = b"user.vbofs."
#: There, but not listed: it is about the cache and not about the file, so no copy should have it.
UNLISTED = PREFIX + b"cached_bytes"
#: Bytes that ls has for the names of a file; for more it asks three times (gnulib, acl.h).
ROOM = 152


class Xattrs:
    """The attributes of files, as far as *places* and *store* know them."""

    def __init__(self, settings: Settings, places: Places, store: BlockStore) -> None:
        self._settings = settings
        self._store = store
        self._places = places
        self._values: dict[bytes, Callable[[Blob], Awaitable[str]]] = {
            PREFIX + name: value
            for name, value in (
                (b"version_id", self._version_id),
                (b"url", self._url),
                (b"blake2b", self._blake2b),
                (b"etag", self._etag),
                (b"file_id", self._file_id),
                (b"release", self._release),
                (b"cached_bytes", self._cached_bytes),
                (b"verified", self._verified),
            )
        }
        #: What listxattr(2) answers.
        self.names = tuple(name for name in self._values if name != UNLISTED)

    def __repr__(self) -> str:
        return f"<Xattrs {len(self.names)} names, {self._places!r}>"

    async def value(self, blob: Blob, name: bytes) -> bytes | None:
        """The value of the attribute *name* of *blob*'s file; None: it has none of that name.

        RemoteError if it takes a manifest that cannot be had.
        """
        value = self._values.get(name)
        return None if value is None else (await value(blob)).encode()

    async def _version_id(self, blob: Blob) -> str:
        return blob.version.version_id

    async def _url(self, blob: Blob) -> str:
        return versioned_url(blob.version, self._settings.region, self._settings.endpoint_url)

    async def _blake2b(self, blob: Blob) -> str:
        return blob.digest

    async def _etag(self, blob: Blob) -> str:
        return blob.etag

    async def _file_id(self, blob: Blob) -> str:
        return ",".join((await self._places.of(blob.version)).idents)

    async def _release(self, blob: Blob) -> str:
        return ",".join((await self._places.of(blob.version)).releases)

    async def _cached_bytes(self, blob: Blob) -> str:
        return str(look(self._store.folder, blob).bytes)

    async def _verified(self, blob: Blob) -> str:
        return "yes" if look(self._store.folder, blob).verified else "no"
