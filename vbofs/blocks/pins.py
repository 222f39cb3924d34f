"""Which blobs are pinned: evicted last, when nothing else is left to make room.

One small file in the cache directory that every daemon and command on it shares.  A pin is advice
and no lock: a damaged file of pins costs the advice, never a byte, and a blob may be pinned before
any of it is here.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..errors import CacheUnwritable
from ..kept import Kept

#: Pins that are believed of one file: more than any dataset has files.
MOST_PINS = 1_000_000


class Pins:
    """The pins of the cache in *cache_dir*; nothing is held in memory, so all processes agree."""

    def __init__(self, cache_dir: Path) -> None:
        self._folder = cache_dir
        self._kept = Kept(cache_dir / "pins", list[str])

    def __repr__(self) -> str:
        return f"<Pins of {self._folder}>"

    def idents(self) -> frozenset[str]:
        """The blobs that are pinned now, by the names under which they are kept."""
        return frozenset((self._kept.load() or [])[:MOST_PINS])

    def add(self, idents: Iterable[str]) -> int:
        """Pin these too; how many were not pinned before.  CacheUnwritable."""
        return self._change(lambda pinned: pinned | set(idents))

    def remove(self, idents: Iterable[str]) -> int:
        """Unpin these; how many were pinned before.  CacheUnwritable."""
        return self._change(lambda pinned: pinned - set(idents))

    def _change(self, change: Callable[[frozenset[str]], frozenset[str]]) -> int:
        with self._alone():
            before = self.idents()
            after = change(before)
            if after != before:
                self._kept.save(sorted(after))
                if self.idents() != after:
                    raise CacheUnwritable(f"the pins in {self._folder} cannot be written")
            return len(before ^ after)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One at a time reads and replaces the file; who is killed meanwhile lets go of it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            lock = os.open(self._folder / "pins.lock", flags, 0o600)
        except OSError as error:
            raise CacheUnwritable(
                f"the pins in {self._folder} cannot be written: {error.strerror}"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)
