"""The block store: all blobs on disk, and how much room they may take.  Knows no network.

``blobs/<aa>/<ident>`` holds a blob's bytes, ``<ident>.map`` beside it says which (see blobfile.py).
Room is found before every write: when it would pass the limit, or leave too little of the disk
free, what was used longest ago is evicted (see space.py), parts of open files too.  Where there is
none to be found a block is not kept, and goes to its reader from memory all the same.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import stat
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from cachetools import LRUCache

from ..errors import CacheFull, CacheTooNew, CacheUnwritable
from ..model import Blob
from .blobfile import FORMAT, BlobFile
from .pins import Pins
from .space import candidates, disk_free, disk_usage

log = logging.getLogger(__name__)

#: Bytes: the default size is a fifth of the disk, and no more than this.
LARGEST_DEFAULT = 100 * 1000**3
#: Bytes: of a full cache a tenth is evicted at once, but no more than this.
MOST_SPARE = 1000**3
#: The share of the disk that is left free if nothing else is said.
FREE_SHARE = 20
#: Bytes written between two looks at what the disk says: other daemons write there too.
RESCAN = 256 << 20
#: Seconds for which a cache that found nothing to evict does not look again.
DESPAIR = 10.0


@dataclass(frozen=True)
class StoreStatistics:
    """*used* and *limit* in bytes of disk, *evicted* in bytes; since the daemon began, as are
    *damaged* and *refused*, in blocks."""

    used: int
    limit: int
    damaged: int
    evicted: int
    refused: int


class BlockStore:
    """Blobs under *folder*, which ``open_store`` has prepared.

    At most *limit* bytes, and at least *keep_free* bytes of the disk left to others.
    """

    def __init__(
        self, folder: Path, limit: int, *, keep_free: int = 0, open_files: int = 256
    ) -> None:
        self.folder = folder
        self.pins = Pins(folder.parent)
        self._limit = limit
        self._keep_free = keep_free
        self._lock = threading.Lock()
        self._evicting = threading.Lock()
        # Unknown until the first write: a huge old cache does not slow the mount.
        self._used: int | None = None
        self._unseen = 0
        self._hopeless_until = 0.0
        self._evicted = self._refused = self._damaged = 0
        self._files: LRUCache[str, BlobFile] = LRUCache(open_files)

    def __repr__(self) -> str:
        return f"<BlockStore {self.folder}, {self._used} of {self._limit} bytes>"

    def statistics(self) -> StoreStatistics:
        used = self._used if self._used is not None else disk_usage(self.folder)
        return StoreStatistics(used, self._limit, self._damaged, self._evicted, self._refused)

    def capacity(self) -> int:
        """Bytes of disk that blobs may take in all: the limit, or what the disk has for them."""
        free = disk_free(self.folder) - self._keep_free
        return max(0, min(self._limit, disk_usage(self.folder) + free))

    def file(self, blob: Blob) -> BlobFile | None:
        """The blob's place on disk; None: the disk refuses, and all its blocks are misses."""
        ident = blob.ident
        with self._lock:
            file = self._files.get(ident)
            if file is None:
                try:
                    file = BlobFile(self._path(ident), blob, self._note_damage)
                    self._files[ident] = file
                except OSError as error:
                    self._refuse(str(error))
            return file

    def put(self, file: BlobFile, block: int, content: memoryview) -> bool:
        """Keep *content*, of *block* and those that follow it; False: the disk refuses.

        For any thread.
        """
        try:
            if not self._has_room(len(content)):
                self._refuse("there is no room, and nothing to evict")
                return False
            file.put(block, content)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                with contextlib.suppress(OSError):
                    self._make_room(len(content))  # For the next one; this one goes unkept.
            else:
                self._let_go(file)
            self._refuse(str(error))
            return False
        return True

    def _let_go(self, file: BlobFile) -> None:
        """Open *file* anew when it is wanted again: its disk failed, and may be another by then."""
        with self._lock:
            if self._files.get(file.blob.ident) is file:
                del self._files[file.blob.ident]

    def cached_bytes(self, blob: Blob) -> int:
        """Bytes of disk that the blob takes."""
        try:
            return os.stat(self._path(blob.ident)).st_blocks * 512
        except OSError:
            return 0

    @property
    def takes_none(self) -> bool:
        """The last look found no room; blocks fetched ahead would be thrown away."""
        return time.monotonic() < self._hopeless_until

    def _path(self, ident: str) -> Path:
        return self.folder / ident[:2] / ident

    def _refuse(self, why: str) -> None:
        if not self._refused:
            log.warning("the cache takes no more, so blocks are not kept: %s", why)
        self._refused += 1

    def _note_damage(self, blocks: int) -> None:
        self._damaged += blocks

    # --- room

    def _has_room(self, size: int) -> bool:
        """Count *size* more bytes; make room first if the limit or the disk demands it."""
        if self.takes_none:
            return False
        self._look_if_due()
        with self._lock:
            self._used = (self._used or 0) + size
            self._unseen += size
            short = self._used > self._limit
        if short or disk_free(self.folder) - size < self._keep_free:
            return self._make_room(size)
        return True

    def _look_if_due(self) -> None:
        """Ask the disk what is used, if the last answer is old.

        Not under the lock that every read takes: for 10,000 blobs it takes a tenth of a second.
        """
        if self._is_due:
            with self._evicting:
                if self._is_due:
                    used = disk_usage(self.folder)
                    with self._lock:
                        self._used, self._unseen = used, 0

    @property
    def _is_due(self) -> bool:
        return self._used is None or self._unseen > RESCAN

    def _make_room(self, size: int) -> bool:
        """Evict what was used longest ago; False: there is nothing left that would help."""
        with self._evicting:
            used, free = disk_usage(self.folder), disk_free(self.folder)
            spare = min(used // 10, MOST_SPARE)
            excess = max(used + size - self._limit, self._keep_free + size - free)
            freed = 0
            # While this thread waited for its turn, another may have made all the room needed.
            if excess > 0:
                with self._lock:
                    files = dict(self._files)
                for candidate in candidates(self.folder, files, self.pins.idents()):
                    if freed >= excess + spare:
                        break
                    freed += candidate.drop()
                self._evicted += freed
                log.info("%d bytes were evicted to make room", freed)
            with self._lock:
                self._used, self._unseen = max(0, used - freed), 0
            if freed < excess:
                self._hopeless_until = time.monotonic() + DESPAIR
            return freed >= excess


def open_store(
    cache_dir: Path, limit: int | None, *, keep_free: int | None = None, open_files: int = 256
) -> BlockStore:
    """Make *cache_dir* ready and open its store; CacheUnwritable, CacheFull or CacheTooNew."""
    blobs = cache_dir / "blobs"
    try:
        cache_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        _check_owner(cache_dir)
        _check_format(cache_dir)
        blobs.mkdir(exist_ok=True, mode=0o700)
        _check_owner(blobs)
        _check_writable(blobs)
        total = shutil.disk_usage(cache_dir).total
    except OSError as error:
        raise _refusal(cache_dir, error) from error
    return BlockStore(
        blobs,
        min(total // 5, LARGEST_DEFAULT) if limit is None else limit,
        keep_free=total // FREE_SHARE if keep_free is None else keep_free,
        open_files=open_files,
    )


def _refusal(cache_dir: Path, error: OSError) -> CacheFull | CacheUnwritable:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CacheFull(
            f"no space left for the cache in {cache_dir}; make room, or use --cache-dir"
        )
    return CacheUnwritable(
        f"the cache directory {cache_dir} cannot be used: {error.strerror}; use --cache-dir"
    )


def _check_owner(folder: Path) -> None:
    """Nobody else may plant a block: its checksum, too, would be theirs."""
    facts = folder.stat()
    if facts.st_uid != os.geteuid():
        raise CacheUnwritable(f"{folder} belongs to another user; use --cache-dir")
    if facts.st_mode & stat.S_IWOTH and not facts.st_mode & stat.S_ISVTX:
        raise CacheUnwritable(f"{folder} can be written by everybody; chmod o-w {folder}")


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
