"""Offers metrics to Prometheus on a port, and to the node exporter in a file.

The port is taken before anything is mounted, so that a bad one is said to whoever mounts.  It is
answered by one thread, one request at a time, with a time-out: whatever asks, and however often,
costs the mount no more than one look at its counts a second.  A file that cannot be written any
more is said in the log; the mount goes on.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import socket
import socketserver
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import trio

from .. import metrics
from ..config import Settings
from ..errors import MetricsUnavailable

log = logging.getLogger(__name__)

Status = Callable[[], Awaitable[dict[str, Any]]]

#: Seconds that a client may take for each piece of its request or of our answer.
PATIENCE = 5.0
#: Seconds for which an answer is given again: any user of the machine may ask without end, and
#: making one takes milliseconds from the readers.
FRESH = 1.0


class Exporter:
    """What *settings* ask for: a port taken, a file that can be written, or neither."""

    def __init__(self, server: _Server | None, file: Path | None, interval: float) -> None:
        self._server = server
        self._file = file
        self._interval = interval
        self._writing = trio.CancelScope()

    async def run(self, status: Status) -> None:
        """Offer what *status* says, until cancelled.  Never raises anything else."""
        try:
            if self._server is not None:
                self._server.begin(status)
            if self._file is not None:
                with self._writing:
                    await self._write_regularly(self._file, status)
        except Exception:  # This task's nursery is the mount's.
            log.exception("metrics: a bug; the mount goes on without them")

    async def _write_regularly(self, path: Path, status: Status) -> None:
        try:
            while True:
                try:
                    await trio.to_thread.run_sync(_write, path, await status())
                except OSError as error:
                    log.warning("the metrics file %s cannot be written: %s", path, error)
                await trio.sleep(self._interval)
        finally:
            # What is said of a mount that is gone would be taken for true.
            _remove(path)

    def release(self) -> None:
        """Let go of port and file: the mount's name is gone, and its next daemon wants them."""
        self._writing.cancel()
        if self._server is not None:
            self._server.end()


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[Exporter]:
    """Take the port and look at the file's directory.  MetricsUnavailable."""
    if settings.metrics_file is not None:
        _check(settings.metrics_file)
    port = settings.metrics_port
    server = _listening(settings.metrics_address, port) if port is not None else None
    exporter = Exporter(server, settings.metrics_file, settings.metrics_interval)
    try:
        yield exporter
    finally:
        exporter.release()


def _check(path: Path) -> None:
    if path.suffix != ".prom":
        raise MetricsUnavailable(f"--metrics-file: {path} must end in .prom to be looked at")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise MetricsUnavailable(f"--metrics-file: {path.parent} is no directory to write into")


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _write(path: Path, state: dict[str, Any]) -> None:
    """Replace *path*; whoever reads it sees the old one or the new one, never a half."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(metrics.exposition([state]))
        draft.chmod(0o644)  # The node exporter is another user.
        os.replace(draft, path)
    finally:
        _remove(draft)


# --- the port


def _listening(address: str, port: int) -> _Server:
    try:
        version = ipaddress.ip_address(address).version
    except ValueError as error:
        raise MetricsUnavailable(f"--metrics-address: {address!r} is no IP address") from error
    kind = _Server6 if version == 6 else _Server
    try:
        return kind((address, port), _Answer)
    except (OSError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise MetricsUnavailable(
            f"--metrics-port: cannot listen on {address} port {port}: {why}; name another port"
        ) from error


class _Server(HTTPServer):
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

    def begin(self, status: Status) -> None:
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


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Answer(BaseHTTPRequestHandler):
    timeout = PATIENCE
    server: _Server

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
