"""The block store: all blobs on disk, and how much room they may take.  Knows no network.

``blobs/<aa>/<ident>`` holds a blob's bytes, ``<ident>.map`` beside it says which (see blobfile.py).
Room is found before every write: when it would pass the limit, or leave too little of the disk
free, what was used longest ago is evicted (see space.py), parts of open files too.  Where there is
none to be found a block is not kept, and goes to its reader from memory all the same.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from cachetools import LRUCache, TTLCache

from ..errors import CacheTooNew, CacheUnwritable
from ..model import Blob, Extent
from ..remote.carrying import Place
from .blobfile import BlobFile
from .folder import check_writable, prepare, refusal
from .pins import Pins
from .refusals import DESPAIR, FULL, OF_THE_DISK, Refusals
from .room import Room

log = logging.getLogger(__name__)

#: Bytes: the default size is a fifth of the disk, and no more than this.
LARGEST_DEFAULT = 100 * 1000**3
#: The share of the disk that is left free if nothing else is said.
FREE_SHARE = 20
#: The part of the cache for which room is made ahead of what comes.
LARGEST_PLACE = 4
#: Seconds between two looks whether open files have been removed by somebody.
SWEEP = 10.0


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
        self._lock = threading.Lock()
        self._swept_at = time.monotonic()
        self._damaged = 0
        self._refusals = Refusals()
        self.room = Room(
            folder, self.pins, self._refusals, self._open_files, limit=limit, keep_free=keep_free
        )
        self._files: LRUCache[str, BlobFile] = LRUCache(open_files)
        # Blobs whose place on disk could be neither read nor mended, for a while.
        self._unreadable: TTLCache[str, bool] = TTLCache(4096, DESPAIR)

    def __repr__(self) -> str:
        return f"<BlockStore {self.folder}, {self.room!r}>"

    def statistics(self) -> StoreStatistics:
        room = self.room
        return StoreStatistics(
            room.used, room.limit, self._damaged, room.evicted, self._refusals.count
        )

    @property
    def limit(self) -> int:
        """Bytes of disk that blobs may take at the most."""
        return self.room.limit

    def _open_files(self) -> dict[str, BlobFile]:
        with self._lock:
            return dict(self._files)

    def file(self, blob: Blob) -> BlobFile | None:
        """The blob's place on disk; None: the disk refuses, and all its blocks are misses."""
        ident = blob.ident
        with self._lock:
            if time.monotonic() - self._swept_at > SWEEP:
                self._sweep()
            file = self._files.get(ident)
            if file is not None and file.failed:
                del self._files[ident]
                self._unreadable[ident] = True
            if ident in self._unreadable:
                return None
            return self._files.get(ident) or self._opened(blob)

    def _opened(self, blob: Blob) -> BlobFile | None:
        ident = blob.ident
        try:
            try:
                file = BlobFile(self._path(ident), blob, self._note_damage)
            except FileNotFoundError:  # Somebody has removed the cache: begin a new one.
                prepare(self.folder)
                file = BlobFile(self._path(ident), blob, self._note_damage)
        except (OSError, CacheUnwritable, CacheTooNew) as error:
            self._refuse(error)
            return None
        self._files[ident] = file
        return file

    def _sweep(self) -> None:
        """Let go of files that have been removed; their room is the disk's again."""
        self._swept_at = time.monotonic()
        for ident in [ident for ident, file in self._files.items() if _is_gone(file)]:
            del self._files[ident]

    def put(self, file: BlobFile, block: int, content: memoryview) -> bool:
        """Keep *content*, of *block* and those that follow it; False: the disk refuses.

        For any thread.
        """
        evictions = self.room.evictions
        try:
            here = self._linked(file)
            if here is None:
                return False
            if not self.room.has_room(len(content)):
                self._refusals.one("there is no room, and nothing to evict")
                return False
            here.put(block, content)
        except OSError as error:
            self._mend(file, error, len(content), evictions)
            return False
        self._refusals.none()
        return True

    def place(self, file: BlobFile, size: int) -> Place | None:
        """Where somebody else may keep *size* bytes of *file*, for which room is made now.

        None: he had better not try.  For a thread.
        """
        # More at once would evict what is just being read.
        if size > self.limit // LARGEST_PLACE or self.takes_none:
            return None
        try:
            here = self._linked(file)
            if here is None or not self.room.has_room(size):
                return None
        except OSError as error:
            self._refuse(error)
            return None
        return Place(*here.places, here)

    def kept(self, file: BlobFile, extent: Extent) -> None:
        """Somebody else has kept *extent* of *file*."""
        file.use(extent)
        self._refusals.none()

    def refused(self, file: BlobFile, error: OSError, size: int) -> None:
        """The disk has not taken the next *size* bytes of *file* from somebody else.

        For a thread.
        """
        self._mend(file, error, size, self.room.evictions)

    def _mend(self, file: BlobFile, error: OSError, size: int, evictions: int) -> None:
        """A write has failed: make room if that is why, so that the next one need not."""
        try:
            if error.errno in FULL and self.room.make(size, full=evictions):
                self._refusals.one(str(error))
                return
        except OSError as worse:
            error = worse
        self._let_go(file)
        self._refuse(error)

    def _linked(self, file: BlobFile) -> BlobFile | None:
        """*file*, or the one that is there now, if somebody has removed it meanwhile."""
        if not file.is_unlinked:
            return file
        self._let_go(file)
        return self.file(file.blob)

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
        """The last block that was tried was refused; blocks fetched ahead would be thrown away."""
        return self._refusals.lasting

    def _path(self, ident: str) -> Path:
        return self.folder / ident[:2] / ident

    def _refuse(self, error: Exception) -> None:
        if not isinstance(error, OSError) or error.errno in OF_THE_DISK:
            self._refusals.all_of_them(str(error))
        self._refusals.one(str(error))

    def _note_damage(self, blocks: int) -> None:
        self._damaged += blocks


def _is_gone(file: BlobFile) -> bool:
    try:
        return file.is_unlinked
    except OSError:
        return True  # Its disk has failed; opening it again will say how.


def open_store(
    cache_dir: Path, limit: int | None, *, keep_free: int | None = None, open_files: int = 256
) -> BlockStore:
    """Make *cache_dir* ready and open its store; CacheUnwritable, CacheFull or CacheTooNew."""
    blobs = cache_dir / "blobs"
    try:
        prepare(blobs)
        check_writable(blobs)
        total = shutil.disk_usage(cache_dir).total
    except OSError as error:
        raise refusal(cache_dir, error) from error
    return BlockStore(
        blobs,
        min(total // 5, LARGEST_DEFAULT) if limit is None else limit,
        keep_free=total // FREE_SHARE if keep_free is None else keep_free,
        open_files=open_files,
    )
