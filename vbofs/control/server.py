"""The daemon's side of the control socket."""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import trio

from ..errors import VbofsError
from . import PATIENCE, PROTOCOL, address, runtime_dir, socket_name

log = logging.getLogger(__name__)

#: Bytes.
LONGEST_LINE = 1 << 20

Verbs = Mapping[str, Callable[..., Awaitable[Any]]]


@contextlib.asynccontextmanager
async def _listening(mountpoint: Path) -> AsyncIterator[trio.SocketListener]:
    path = runtime_dir() / socket_name(mountpoint)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()  # Left by a daemon that died; a living one would hold the mountpoint.
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        with address(mountpoint) as where:
            await listener.bind(where)
        inode = path.stat().st_ino
        listener.listen(128)  # A client does not wait for a full queue: it fails.
        try:
            yield trio.SocketListener(listener)
        finally:
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_ino == inode:  # Not the socket of the daemon that came after us.
                    path.unlink()


async def serve(
    mountpoint: Path,
    verbs: Verbs,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer *verbs* until cancelled.  A mount that cannot have a socket does without."""

    async def answer(stream: trio.SocketStream) -> None:
        await _answer(stream, verbs)

    started = False
    try:
        async with _listening(mountpoint) as listener:
            task_status.started()
            started = True
            await trio.serve_listeners(answer, [listener])
    except Exception as error:  # Whatever it is: this task's nursery is the mount's.
        log.warning("no control socket, so vbofs status will not see this mount: %r", error)
        if not started:
            task_status.started()


async def _answer(stream: trio.SocketStream, verbs: Verbs) -> None:
    try:
        with trio.move_on_after(PATIENCE):
            line = await _line(stream)
            await stream.send_all(await _outcome(line, verbs) + b"\n")
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        log.debug("a client of the control socket went away")
    finally:
        with trio.move_on_after(0) as hurry:
            hurry.shield = True
            await stream.aclose()


async def _line(stream: trio.SocketStream) -> bytes:
    line = b""
    while not line.endswith(b"\n") and len(line) < LONGEST_LINE:
        more = await stream.receive_some(65536)
        if not more:
            break
        line += more
    return line


async def _outcome(line: bytes, verbs: Verbs) -> bytes:
    try:
        request = json.loads(line)
        work = verbs[request["verb"]] if request["vbofs"] == PROTOCOL else None
        args = request.get("args", {})
        if work is not None:
            inspect.signature(work).bind(**args)
    except (ValueError, LookupError, TypeError, RecursionError):
        return _error("the daemon does not know that request")
    if work is None:
        return _error(f"the daemon speaks protocol {PROTOCOL}; remount with this vbofs")
    try:
        return json.dumps({"ok": await work(**args)}).encode()
    except VbofsError as error:
        return _error(str(error), exit_status=error.exit_status)
    except Exception as bug:
        log.exception("control: a bug; the mount goes on")
        return _error(f"a bug in the daemon: {bug!r}; see its log")


def _error(message: str, **more: int) -> bytes:
    return json.dumps({"error": message, **more}).encode()
