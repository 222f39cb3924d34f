"""The server as a process of its own, so that it shares no interpreter lock with the client.

`serve` is the process: it prints its URL as a line, then obeys commands, a JSON object per line
of stdin, and answers each with a line; it ends with its stdin or SIGTERM. `S3Process` is the
other end: it starts one and speaks for the test. Faults cross as Fault's fields, without the
ones that are Python (`when`) or bytes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from tests.s3.faults import Fault

if TYPE_CHECKING:
    from tests.s3.request import Request
    from tests.s3.server import ProgrammableS3

_ROOT = Path(__file__).resolve().parents[2]
_SETTINGS = ("delay", "handshake", "rate", "total_rate")
_LOGGED = (
    *("number", "connection", "arrived", "method", "bucket", "key", "version_id", "operation"),
    *("range", "status", "sent", "finished", "fault", "broken"),
)


def serve(s3: ProgrammableS3, commands: TextIO, replies: TextIO) -> None:
    """Print the URL of the running *s3* and obey until *commands* end."""
    print(s3.url, file=replies, flush=True)
    for line in commands:
        try:
            reply = {"ok": obey(s3, **json.loads(line))}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


def obey(s3: ProgrammableS3, *, command: str, **words: Any) -> Any:
    """Carry out one command."""
    if command == "set":
        for name, value in words.items():
            if name not in _SETTINGS:
                raise ValueError(name)
            setattr(s3, name, value)
    elif command == "fault":
        s3.faults.append(Fault(**words))
    elif command == "put":
        return s3.put(words.pop("bucket"), words.pop("key"), words.pop("text").encode(), **words)
    elif command == "put_virtual":
        return s3.put_virtual(**words)
    elif command in ("heal", "up", "down", "clear_log"):
        getattr(s3, command)(**words)
    elif command == "requests":
        return [_logged(one) for one in s3.requests]
    elif command == "counts":
        return {**s3.counts(), "bytes_sent": s3.bytes_sent, "peak_in_flight": s3.peak_in_flight}
    else:
        raise ValueError(command)
    return None


def _logged(request: Request) -> dict[str, Any]:
    return {name: getattr(request, name) for name in _LOGGED}


class S3Process:
    """`python -m tests.s3` with these arguments, as a context manager; paths must be absolute."""

    def __init__(self, *argv: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.s3", *argv],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        self.url = self._line()

    def command(self, command: str, **words: Any) -> Any:
        """Have *command* obeyed, and return what it gives: `command("set", delay=0.05)`."""
        assert self._process.stdin is not None
        print(json.dumps({"command": command, **words}), file=self._process.stdin, flush=True)
        reply = json.loads(self._line())
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply["ok"]

    def stop(self) -> None:
        """End it by ending its stdin."""
        self._process.communicate(timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.stop()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.communicate()
            raise RuntimeError(f"the S3 process ended with status {self._process.returncode}")
        return line.strip()
