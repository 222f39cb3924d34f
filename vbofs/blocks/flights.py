"""What is under way: flights of blocks, the requests that carry them, and why they are wanted."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import trio

from ..model import Blob
from ..remote.waits import Waits
from .blobfile import BlobFile


class Priority(enum.IntEnum):
    """Why a block is wanted; the lowest goes first."""

    DEMAND = 0
    CHASE = 1
    READ_AHEAD = 2
    PREFETCH = 3


@dataclass(eq=False, slots=True)
class Flight:
    """One block under way.  *content* is set for those who wait, and where the disk refuses.

    *waiters* want its bytes; *onlookers* only want it to be on disk.
    """

    waits: Waits = field(default_factory=Waits)
    landed: trio.Event = field(default_factory=trio.Event)
    waiters: int = 0
    onlookers: int = 0
    content: bytes | None = None
    error: Exception | None = None
    request: Request | None = None


@dataclass(eq=False, slots=True)
class Request:
    """Adjacent blocks of one blob, one GET."""

    blob: Blob
    blocks: range
    priority: Priority
    serial: int
    flights: dict[int, Flight]
    waits: Waits
    queued_at: float = field(default_factory=trio.current_time)
    #: Written by the sink: blocks that are complete, and those of them announced one by one.
    complete: set[int] = field(default_factory=set)
    announced: set[int] = field(default_factory=set)
    is_queued: bool = True
    #: Opened when it flies: hundreds may queue, and a file is two descriptors.
    file: BlobFile | None = None
    life: trio.CancelScope = field(default_factory=trio.CancelScope)
    #: Nobody wants the rest any more.  Read by the sink, in its thread.
    is_abandoned: bool = False
    #: Where another process fetches it: has it tell when it has kept what is before an offset.
    ask: Callable[[int], None] | None = None

    @property
    def is_wanted(self) -> bool:
        """Somebody waits for one of its blocks."""
        return any(flight.waiters or flight.onlookers for flight in self.flights.values())

    @property
    def left(self) -> int:
        """Blocks that are not complete."""
        return len(self.flights.keys() - self.complete)


@dataclass(frozen=True)
class FetcherStatistics:
    """Counts since the daemon began, but *flying* and *queued*, which are of this moment.

    In blocks, but *failed*, which counts requests; *hits* were on disk when they were read.
    """

    demanded: int
    chased: int
    read_ahead: int
    prefetched: int
    joined: int
    failed: int
    flying: int
    queued: int
    hits: int


@contextlib.contextmanager
def waiting_for(flights: Iterable[Flight]) -> Iterator[None]:
    counted = list(flights)
    for flight in counted:
        flight.waiters += 1
    try:
        yield
    finally:
        for flight in counted:
            flight.waiters -= 1
