"""A client that sees bytes, not a protocol: what a server said, and how the connection ended."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


@dataclass
class Reply:
    """What came back. *end* is "" if the connection lives on, else "close", "reset", "silence"."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)  # lower-case names
    body: bytes = b""
    end: str = ""


class RawClient:
    """One connection to *url*; *patience* is how many seconds of silence it takes as such."""

    def __init__(self, url: str, *, patience: float = 5) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._host = parts.netloc
        self._sock = socket.create_connection((parts.hostname, parts.port or 80), patience)
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._sock.close()

    def get(self, target: str, *, method: str = "GET", **headers: str) -> Reply:
        """Ask for *target*, and read as much as its Content-Length or chunks promise."""
        self.send(target, method=method, **headers)
        return self.reply(method)

    def send(self, target: str, *, method: str = "GET", **headers: str) -> None:
        lines = [f"{method} {target} HTTP/1.1"]
        named = {"host": self._host, **headers}
        lines += [f"{name.replace('_', '-')}: {text}" for name, text in named.items()]
        self._sock.sendall("\r\n".join([*lines, "", ""]).encode())

    def reply(self, method: str = "GET") -> Reply:
        reply = Reply()
        head = self._until(b"\r\n\r\n", reply)
        if reply.end:
            reply.body = head
            return reply
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        reply.status = int(first.split()[1])
        reply.headers = {
            name.lower(): text for name, _, text in (line.partition(": ") for line in lines)
        }
        if reply.headers.get("transfer-encoding") == "chunked":
            self._chunks(reply)
        elif method != "HEAD":
            reply.body = self._exactly(int(reply.headers.get("content-length", "0")), reply)
        return reply

    def reply_body(self, size: int) -> bytes:
        """So many bytes more, beyond what a reply held or promised."""
        return self._exactly(size, Reply())

    def rest(self) -> tuple[bytes, str]:
        """What else comes until the connection ends, and how it ends."""
        reply = Reply()
        while not reply.end:
            self._more(reply)
        return self._unread, reply.end

    def _chunks(self, reply: Reply) -> None:
        while not reply.end:
            size = int(self._until(b"\r\n", reply) or b"0", 16)
            reply.body += self._exactly(size, reply)
            self._until(b"\r\n", reply)
            if not size:
                return

    def _until(self, mark: bytes, reply: Reply) -> bytes:
        while mark not in self._unread and not reply.end:
            self._more(reply)
        at = self._unread.find(mark)
        return self._exactly(at + len(mark) if at >= 0 else len(self._unread), reply)

    def _exactly(self, size: int, reply: Reply) -> bytes:
        while len(self._unread) < size and not reply.end:
            self._more(reply)
        found, self._unread = self._unread[:size], self._unread[size:]
        return found

    def _more(self, reply: Reply) -> None:
        try:
            more = self._sock.recv(1 << 20)
        except TimeoutError:
            reply.end = "silence"
        except ConnectionResetError:
            reply.end = "reset"
        else:
            self._unread += more
            reply.end = "" if more else "close"
