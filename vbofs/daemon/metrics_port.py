"""The port on which Prometheus asks: one thread, that can neither fail a read nor end a mount."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import trio

from .. import metrics
from ..errors import MetricsUnavailable

log = logging.getLogger(__name__)

#: Seconds that a client may take for each piece of its request or of our answer.
PATIENCE = 5.0
#: Seconds for which an answer is given again: any user of the machine may ask without end, and
#: making one takes milliseconds from the readers.
FRESH = 1.0


def listening(address: str, port: int) -> MetricsPort:
    """Take *port*; nobody is answered before ``begin``.  MetricsUnavailable."""
    try:
        version = ipaddress.ip_address(address).version
    except ValueError as error:
        raise MetricsUnavailable(f"--metrics-address: {address!r} is no IP address") from error
    kind = _MetricsPort6 if version == 6 else MetricsPort
    try:
        return kind((address, port), _Answer)
    except (OSError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise MetricsUnavailable(
            f"--metrics-port: cannot listen on {address} port {port}: {why}; name another port"
        ) from error


class MetricsPort(HTTPServer):
    """One thread; a crowd waits in the kernel's queue, and a long one is refused."""

    request_queue_size = 16
    _status: Callable[[], dict[str, Any]]
    _thread: threading.Thread | None = None
    _ended = False
    _body = b""
    _made_at = -FRESH

    def server_bind(self) -> None:
        # HTTPServer's own asks the name service for our name, which may take for ever.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), 0

    def begin(self, status: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        if self._ended:
            return  # Somebody unmounts already.
        token = trio.lowlevel.current_trio_token()
        self._status = lambda: trio.from_thread.run(status, trio_token=token)
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)
        self._thread.start()

    def body(self) -> bytes:
        """The metrics of this moment; the daemon's own thread counts, this one writes."""
        if time.monotonic() - self._made_at >= FRESH:
            self._body = metrics.exposition([self._status()])
            self._made_at = time.monotonic()
        return self._body

    def _serve(self) -> None:
        # Not serve_forever: it wakes twice a second, and cannot be ended without waiting for it.
        while not self._ended:
            self.handle_request()
        self.server_close()

    def end(self) -> None:
        """Stop listening at once; an answer that is under way is finished."""
        if self._ended:
            return
        self._ended = True
        if self._thread is None:
            self.server_close()
        else:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)  # Wakes the thread, which closes.

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("metrics: a client went away", exc_info=True)


class _MetricsPort6(MetricsPort):
    address_family = socket.AF_INET6


class _Answer(BaseHTTPRequestHandler):
    timeout = PATIENCE
    server: MetricsPort

    def do_GET(self) -> None:  # http.server's name for it.
        if self.path.partition("?")[0] not in ("/metrics", "/"):
            self.send_error(404)
            return
        try:
            body = self.server.body()
        except (trio.RunFinishedError, trio.Cancelled):
            self.send_error(503)
            return
        except Exception:
            log.exception("metrics: a bug; the mount goes on")
            self.send_error(500)
            return
        self.send_response(200)
        self.send_header("Content-Type", metrics.CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        return "vbofs"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Scrapes are no events."""
