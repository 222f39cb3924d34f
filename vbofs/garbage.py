"""Python's garbage collector: when it must not run, and what it need not look at.

The modules, botocore's model of S3 and the names of a release are some 300,000 objects.  They are
made at the start and never become garbage, but every full collection looks at each of them, for 40
to 50 ms in which nobody is answered: three times while a mount starts, and once more in the first
listing of a file.
"""

from __future__ import annotations

import gc
import threading


def put_off() -> None:
    """Collect nothing until ``begin``: all that is made now is there to stay."""
    gc.disable()


def begin() -> None:
    """Collect from now on, but only what is made from now on."""
    gc.freeze()
    gc.enable()


class _NoCollection:
    """Keeps the garbage collector off from the first who enters until the last who leaves."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._was_enabled = False

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._was_enabled = gc.isenabled()
                gc.disable()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._was_enabled:
                gc.enable()


#: A context, one for the whole process, in which no cyclic garbage is collected.
NO_COLLECTION = _NoCollection()
