"""What is in the buckets: every version of every key, newest first, real or virtual.

A real version keeps its bytes; a virtual one has a size, and its bytes are made when they are
sent. Buckets are changed by the test's thread and read by the connections' threads: a key's list
of versions is replaced, never changed in place, and the sorted names are made under the lock.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b, md5

from tests.s3.content import STRIDE, Words, content, fill, scratch, seed_of

PART = 8 << 20  # the publisher's multipart unit: his ETags end in the number of such parts


class Written:
    """A body that is here in full."""

    def __init__(self, content: bytes | memoryview) -> None:
        self._view = memoryview(content)

    def __len__(self) -> int:
        return len(self._view)

    def view(self, start: int, stop: int) -> memoryview:
        return self._view[start:stop]


class Generated:
    """A body that is made while it is sent. A view, of at most STRIDE, is good until the next."""

    def __init__(self, seed: int, start: int, stop: int) -> None:
        self._seed, self._start, self._stop = seed, start, stop
        self._room = _rooms()

    def __len__(self) -> int:
        return self._stop - self._start

    def view(self, start: int, stop: int) -> memoryview:
        return fill(self._room, self._seed, self._start + start, self._start + stop)


Body = Written | Generated

_local = threading.local()


def _rooms() -> Words:
    """One room per thread: a thread sends one body at a time, and fresh memory is dear."""
    if not hasattr(_local, "room"):
        _local.room = scratch()
    room: Words = _local.room
    return room


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one key, or a delete marker; *stored* is None when it is virtual."""

    key: str
    version_id: str
    size: int
    etag: str  # with its quotes, as S3 sends it
    last_modified: float
    stored: bytes | None = None
    delete_marker: bool = False

    def body(self, start: int, stop: int) -> Body:
        if self.stored is not None:
            return Written(memoryview(self.stored)[start:stop])
        return Generated(seed_of(self.key, self.version_id), start, stop)

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """The truth about *[start, stop)* of this version."""
        stop = self.size if stop is None else min(stop, self.size)
        if self.stored is not None:
            return self.stored[start:stop]
        return content(self.key, self.version_id, start, stop)

    def digest(self) -> str:
        """blake2b-512 of the whole, in hex, as manifests have it; reads all of a virtual object."""
        whole, body = blake2b(), self.body(0, self.size)
        for start in range(0, self.size, STRIDE):
            whole.update(body.view(start, min(start + STRIDE, self.size)))
        return whole.hexdigest()


@dataclass
class Bucket:
    """The versions of one bucket's keys."""

    name: str
    region: str = "us-west-2"
    versioned: bool = True
    _versions: dict[str, list[Version]] = field(default_factory=dict, repr=False)
    _names: list[str] | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def put(self, version: Version) -> None:
        """Add *version* at its place in time; one with the same version id is replaced."""
        with self._lock:
            known = self._versions.get(version.key, ())
            kept = [one for one in known if one.version_id != version.version_id]
            newer = [one for one in kept if one.last_modified > version.last_modified]
            self._versions[version.key] = [*newer, version, *kept[len(newer) :]]
            if not known:
                self._names = None

    def drop(self, key: str, version_id: str) -> None:
        """Remove one version for ever; the key goes with its last."""
        with self._lock:
            kept = [one for one in self._versions.get(key, ()) if one.version_id != version_id]
            self._versions[key] = kept
            if not kept:
                del self._versions[key]
                self._names = None

    def versions(self, key: str) -> list[Version]:
        """Every version of *key*, newest first; empty for an unknown key."""
        return self._versions.get(key, [])

    def find(self, key: str, version_id: str | None = None) -> Version | None:
        """The version asked for, or the newest, which may be a delete marker."""
        known = self.versions(key)
        if version_id is None:
            return known[0] if known else None
        return next((one for one in known if one.version_id == version_id), None)

    def names(self) -> list[str]:
        """The keys in S3's order: code points sort as their UTF-8 bytes do."""
        with self._lock:
            if self._names is None:
                self._names = sorted(self._versions)
            return self._names


def simple_etag(body: bytes) -> str:
    """The ETag of an object that came in one piece."""
    return f'"{md5(body).hexdigest()}"'


def multipart_etag(pieces: Iterable[bytes]) -> str:
    """The ETag of an object that came in these parts: the MD5 of their MD5s, and their number."""
    digests = [md5(piece).digest() for piece in pieces]
    return f'"{md5(b"".join(digests)).hexdigest()}-{len(digests)}"'


def plausible_etag(key: str, version_id: str, size: int) -> str:
    """A multipart ETag of the right form that vouches for nothing: no byte was hashed for it."""
    parts = max(1, -(-size // PART))
    return f'"{md5(f"{key} {version_id}".encode()).hexdigest()}-{parts}"'


def new_version_id(key: str, serial: int) -> str:
    """32 characters of S3's alphabet, the same in every run."""
    digest = blake2b(f"{serial} {key}".encode(), digest_size=24).digest()
    return base64.b64encode(digest, altchars=b"._").decode()


def now() -> float:
    return time.time()
