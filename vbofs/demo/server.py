"""The sample's S3 server as a process that outlives whoever started it, and can be found again.

The folder given to ``DemoServer`` holds ``server.json`` (pid and URL, written by the server when
it listens, removed when it ends), ``server.log`` and ``server.lock``. The state file is a claim,
not a fact: a process is ours only if its command line says so, and it serves only if it answers
with its own pid. Pids are turned into pidfds before they are trusted, so a pid that was given to
someone else in the meantime is never signalled. ``start`` and ``stop`` hold the lock; ``url`` does
not need it.
"""

from __future__ import annotations

import fcntl
import http.client
import importlib.util
import json
import os
import select
import signal
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .trouble import DemoFailed, DemoUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NEEDED = ("moto", "flask", "flask_cors")  # what moto[server] brings
HOST = "127.0.0.1"
MODULE = "vbofs.demo.serving"
ALIVE = "/vbofs-demo/alive"  # no bucket of ours; answered with the server's pid
START_DEADLINE = 60.0  # seconds; importing moto takes one or two, ten on a cold disk
STOP_DEADLINE = 2.0  # seconds from SIGTERM to SIGKILL; it has nothing to save
ANSWER_DEADLINE = 5.0  # seconds; loopback, but moto may be busy with an upload


@dataclass(frozen=True)
class _State:
    """What ``server.json`` says."""

    pid: int
    url: str


class DemoServer:
    """The server whose folder is *state*, whether it runs or not."""

    def __init__(self, state: Path) -> None:
        self._folder = state.resolve()

    def __repr__(self) -> str:
        return f"DemoServer({str(self._folder)!r})"

    def start(self, port: int = 0) -> str:
        """The URL of the running server; starts it, on *port* or a free one, if there is none."""
        for package in NEEDED:
            if importlib.util.find_spec(package) is None:
                raise DemoUnavailable(package)
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            return self.url() or self._spawn(port)

    def url(self) -> str | None:
        """Where it serves, or None if it does not."""
        state = self._state()
        return state.url if state and _answers(state) else None

    def stop(self) -> bool:
        """End the server; False if there was none."""
        if not self._folder.exists():
            return False
        with self._locked():
            state = self._state()
            stopped = state is not None and self._end(state.pid)
            self._state_file.unlink(missing_ok=True)
            return stopped

    # --- the folder

    @property
    def _state_file(self) -> Path:
        return self._folder / "server.json"

    def _state(self) -> _State | None:
        try:
            return _State(**json.loads(self._state_file.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._folder / "server.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    # --- the process

    @property
    def _command(self) -> list[str]:
        return [sys.executable, "-m", MODULE, str(self._state_file)]

    def _spawn(self, port: int) -> str:
        """Start the process and wait until it says, through a pipe, that it listens."""
        ready, announce = os.pipe()
        log = os.open(self._folder / "server.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            command = [*self._command, str(port)]
            pid = _spawn_detached(command, stdout=announce, stderr=log)
        finally:
            os.close(announce)
            os.close(log)
        with open(ready, "rb") as pipe:
            listening = select.select([pipe], [], [], START_DEADLINE)[0] and pipe.read()
        state = self._state()
        if not listening or state is None:
            self._end(pid)
            raise DemoFailed(f"the sample's server did not start; see {self._folder}/server.log")
        return state.url

    def _is_ours(self, pid: int) -> bool:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")
        except OSError:
            return False
        return MODULE in words and str(self._state_file) in words

    def _end(self, pid: int) -> bool:
        """End *pid* if it is our server; it is gone when this returns."""
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        try:
            if not self._is_ours(pid):
                return False
            _terminate(process)
        finally:
            os.close(process)
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)  # ours to bury if this process started it
        return True


def _spawn_detached(command: list[str], *, stdout: int, stderr: int) -> int:
    """Start *command* in a session of its own.

    Not ``subprocess``: its Popen complains when it is dropped while the process still runs, which
    is the point of this one.
    """
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, stdout, 1),
        (os.POSIX_SPAWN_DUP2, stderr, 2),
    ]
    # glibc keeps freed memory of up to 32 MiB a piece; uploads would leave half a gigabyte behind.
    environ = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(256 << 10)}
    return os.posix_spawn(command[0], command, environ, file_actions=actions, setsid=True)


def _terminate(process: int) -> None:
    """SIGTERM, and SIGKILL if that is not heard; a pidfd is readable once its process has ended."""
    for order in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, order)
        if select.select([process], [], [], STOP_DEADLINE)[0]:
            return


def _answers(state: _State) -> bool:
    """Whether the server at that URL is the process of that pid."""
    connection = http.client.HTTPConnection(urlsplit(state.url).netloc, timeout=ANSWER_DEADLINE)
    try:
        connection.request("GET", ALIVE)
        return connection.getresponse().read() == str(state.pid).encode()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
