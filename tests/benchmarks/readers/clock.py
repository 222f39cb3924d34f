"""Time and CPU time of an operation."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Iterator


class Clock:
    """Seconds, and CPU seconds of this process and its children, between `go` and `halt`."""

    def __init__(self) -> None:
        self.began = self.ended = self.cpu = 0.0

    def go(self) -> None:
        self.cpu = -_cpu()
        self.began = time.monotonic()

    def halt(self) -> None:
        self.ended = time.monotonic()
        self.cpu += _cpu()


def _cpu() -> float:
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


@contextlib.contextmanager
def timed(clock: Clock) -> Iterator[None]:
    clock.go()
    yield
    clock.halt()
