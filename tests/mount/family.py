"""What a daemon and the processes that it has started take of the machine."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path


def children(pid: int) -> list[int]:
    """The processes that it has started and that live."""
    found = []
    with contextlib.suppress(OSError):  # It may be ending.
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def peak_memory(pid: int) -> int:
    """KiB of the most that each of them ever had in memory, shared libraries included.

    OSError: the daemon is gone.
    """
    return sum(peaks(pid))


def peaks(pid: int) -> list[int]:
    """The same of each: first the daemon, then those that it has started."""
    found = [_peak(pid)]
    for child in children(pid):
        with contextlib.suppress(OSError):
            # Before it runs a program of its own, its memory is its parent's, and counted.
            if _program(child) not in (b"", _program(pid)):
                found.append(_peak(child))
    return found


def _program(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _peak(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    if found is None:
        raise ProcessLookupError(f"{pid} has ended")
    return int(found[1])
