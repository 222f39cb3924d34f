"""Waiting for something that another process does: by looking, with a deadline, never blindly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds between two looks.
PAUSE = 0.02


def eventually(look: Callable[[], T], within: float = 15, what: str = "") -> T:
    """The first true answer of *look*; AssertionError if there is none *within* so many seconds."""
    deadline = time.monotonic() + within
    never = threading.Event()
    while True:
        answer = look()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"{what or look} did not come true in {within} s"
        never.wait(PAUSE)
