"""What happened in a soak: reads, errors and what excuses them, and the verdict.

An error is excused by a window of time in which something was broken that may cause it. All else
is a violation: a wrong byte, an error without a cause, an answer that came too late.
"""

from __future__ import annotations

import errno
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

#: Seconds after a cause has gone in which its errors still arrive: reads that began under it.
AFTERMATH = 1.0

EIO, GONE = errno.EIO, (errno.ENOTCONN, errno.ECONNABORTED)
#: What programs get to see, by cause. 0: their words named no number.
EXCUSES: dict[str, tuple[int, ...]] = {
    "server down": (EIO, errno.ENETUNREACH, 0),
    "refusal for good": (EIO, errno.EACCES, 0),
    "daemon killed": (*GONE, errno.ENOENT, EIO, 0),
    "daemon terminated": (errno.ENOENT, *GONE, 0),
}


@dataclass
class Window:
    """From when to when something was broken."""

    cause: str
    begun: float
    ended: float = float("inf")


@dataclass
class Ledger:
    """Everything that is counted; written by many threads, each entry under the lock."""

    deadline: float
    latencies: list[float] = field(default_factory=list)
    reads: Counter[str] = field(default_factory=Counter)
    slowest: list[tuple[float, str]] = field(default_factory=list)
    bytes: int = 0
    troubles: Counter[str] = field(default_factory=Counter)
    fired: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    _errors: list[tuple[float, float, int, str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, said: dict[str, Any]) -> None:
        """A reader's piece of work."""
        with self._lock:
            self.reads[said["kind"]] += 1
            self.bytes += said["bytes"]
            self.latencies += said["latencies"]
            self.slowest = sorted([*self.slowest, *map(tuple, said["slow"])], reverse=True)[:5]
            self._errors += [tuple(error) for error in said["errors"]]
            self.violations += [f"WRONG: {what}" for what in said["wrong"]]

    def violate(self, what: str) -> None:
        with self._lock:
            self.violations.append(what)

    @contextmanager
    def broken(self, cause: str) -> Iterator[None]:
        """Errors of *cause* are excused meanwhile, and shortly after."""
        window = Window(cause, time.monotonic())
        self.windows.append(window)
        try:
            yield
        finally:
            window.ended = time.monotonic()

    # --- the verdict

    def causes(self) -> Counter[str]:
        """The errors by what excuses them; those that nothing excuses become violations."""
        found: Counter[str] = Counter()
        for begun, ended, number, what in self._errors:
            cause = self._excuse(begun, ended, number)
            found[cause or "NOTHING"] += 1
            if cause is None:
                name = errno.errorcode.get(number, str(number))
                self.violate(f"unexcused {name} after {ended - begun:.1f} s: {what}")
        self._errors = []
        return found

    def _excuse(self, begun: float, ended: float, number: int) -> str | None:
        for window in self.windows:
            overlaps = window.begun <= ended and begun <= window.ended + AFTERMATH
            if overlaps and number in EXCUSES[window.cause]:
                return window.cause
        return None

    def quantile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def judge_latency(self) -> None:
        slowest = self.quantile(1)
        if slowest > self.deadline:
            self.violate(f"an answer took {slowest:.1f} s, more than {self.deadline:.1f}")


def words(counts: Counter[str]) -> str:
    """``a 3, b 1``, the most frequent first."""
    return ", ".join(f"{name} {n}" for name, n in counts.most_common()) or "none"


def size(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
