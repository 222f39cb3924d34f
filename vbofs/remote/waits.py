"""Where the time of one request goes: noted on its way down, read by who wonders why it took long.

The note travels as a context variable, which trio hands on to the worker thread too, so that the
seam to the remote says nothing about it and a store that notes nothing is no worse a store.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from time import perf_counter


@dataclass(slots=True)
class Waits:
    """Seconds that one request spent, so far: queued, without a network, without a free connection,
    without an answer, between attempts; how often it was tried, and why it was tried again.

    *doing*: what it waits for at the moment, and since when; a reader may give up meanwhile.
    """

    queue: float = 0.0
    network: float = 0.0
    connection: float = 0.0
    server: float = 0.0
    pauses: float = 0.0
    attempts: int = 0
    error: str = ""
    doing: tuple[str, float] | None = None

    def seconds(self, what: str) -> float:
        """Of one of the fields, with what is still going on."""
        so_far: float = getattr(self, what)
        if self.doing is not None and self.doing[0] == what:
            so_far += perf_counter() - self.doing[1]
        return so_far

    def total(self) -> float:
        return sum(map(self.seconds, _WORDS))

    def __str__(self) -> str:
        parts = {words: self.seconds(what) for what, words in _WORDS.items()}
        said = [f"{seconds:.1f} s {words}" for words, seconds in parts.items() if seconds >= 0.05]
        if self.attempts > 1:
            said.append(f"{self.attempts} attempts: {self.error}")
        return ", ".join(said) or "the bytes came slowly"


_WORDS = {
    "queue": "in the queue",
    "network": "for the network to come back",
    "connection": "for a connection",
    "server": "for the server's answer",
    "pauses": "between attempts",
}
_current: ContextVar[Waits | None] = ContextVar("waits", default=None)


def begin(waits: Waits) -> None:
    """What this task asks for from now on is noted in *waits*."""
    _current.set(waits)


def current() -> Waits:
    """The note of this task's request; one that nobody reads where nobody has begun one."""
    return _current.get() or Waits()


@contextlib.contextmanager
def waiting_for(what: str) -> Iterator[None]:
    """Add the time that passes in here to *what*, a field of the current note."""
    waits = current()
    waits.doing = what, perf_counter()
    try:
        yield
    finally:
        setattr(waits, what, waits.seconds(what))
        waits.doing = None
