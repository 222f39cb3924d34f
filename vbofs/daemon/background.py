"""A daemon and the command that starts it: fork, report once, log, and go on alone."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import platformdirs
import trio

from .. import logs, systemd
from ..config import Settings, check_apart
from ..errors import LogUnwritable, Refused, VbofsError
from ..handover import check_channel
from . import serve

log = logging.getLogger(__name__)


class Report(msgspec.Struct):
    """What the daemon tells the command that started it, once."""

    line: str
    exit_status: int = 0


def run(settings: Settings, *, foreground: bool, channel: int | None = None) -> str:
    """Mount.  In the foreground return when unmounted; else when the mount answers, with a line
    for the user, the daemon going on by itself.  Errors before that are raised here.

    *channel*: the descriptor of a /dev/fuse that is mounted already (handover.py).
    """
    if channel is not None:
        check_channel(channel)
        systemd.notify("FDSTOREREMOVE=1", "FDNAME=fuse")  # Else it outlives this daemon.
    check_apart(settings)
    if foreground:
        _log_to(settings.log_file, settings)
        try:
            _trio_run(settings, lambda line: None, channel)
        finally:
            logs.end()
        return ""
    log_file = settings.log_file or default_log(settings.mountpoint)
    _check_log(log_file)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _daemon(settings, log_file, writing, channel)
    os.close(writing)
    return _awaited(child, reading, log_file)


def default_log(mountpoint: Path) -> Path:
    """Where the daemon of *mountpoint* logs if nothing else is said."""
    name = str(mountpoint).strip("/").replace("/", "-") or "root"
    # A file's name has room for 255 bytes, not letters.
    end = os.fsencode(name)[-200:].decode(errors="replace")
    return platformdirs.user_log_path("vbofs") / f"{end}.log"


def _check_log(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("a").close()
    except OSError as error:
        raise LogUnwritable(
            f"the log {path} cannot be written: {error.strerror}; use --log-file"
        ) from error


def _awaited(child: int, reading: int, log_file: Path) -> str:
    try:
        with open(reading, "rb") as pipe:
            said = pipe.read()
    except KeyboardInterrupt:
        os.kill(child, signal.SIGTERM)
        raise
    if not said:
        os.waitpid(child, 0)
        raise VbofsError(f"the daemon ended before the mount answered; see {log_file}")
    report = msgspec.json.decode(said, type=Report)
    if report.exit_status:
        os.waitpid(child, 0)
        raise Refused(report.line, report.exit_status)
    return report.line


def _daemon(settings: Settings, log_file: Path, writing: int, channel: int | None) -> NoReturn:
    """The child: cut loose from the terminal, serve, and end without returning to the caller."""

    def report(line: str, exit_status: int = 0) -> None:
        if channel is not None:
            # Not before: an automount lets only mount(8)'s own process group through meanwhile.
            os.setsid()
        text = line.encode(errors="backslashreplace").decode()  # A path may be no text.
        os.write(writing, msgspec.json.encode(Report(text, exit_status)))
        os.close(writing)

    status = 0
    try:
        if channel is None:
            os.setsid()
        os.chdir("/")  # A daemon's working directory keeps nothing from being unmounted.
        _redirect(log_file)
        _log_to(log_file, settings)
        _trio_run(settings, report, channel)
    except VbofsError as error:
        status = error.exit_status
        log.error("%s", error)
        with contextlib.suppress(OSError):  # Closed, if the mount had answered already.
            report(str(error), status)
    except BaseException as bug:
        status = 1
        log.critical("a bug; the daemon ends", exc_info=True)
        with contextlib.suppress(OSError):
            report(f"a bug: {bug!r}; see {log_file}", status)
    finally:
        logs.end()
        os._exit(status)


def _redirect(log_file: Path) -> None:
    """Let go of the caller's terminal and pipes; what C code prints goes to the log."""
    sys.stdout.flush()
    sys.stderr.flush()
    nothing = os.open(os.devnull, os.O_RDONLY)
    end = os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for source, target in ((nothing, 0), (end, 1), (end, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(end)


def _trio_run(settings: Settings, ready: Callable[[str], None], channel: int | None) -> None:
    """Run ``serve``; our own errors come out of trio's groups as they are."""
    try:
        trio.run(serve, settings, ready, channel)
    except BaseExceptionGroup as group:
        ours, others = group.split(VbofsError)
        if others is not None or ours is None:
            raise
        raise _first(ours) from group


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _log_to(path: Path | None, settings: Settings) -> None:
    logs.log_to(
        path,
        settings.verbose,
        settings.log_format,
        mountpoint=str(settings.mountpoint),
        dataset=settings.dataset,
    )
