"""systemd's end of the notification socket, for daemons that a test starts itself."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from tests.mount.machine import VBOFS, Machine
from tests.mount.waiting import eventually

#: What is published for it: a release with one file.
FILE = "behavior_sessions/one.nwb"
SIZE = 300_000


class ServiceManager:
    """Hears what is said to ``NOTIFY_SOCKET``: *lines*; *channel* is the last descriptor."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "notify")
        self.lines: list[str] = []
        self.channel = -1
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.setblocking(False)

    def hear(self) -> list[str]:
        """Take what has been said by now; all lines so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                text, descriptors, _, _ = socket.recv_fds(self._socket, 4096, 4)
                self.lines += text.decode(errors="surrogateescape").split("\n")
                for descriptor in descriptors:
                    self.channel = descriptor
        return self.lines

    def await_line(self, start: str, times: int = 1) -> None:
        def has_come() -> bool:
            return sum(line.startswith(start) for line in self.hear()) >= times

        eventually(has_come, 20, f"{times} times {start} in {self.lines}")

    def close(self) -> None:
        self._socket.close()
        if self.channel >= 0:
            os.close(self.channel)


@contextlib.contextmanager
def service(
    machine: Machine,
    manager: ServiceManager,
    *words: str,
    pass_fds: tuple[int, ...] = (),
    **env: str,
) -> Iterator[int]:
    """``vbofs mount --foreground`` as systemd runs it; its pid, once it is ready."""
    command = [*VBOFS, "mount", "--foreground", *words]
    with (machine.root / "service.log").open("ab") as log:
        daemon = machine.start(
            *command,
            env={"NOTIFY_SOCKET": manager.address, **env},
            stdin=-3,
            stdout=log,
            stderr=log,
            pass_fds=pass_fds,
        )
    try:
        manager.await_line("READY=1")
        yield daemon.pid
    finally:
        daemon.terminate()
        daemon.wait(20)
