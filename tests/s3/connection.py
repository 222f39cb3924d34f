"""One client's connection: its own thread, blocking sockets, heads written by hand.

A thread per connection keeps each byte in plain sight, which is what lying needs, and the two
things that cost (making bytes, sending them) both let go of the interpreter's lock. What the log
says of a piece is written before that piece is sent.
"""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import termios
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from tests.s3 import answers
from tests.s3.answers import Answer, http_date
from tests.s3.buckets import Body, Written
from tests.s3.faults import Fault
from tests.s3.lies import lie
from tests.s3.pace import Throttle
from tests.s3.request import BadRequest, Request, parse_head

if TYPE_CHECKING:
    from tests.s3.server import ProgrammableS3

_HEAD_LIMIT = 64 << 10
_GRAIN = 1 << 20
_LAST = 16 << 10  # a request is over, for the count of those in flight, before its last piece
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time to linger: RST
_PHRASES = {one.value: one.phrase for one in HTTPStatus} | {429: "Too Many Requests"}


class Broken(Exception):
    """The connection has ended, or must: a fault, the client, or the server's own end."""


class Connection:
    """Serves one accepted socket until either side ends it."""

    def __init__(self, server: ProgrammableS3, sock: socket.socket, number: int) -> None:
        self.number = number
        self._server, self._sock = server, sock
        self._unread = bytearray()
        self._throttle = Throttle()
        self._begun = time.monotonic()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self) -> None:
        """Answer until the end; the socket is closed whatever happens."""
        try:
            self._shake_hands()
            while (request := self._next_request()) is not None and self._serve(request):
                pass
        except (OSError, Broken):
            pass
        except Exception as bug:
            self._server.bugs.append(bug)
        finally:
            self._sock.close()
            self._server.forget(self)

    def hang_up(self) -> None:
        """End it from another thread, whatever it is doing."""
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:  # it has ended by itself
            pass

    def _shake_hands(self) -> None:
        """Take as long as TCP's and TLS's round trips over a distance: what is asked meanwhile
        waits."""
        left = self._begun + self._server.handshake - time.monotonic()
        if left > 0:
            self._pause(left)

    def _next_request(self) -> Request | None:
        while (end := self._unread.find(b"\r\n\r\n")) < 0:
            more = self._sock.recv(_HEAD_LIMIT)
            if not more or len(self._unread) > _HEAD_LIMIT:
                return None
            self._unread += more
        head = bytes(self._unread[:end])
        del self._unread[: end + 4]
        arrived = time.monotonic()
        try:
            request = parse_head(
                head, number=self._server.next_number(), connection=self.number, arrived=arrived
            )
        except BadRequest:
            self._sock.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            return None
        self._discard(int(request.headers.get("content-length", "0")))
        return request

    def _discard(self, size: int) -> None:
        """A body that a request brought is read and forgotten."""
        while len(self._unread) < size:
            more = self._sock.recv(_HEAD_LIMIT)
            if not more:
                raise Broken
            self._unread += more
        del self._unread[:size]

    def _serve(self, request: Request) -> bool:
        """Answer *request*; False if the connection ends with it."""
        server = self._server
        request.address(set(server.buckets))
        server.begin(request)
        try:
            made = answers.answer(server.buckets, request)
            request.status = made.status
            fault = server.fault_for(request)
            delay = server.delay
            if fault is not None:
                made = lie(fault, made, request=request, buckets=server.buckets)
                request.status, request.fault = made.status, fault.words
                delay += fault.delay
            if delay:
                self._pause(delay)
            self._send(made, request, fault or _NO_FAULT)
        except BaseException:
            request.broken = True
            raise
        finally:
            server.end(request)
        return request.keeps_alive and not (fault and fault.content_length_lie)

    def _send(self, made: Answer, request: Request, fault: Fault) -> None:
        if fault.raw is not None:
            self._sock.sendall(fault.raw)
            raise Broken
        if (fault.cut or 0) < 0:
            self._befall(fault)
        body: Body = Written(b"") if request.method == "HEAD" else made.body
        head = self._head(made, request)
        tail = b"\xee" * fault.long_body
        if made.chunked and len(body):
            head, tail = head + b"%x\r\n" % len(body), b"\r\n0\r\n\r\n"
        elif made.chunked:
            tail = b"" if request.method == "HEAD" else b"0\r\n\r\n"
        self._push(head, body, tail=tail, request=request, fault=fault)

    def _head(self, made: Answer, request: Request) -> bytes:
        phrase = _PHRASES.get(made.status, "Unknown")
        lines = [
            f"HTTP/1.1 {made.status} {phrase}",
            f"x-amz-id-2: {answers.host_id(request)}",
            f"x-amz-request-id: {answers.request_id(request)}",
        ]
        headers = made.headers
        if "Date" not in headers:  # A fault may say another.
            lines.append(f"Date: {http_date(int(time.time()))}")
        if made.chunked:
            lines.append("Transfer-Encoding: chunked")
        elif "Content-Length" not in headers and made.status != 304:
            headers["Content-Length"] = str(len(made.body))
        if not request.keeps_alive:
            lines.append("Connection: close")
        lines += [f"{name}: {text}" for name, text in headers.items()]
        lines.append("Server: AmazonS3\r\n\r\n")
        return "\r\n".join(lines).encode("latin-1", errors="replace")

    def _push(
        self, head: bytes, body: Body, *, tail: bytes, request: Request, fault: Fault
    ) -> None:
        """Send all three in pieces; where the fault's byte is reached, let it befall."""
        at, size, cut = 0, len(body), fault.cut
        if cut is not None and cut < 0:
            cut = None  # It befell before the head, and was lifted.
        grain = self._grain(fault)
        while cut is not None or at < size:
            if at == cut:
                self._write(head)
                self._befall(fault)
                head, cut = b"", None
                continue
            if at == size:  # the fault's byte lies beyond this body
                break
            stop = self._piece_end(at, size=size, cut=cut, grain=grain)
            view = body.view(at, stop)
            self._wait_for_turn(len(view), fault=fault, first=at == 0)
            if stop == size:
                self._server.end(request)
            request.sent += len(view)
            try:
                self._write(head, view, tail if stop == size else b"")
            except OSError:
                request.sent -= len(view)
                raise
            head, at = b"", stop
        if not size:
            self._server.end(request)
            self._write(head, tail)

    def _piece_end(self, at: int, *, size: int, cut: int | None, grain: int) -> int:
        stop = min(at + grain, size)
        if cut is not None:
            stop = min(stop, cut)
        return size - _LAST if stop == size and size - at > _LAST else stop

    def _grain(self, fault: Fault) -> int:
        if fault.trickle is not None:
            return max(1, fault.trickle[0])
        rates = [rate for rate in (self._server.rate, self._server.total_rate) if rate]
        # a piece takes a fiftieth of a second, so that a slow line is slow, not jerky
        return int(min([_GRAIN, *(max(1024, rate / 50) for rate in rates)]))

    def _wait_for_turn(self, size: int, *, fault: Fault, first: bool) -> None:
        server = self._server
        seconds = 0.0
        if server.rate:
            seconds = self._throttle.reserve(size, server.rate)
        if server.total_rate:
            seconds = max(seconds, server.throttle.reserve(size, server.total_rate))
        if fault.trickle is not None and not first:
            seconds = max(seconds, fault.trickle[1])
        if seconds > 0:
            self._pause(seconds)

    def _write(self, *views: bytes | memoryview) -> None:
        left = [memoryview(one) for one in views if len(one)]
        while left:
            sent = self._sock.sendmsg(left)
            while left and sent >= len(left[0]):
                sent -= len(left.pop(0))
            if sent:
                left[0] = left[0][sent:]

    def _pause(self, seconds: float) -> None:
        if self._server.stopping.wait(seconds):
            raise Broken

    def _befall(self, fault: Fault) -> None:
        """Stall, reset or close: the least position that is given is what happens."""
        if fault.stall_at == fault.cut:
            self._stall(fault)
            return
        if fault.reset_at == fault.cut:
            self._reset()
        raise Broken

    def _stall(self, fault: Fault) -> None:
        """Say nothing until the fault is lifted, or until there is no one to say it to."""
        gone = select.poll()
        gone.register(self._sock, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        while not fault.lifted.is_set():
            if gone.poll(0):
                raise Broken
            if fault.lifted.wait(0.02) or self._server.stopping.is_set():
                break
        if self._server.stopping.is_set():
            raise Broken

    def _reset(self) -> None:
        """Close with RST, once the kernel on the other side has what was sent before it."""
        deadline = time.monotonic() + 5  # a client that does not read must not hold the thread
        unsent = bytearray(4)
        while time.monotonic() < deadline:
            fcntl.ioctl(self._sock, termios.TIOCOUTQ, unsent)
            if not any(unsent):
                break
            self._pause(0.001)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


_NO_FAULT = Fault()
