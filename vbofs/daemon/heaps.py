"""The C library's heaps: what has been freed in them is given back to the system.

Blocks of many sizes and lives pass through a few dozen threads.  What they leave behind is free but
lies between what is used, so glibc keeps it: after minutes of hard work as much again as is used.
``--memory`` is for all that the daemon takes, whoever calls it free.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
from collections.abc import Callable

import trio

from ..blocks.fetcher import Fetcher

log = logging.getLogger(__name__)

#: Seconds between two looks while somebody reads.
PAUSE = 1.0
#: From <malloc.h>.
_M_ARENA_MAX = -8
_FIELDS = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)


class _Mallinfo(ctypes.Structure):
    """mallinfo(3)'s answer before glibc 2.33, where it counts up to 2 GiB."""

    _fields_ = [(name, ctypes.c_int) for name in _FIELDS]


class _Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in _FIELDS]


def share() -> None:
    """Have the worker threads share two heaps: glibc gives each of 64 threads one of its own, and
    what is freed in one is of no use to the others.  Other C libraries do without."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def free_bytes() -> int:
    """Bytes that the heaps hold and nobody uses; 0 where the C library does not tell."""
    libc = ctypes.CDLL(None)
    for name, answer in (("mallinfo2", _Mallinfo2), ("mallinfo", _Mallinfo)):
        with contextlib.suppress(AttributeError):
            ask: Callable[[], ctypes.Structure] = getattr(libc, name)
            ask.restype = answer  # type: ignore[attr-defined]
            return int(ask().fordblks)
    return 0


def give_back() -> None:
    """Give whole free pages back to the system, wherever in the heaps they lie (malloc_trim(3))."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


async def tend(fetcher: Fetcher, most: int) -> None:
    """While somebody reads, and once when he has come to rest, see that no more than some *most*
    bytes lie free.  An idle mount never wakes for it."""
    try:
        while True:
            await fetcher.stirred()
            while fetcher.is_busy:
                await trio.sleep(PAUSE)
                if free_bytes() > most:
                    await trio.to_thread.run_sync(give_back)
            await trio.to_thread.run_sync(give_back)
    except Exception:  # Its nursery is the mount's.
        log.exception("a bug; the daemon will take more memory than it needs")
