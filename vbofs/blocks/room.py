"""How much room there is for blocks, and more when there is not enough.

The limit and what is left free of the disk are kept at every write, not by a poll.  What is used is
counted from what the disk says now and then, for other daemons write there too.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from .blobfile import BlobFile
from .pins import Pins
from .refusals import Refusals
from .space import candidates, disk_free, disk_usage

log = logging.getLogger(__name__)

#: Bytes: of a full cache a tenth is evicted at once, but no more than this.
MOST_SPARE = 1000**3
#: Bytes written between two looks at what the disk says: other daemons write there too.
RESCAN = 256 << 20


class Room:
    """At most *limit* bytes under *folder*, and at least *keep_free* bytes of its disk for others.

    *open_files*: what is open now, by ident; its parts are given up one by one.  For any thread.
    """

    def __init__(
        self,
        folder: Path,
        pins: Pins,
        refusals: Refusals,
        open_files: Callable[[], dict[str, BlobFile]],
        *,
        limit: int,
        keep_free: int,
    ) -> None:
        self.limit = limit
        #: Bytes given up since the daemon began, and how often some were.
        self.evicted = self.evictions = 0
        self._folder = folder
        self._pins = pins
        self._refusals = refusals
        self._open_files = open_files
        self._keep_free = keep_free
        self._lock = threading.Lock()
        self._evicting = threading.Lock()
        # Unknown until the first write: a huge old cache does not slow the mount.
        self._used: int | None = None
        self._unseen = 0
        self._looked_at = 0.0

    def __repr__(self) -> str:
        return f"<Room {self._used} of {self.limit} bytes>"

    @property
    def used(self) -> int:
        """Bytes that the last look saw and that were written since; 0 before the first."""
        return self._used or 0

    def look(self, max_age: float) -> None:
        """Ask the disk what is used, if the last answer is older than *max_age* seconds.

        For a thread: a huge cache takes a while.
        """
        if self._used is None or time.monotonic() - self._looked_at > max_age:
            with self._evicting:
                self._set_used(disk_usage(self._folder))

    def capacity(self) -> int:
        """Bytes of disk that blobs may take in all: the limit, or what the disk has for them."""
        free = disk_free(self._folder) - self._keep_free
        return max(0, min(self.limit, disk_usage(self._folder) + free))

    def has_room(self, size: int) -> bool:
        """Count *size* more bytes; make room first if the limit or the disk demands it."""
        if self._refusals.is_paused:
            return False
        self._look_if_due()
        with self._lock:
            self._used = (self._used or 0) + size
            self._unseen += size
            short = self._used > self.limit
        if short or disk_free(self._folder) - size < self._keep_free:
            return self.make(size)
        return True

    def _look_if_due(self) -> None:
        """Ask the disk what is used, if the last answer is old.

        Not under the lock that every read takes: for 10,000 blobs it takes a tenth of a second.
        """
        if self._is_due:
            with self._evicting:
                if self._is_due:
                    self._set_used(disk_usage(self._folder))

    @property
    def _is_due(self) -> bool:
        return self._used is None or self._unseen > RESCAN

    def _set_used(self, used: int) -> None:
        with self._lock:
            self._used, self._unseen = max(0, used), 0
            self._looked_at = time.monotonic()

    def make(self, size: int, *, full: int | None = None) -> bool:
        """Evict what was used longest ago; False: there is nothing left that would help.

        *full*: the disk has said that it is, after so many evictions.  A quota says it while the
        disk itself has room, so then no figure is believed.
        """
        with self._evicting:
            used, excess = self._excess(size)
            spare = min(used // 10, MOST_SPARE)
            # While this thread waited for its turn, another may have made all the room needed.
            if full is not None and full == self.evictions:
                excess = max(excess, size)
            freed = self._evict(excess + spare) if excess > 0 else 0
            if freed < excess and full is None:
                # Another daemon may have evicted it all just before this one came to it.
                (used, excess), freed = self._excess(size), 0
            self._set_used(used - freed)
            if freed < excess:
                self._refusals.all_of_them("there is no room, and nothing to evict")
            return freed >= excess

    def _excess(self, size: int) -> tuple[int, int]:
        """Bytes that are used, and how many are too many if *size* more are."""
        used, free = disk_usage(self._folder), disk_free(self._folder)
        return used, max(used + size - self.limit, self._keep_free + size - free)

    def _evict(self, enough: int) -> int:
        """Drop what was used longest ago until *enough* bytes are free; how many there are."""
        freed = 0
        for candidate in candidates(self._folder, self._open_files(), self._pins.idents()):
            if freed >= enough:
                break
            freed += candidate.drop()
        self.evicted += freed
        self.evictions += 1
        log.info("%d bytes were evicted to make room", freed)
        return freed
