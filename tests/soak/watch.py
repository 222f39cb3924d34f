"""The daemon from outside: its memory, its descriptors, its status and its log."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from pathlib import Path

from tests.mount.family import peaks
from tests.mount.machine import Machine, Mounted
from tests.soak.ledger import Ledger

#: Seconds between two looks.
PAUSE = 0.25
#: KiB and descriptors that a daemon may take at the most.
MOST_MEMORY, MOST_DESCRIPTORS = 256 << 10, 512
_ALARM = re.compile(r"Traceback|Exception ignored| CRITICAL |a bug")


class Watch(threading.Thread):
    """Looks at the daemon of the day until stopped."""

    def __init__(self, machine: Machine, ledger: Ledger) -> None:
        super().__init__(name="watch", daemon=True)
        self.machine, self.ledger = machine, ledger
        self.mounted: Mounted | None = None
        self.peaks: list[int] = []  # KiB: those that were the most together.
        self.peak_descriptors = 0
        self.evicted = self.damaged = self.retried = 0
        self._last: dict[str, int] = {}
        self._offsets: dict[int, int] = {}
        self._ended = threading.Event()

    def follow(self, mounted: Mounted | None) -> None:
        """From now on look at *mounted*; None: the daemon is about to be ended, by us."""
        self._count_up()
        self.mounted = mounted

    def run(self) -> None:
        looks = 0
        while not self._ended.wait(PAUSE):
            mounted, looks = self.mounted, looks + 1
            if mounted is not None:
                self._look(mounted)
                if looks % 4 == 0:
                    self._ask(mounted)
            if looks % 20 == 0:
                self.read_log()

    def stop(self) -> None:
        self._ended.set()
        self.join()
        self._count_up()
        self.read_log()

    def _look(self, mounted: Mounted) -> None:
        place = Path(f"/proc/{mounted.pid}")
        try:
            memory = peaks(mounted.pid)
            descriptors = len(os.listdir(place / "fd"))
        except OSError:
            if self.mounted is mounted:
                self.ledger.violate(f"the daemon {mounted.pid} is gone, and nobody ended it")
                self.mounted = None
            return
        self.peaks = max(self.peaks, memory, key=sum)
        self.peak_descriptors = max(self.peak_descriptors, descriptors)

    def _ask(self, mounted: Mounted) -> None:
        with contextlib.suppress(OSError, ValueError, KeyError):  # It may be being killed.
            status = mounted.status()
            if self.mounted is mounted:
                cache = status["cache"]
                self._last = {name: cache[name] for name in ("evicted", "damaged")}
                self._last["retried"] = status["requests"]["retried"]

    def _count_up(self) -> None:
        """A daemon's counts end with it."""
        last, self._last = self._last, {}
        for name, count in last.items():
            setattr(self, name, getattr(self, name) + count)

    def read_log(self) -> None:
        """Tracebacks in what was logged since the last look, in rotated files too."""
        for path in sorted(self.machine.home.glob(".local/state/vbofs/log/*.log*"), reverse=True):
            with contextlib.suppress(OSError), path.open(errors="replace") as file:
                inode = os.fstat(file.fileno()).st_ino
                file.seek(self._offsets.get(inode, 0))
                for line in iter(file.readline, ""):
                    if _ALARM.search(line):
                        self.ledger.violate(f"in the log: {line.strip()[:300]}")
                self._offsets[inode] = file.tell()

    @property
    def peak_memory(self) -> int:
        """KiB of the daemon and of the processes that it has started."""
        return sum(self.peaks)

    def judge(self) -> None:
        if self.peak_memory > MOST_MEMORY:
            self.ledger.violate(f"the daemon took {self.peak_memory} KiB")
        if self.peak_descriptors > MOST_DESCRIPTORS:
            self.ledger.violate(f"the daemon had {self.peak_descriptors} descriptors")
