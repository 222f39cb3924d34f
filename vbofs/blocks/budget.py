"""How much memory the daemon may take for blocks, and who has it.

``--memory`` is for the whole process.  What is not ours to steer, the interpreter, boto3, names and
attributes, is set aside; the rest is shared out here.  Blocks pass through memory only on their way
from the network to somebody who waits; everything else is on disk.  So it is the waiting that is
bounded: a read that finds no memory waits its turn before it asks for anything, and holds nothing
meanwhile.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncIterator
from typing import NamedTuple

import trio

from ..config import LEAST_MEMORY

#: Bytes that a daemon takes before it reads, three releases looked into: 86 MB, and some room.
RESIDENT = 96_000_000
#: Bytes that the process for transfers takes with its buffers: 36 MB were seen, at full speed; and
#: how many bytes there must be in all for it to be worth them.
TRANSFERS, WITH_TRANSFERS = 48_000_000, 192_000_000
#: Bytes of Python objects for a block that is to be fetched: its flight, its event, its keys.
PER_FLIGHT = 1 << 10
#: Bytes of Python objects for a blob that is open on disk: itself, and when its parts were used.
PER_FILE = 8 << 10


class Shares(NamedTuple):
    """What *memory* is for, in bytes; *ahead* and *files* are numbers of blocks and of blobs."""

    reads: int
    chases: int
    ahead: int
    files: int
    free: int

    @classmethod
    def of(cls, memory: int) -> Shares:
        """Half for reads that wait, and an eighth each for the rest; an eighth stays free, for the
        buffers of the connections and for what the allocator cannot give back."""
        ours = max(memory, LEAST_MEMORY) - RESIDENT
        if allows_transfers(memory):
            ours -= TRANSFERS
        eighth = ours // 8
        return cls(ours // 2, eighth, eighth // PER_FLIGHT, eighth // PER_FILE, eighth)


def allows_transfers(memory: int) -> bool:
    """Whether of so many bytes a process of its own may be given to transfers."""
    return memory >= WITH_TRANSFERS


#: The shares of a daemon to which nothing else is said.
USUAL = Shares.of(256_000_000)


class Budget:
    """*size* bytes, lent in the order of asking, so that a large read is not overtaken for ever."""

    def __init__(self, size: int) -> None:
        self._free = self._size = size
        self._queue: deque[tuple[int, trio.Event]] = deque()

    def __repr__(self) -> str:
        return f"<Budget {self._size - self._free} of {self._size}, {len(self._queue)} waiting>"

    @property
    def waiting(self) -> int:
        """How many have asked and have nothing yet."""
        return len(self._queue)

    @contextlib.asynccontextmanager
    async def lent(self, size: int) -> AsyncIterator[None]:
        """Have *size* bytes, or all there are, for as long as this lasts; no checkpoint if there
        are so many free."""
        size = min(size, self._size)
        if self._queue or size > self._free:
            await self._turn(size)
        else:
            self._free -= size
        try:
            yield
        finally:
            self._free += size
            self._serve()

    async def _turn(self, size: int) -> None:
        entry = size, trio.Event()
        self._queue.append(entry)
        try:
            await entry[1].wait()
        except BaseException:  # The reader has gone away.
            if entry[1].is_set():
                self._free += size
            else:
                self._queue.remove(entry)
            self._serve()
            raise

    def _serve(self) -> None:
        while self._queue and self._queue[0][0] <= self._free:
            size, given = self._queue.popleft()
            self._free -= size
            given.set()
