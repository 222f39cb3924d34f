"""Bandwidth: who may send how much by when."""

from __future__ import annotations

import threading
import time


class Throttle:
    """A line of so many bytes a second, shared by all who reserve on it, first come first served.

    It saves nothing up: time in which no one sent is lost.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free = 0.0  # when what was reserved will have passed

    def reserve(self, size: int, rate: float) -> float:
        """Seconds until *size* more bytes have passed at *rate*; send them then."""
        with self._lock:
            now = time.monotonic()
            self._free = max(now, self._free) + size / rate
            return self._free - now
