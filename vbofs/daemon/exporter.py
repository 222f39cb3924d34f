"""Offers metrics to Prometheus on a port, and to the node exporter in a file.

The port is taken before anything is mounted, so that a bad one is said to whoever mounts.  It is
answered by one thread, one request at a time, with a time-out: whatever asks, and however often,
costs the mount no more than one look at its counts a second.  A file that cannot be written any
more is said in the log; the mount goes on.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from .. import metrics
from ..config import Settings
from ..errors import MetricsUnavailable

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from .metrics_port import MetricsPort

Status = Callable[[], Awaitable[dict[str, Any]]]


class Exporter:
    """What *settings* ask for: a port taken, a file that can be written, or neither."""

    def __init__(self, server: MetricsPort | None, file: Path | None, interval: float) -> None:
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
    server = None
    if settings.metrics_port is not None:
        from .metrics_port import listening  # Nobody else needs an HTTP server.

        server = listening(settings.metrics_address, settings.metrics_port)
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
