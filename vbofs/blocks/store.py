"""The block store: all blobs on disk, and how much room they may take.  Knows no network.

``blobs/<aa>/<ident>`` holds a blob's bytes, ``<ident>.map`` beside it says which (see blobfile.py).
Room is counted at every write.  When the limit is passed, the blobs used longest ago are emptied,
whole, until a tenth is free; a blob larger than the cache empties itself, and every read is served
all the same, for a block goes to its reader from memory.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cachetools import LRUCache

from ..errors import CacheFull, CacheTooNew, CacheUnwritable
from ..model import Blob
from .blobfile import FORMAT, HEADER_SIZE, BlobFile

log = logging.getLogger(__name__)

#: Bytes: the default size is a fifth of the disk, and no more than this.
LARGEST_DEFAULT = 100 * 1000**3
#: What is left of a full cache after making room.
LOW_WATER = 0.9


@dataclass(frozen=True)
class StoreStatistics:
    """*used* and *limit* in bytes of disk; counts since the daemon began."""

    used: int
    limit: int
    damaged: int
    evicted: int
    refused: int


class BlockStore:
    """Blobs under *folder*, which ``open_store`` has prepared; *limit* in bytes of disk."""

    def __init__(self, folder: Path, limit: int, *, open_files: int = 256) -> None:
        self.folder = folder
        self._limit = limit
        self._lock = threading.Lock()
        self._used = _disk_usage(folder)
        self._evicted = self._refused = self._damaged_before = 0
        self._files: LRUCache[str, BlobFile] = LRUCache(open_files)

    def __repr__(self) -> str:
        return f"<BlockStore {self.folder}, {self._used} of {self._limit} bytes>"

    def statistics(self) -> StoreStatistics:
        with self._lock:
            damaged = sum(file.damaged for file in self._files.values())
            return StoreStatistics(self._used, self._limit, damaged, self._evicted, self._refused)

    def file(self, blob: Blob) -> BlobFile | None:
        """The blob's place on disk; None: the disk refuses, and all its blocks are misses."""
        ident = blob.ident
        with self._lock:
            file = self._files.get(ident)
            if file is None:
                try:
                    file = self._files[ident] = BlobFile(self._path(ident), blob)
                except OSError as error:
                    self._refuse(error)
            return file

    def put(self, file: BlobFile, block: int, content: memoryview) -> bool:
        """Keep a block that has been checked; False: the disk refuses.  For any thread."""
        for attempt in range(2):
            try:
                if file.put(block, content):
                    self._grow(len(content))
                return True
            except OSError as error:
                if error.errno != errno.ENOSPC or attempt or not self._make_room(len(content)):
                    self._refuse(error)
                    return False
        return False

    def cached_bytes(self, blob: Blob) -> int:
        """Bytes of disk that the blob takes."""
        try:
            return os.stat(self._path(blob.ident)).st_blocks * 512
        except OSError:
            return 0

    def _path(self, ident: str) -> Path:
        return self.folder / ident[:2] / ident

    def _refuse(self, error: OSError) -> None:
        if not self._refused:
            log.warning("the cache disk refuses, so blocks are not kept: %s", error)
        self._refused += 1

    def _grow(self, size: int) -> None:
        with self._lock:
            self._used += size
            full = self._used > self._limit
        if full:
            self._make_room(size)

    def _make_room(self, size: int) -> bool:
        """Empty blobs, those used longest ago first; False: there was nothing to empty."""
        with self._lock:
            self._used = _disk_usage(self.folder)  # Other daemons write here too.
            excess = max(size, self._used - int(self._limit * LOW_WATER))
            freed = 0
            for path, room in self._by_last_use():
                if freed >= excess:
                    break
                freed += room if _empty(path) else 0
                self._evicted += 1
            self._used = max(0, self._used - freed)
        log.info("the cache is full: %d bytes were evicted", freed)
        return freed > 0

    def _by_last_use(self) -> list[tuple[Path, int]]:
        """Blobs that take room, with the bytes; one that is open here is younger than any other."""
        ranked = []
        for path, facts in _blobs(self.folder):
            if facts.st_blocks:
                file = self._files.get(path.name)
                rank = (1, file.used_at) if file else (0, facts.st_mtime)
                ranked.append((rank, path, facts.st_blocks * 512))
        return [(path, room) for _, path, room in sorted(ranked)]


def _blobs(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for path in folder.glob("??/*"):
        if "." not in path.name:
            with contextlib.suppress(OSError):  # Gone since it was listed.
                yield path, path.stat()


def _disk_usage(folder: Path) -> int:
    return sum(facts.st_blocks * 512 for _, facts in _blobs(folder))


def _empty(path: Path) -> bool:
    """Forget the blob at *path*, map first: see ``BlobFile`` on who may be reading."""
    try:
        with open(path.with_name(path.name + ".map"), "r+b") as marks, open(path, "r+b") as data:
            for file, kept in ((marks, HEADER_SIZE), (data, 0)):
                size = os.fstat(file.fileno()).st_size
                os.ftruncate(file.fileno(), kept)
                os.ftruncate(file.fileno(), size)
    except OSError as error:
        log.warning("%s: cannot be evicted: %s", path, error)
        return False
    return True


def open_store(cache_dir: Path, limit: int | None, *, open_files: int = 256) -> BlockStore:
    """Make *cache_dir* ready and open its store; CacheUnwritable, CacheFull or CacheTooNew."""
    blobs = cache_dir / "blobs"
    try:
        cache_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        _check_format(cache_dir)
        blobs.mkdir(exist_ok=True, mode=0o700)
        _check_writable(blobs)
        if limit is None:
            limit = min(shutil.disk_usage(cache_dir).total // 5, LARGEST_DEFAULT)
    except OSError as error:
        raise _refusal(cache_dir, error) from error
    return BlockStore(blobs, limit, open_files=open_files)


def _refusal(cache_dir: Path, error: OSError) -> CacheFull | CacheUnwritable:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CacheFull(
            f"no space left for the cache in {cache_dir}; make room, or use --cache-dir"
        )
    return CacheUnwritable(
        f"the cache directory {cache_dir} cannot be used: {error.strerror}; use --cache-dir"
    )


def _check_format(cache_dir: Path) -> None:
    """A file that says which layout this is; a layout from the future is left alone."""
    path = cache_dir / "format"
    try:
        words = path.read_text().split()
    except FileNotFoundError:
        # Whole or not at all: another daemon may be starting too.
        draft = path.with_name(f".format.{os.getpid()}")
        draft.write_text(f"vbofs {FORMAT}\n")
        os.replace(draft, path)
        return
    except UnicodeDecodeError:
        words = []
    if len(words) != 2 or words[0] != "vbofs" or not words[1].isdecimal():
        raise CacheUnwritable(
            f"{path} is damaged, or {cache_dir} is no cache of vbofs; remove it, or use --cache-dir"
        )
    if int(words[1]) > FORMAT:
        raise CacheTooNew(
            f"the cache {cache_dir} was made by a newer vbofs (format {words[1]}, this one knows"
            f" {FORMAT}); upgrade vbofs, or use --cache-dir"
        )


def _check_writable(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder, prefix=".probe.") as probe:
        probe.write(b"\0" * 4096)
