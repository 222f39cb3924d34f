"""The sink of the transfer process: gathers bytes, keeps whole blocks, tells who asked."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from ..blocks.blobmap import write_blocks
from ..blocks.extents import BLOCK_SIZE
from ..blocks.gathering import Gathering
from ..errors import RemoteError
from ..model import Extent


class DiskRefuses(RemoteError):
    """Not an error of the remote, but the pouring ends all the same."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class Landing:
    """Keeps *extent* of a blob at *places*, descriptors of its map and data that are its own.

    *extent* begins with a block and ends with one, or with the blob.  *tell* is called with how far
    it is when the first byte comes and when somebody has asked; from any thread.
    """

    def __init__(
        self, extent: Extent, places: tuple[int, int], tell: Callable[[int], None]
    ) -> None:
        self._places = places
        self._tell = tell
        self._gathering = Gathering(extent, self._is_asked)
        self._lock = threading.Lock()
        self._asked: list[int] = []
        self._has_begun = False
        self._is_cancelled = False

    @property
    def kept(self) -> int:
        """All before this byte is kept."""
        return self._gathering.start

    def close(self) -> None:
        """Close the descriptors; nobody pours any more."""
        for place in self._places:
            os.close(place)

    def cancel(self) -> None:
        """Nobody wants the rest: the next step of whoever pours fails."""
        self._is_cancelled = True

    def ask(self, stop: int) -> None:
        """Tell when all before *stop* is kept."""
        with self._lock:
            if stop > self.kept:
                self._asked.append(stop)
                return
        self._tell(self.kept)

    def get_buffer(self) -> memoryview:
        if self._is_cancelled:
            raise RemoteError("nobody wants it any more")
        if not self._has_begun:
            self._has_begun = True
            self._tell(self.kept)
        return self._gathering.get_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        if self._gathering.add(nbytes):
            self._keep()

    def _is_asked(self, whole: int) -> bool:
        return any(stop <= whole for stop in self._asked)

    def _keep(self) -> None:
        try:
            write_blocks(self._places, self.kept // BLOCK_SIZE, self._gathering.whole)
        except OSError as error:
            raise DiskRefuses(error) from error
        with self._lock:
            self._gathering.take()
            due = self._is_asked(self.kept)
            self._asked = [stop for stop in self._asked if stop > self.kept]
        if due:
            self._tell(self.kept)
