"""The nouns that every floor shares.  Values only: no I/O, no tasks, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple


class ObjectVersion(NamedTuple):
    """Where bytes are, for ever: one version of one object in one bucket."""

    bucket: str
    key: str
    version_id: str


class Extent(NamedTuple):
    """The byte range [start, stop) of a blob."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


class ObjectFacts(NamedTuple):
    """What a listing or a HEAD says about an object version.

    *etag* is without its quotes.  *mtime* is LastModified, in whole seconds since 1970.
    """

    size: int
    etag: str
    mtime: int


@dataclass(frozen=True, slots=True)
class Blob:
    """The bytes of one object version: their number, their publisher's ETag and digest.

    *digest* is hex blake2b-512 of all bytes, from the manifest; empty where none is published.
    """

    version: ObjectVersion
    size: int
    etag: str
    mtime: int
    digest: str = ""

    @property
    def ident(self) -> str:
        """The name under which its blocks are kept: 32 hex digits, the same on every machine.

        An unversioned bucket calls every version "null", so there the ETag tells contents apart.
        """
        *where, version_id = self.version
        if version_id == "null":
            version_id = f"null:{self.etag}"
        return blake2b("\0".join([*where, version_id]).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Attrs:
    """What stat(2) says of a node.  *mode* includes the file type; *mtime* is in seconds."""

    ino: int
    mode: int
    size: int
    mtime: int
    nlink: int = 1
