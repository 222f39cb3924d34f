"""Whether the cache disk keeps what it is given: said once, and not tried in vain.

A disk that refuses is left alone for a while; then one block at a time finds out whether it takes
any again.  Until one was kept nothing is fetched ahead, for it would be thrown away, and fetched a
second time by its reader.  For any thread.
"""

from __future__ import annotations

import errno
import logging
import threading
import time

log = logging.getLogger(__name__)

#: Seconds for which a disk that refuses, or has nothing to evict, is not tried again.
DESPAIR = 10.0
#: Seconds for which a state that comes and goes is not said again.
SILENCE = 600.0
#: What a disk says when it takes nothing from anybody; other errors concern one file on it.
OF_THE_DISK = frozenset(
    {
        *(errno.EIO, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENXIO, errno.ENODEV),
        *(errno.ESTALE, errno.ENOTCONN, errno.ESHUTDOWN, errno.ETIMEDOUT, errno.EHOSTDOWN),
        *(errno.EUCLEAN, errno.ENOMEDIUM),
    }
)
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Refusals:
    """Counts blocks that were not kept, and remembers whether the disk refuses all of them."""

    def __init__(self) -> None:
        self.count = 0
        #: The last block that was tried was refused by the disk as a whole.
        self.lasting = False
        self._paused_until = 0.0
        self._said_at = -SILENCE
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Refusals {self.count}{', lasting' if self.lasting else ''}>"

    @property
    def is_paused(self) -> bool:
        """Trying is in vain for the moment."""
        return self.lasting and time.monotonic() < self._paused_until

    def one(self, why: str) -> None:
        """A block was not kept, for a reason of its own or for one that is known."""
        with self._lock:
            self.count += 1
            if self.count == 1:
                self._say(why)

    def all_of_them(self, why: str) -> None:
        """The disk takes nothing: leave it alone for a while."""
        with self._lock:
            self._paused_until = time.monotonic() + DESPAIR
            if not self.lasting:
                self.lasting = True
                self._say(why)

    def none(self) -> None:
        """A block was kept."""
        if self.lasting:
            with self._lock:
                self.lasting = False
                log.info("the cache keeps blocks again")

    def _say(self, why: str) -> None:
        now = time.monotonic()
        level = logging.WARNING if now - self._said_at > SILENCE else logging.DEBUG
        self._said_at = now if level == logging.WARNING else self._said_at
        log.log(level, "the cache takes no more, so blocks are not kept: %s", why)
