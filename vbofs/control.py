"""The socket by which commands talk to a running daemon: one line of JSON there, one back.

A request is ``{"vbofs": 1, "verb": "status"}``; the answer is ``{"ok": …}`` or ``{"error": "…",
"exit_status": n}``.  The socket lies in a directory that only its owner may enter, and that is
what keeps others out: no request carries a secret.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import trio

from .errors import DaemonSilent, NotMounted, VbofsError

log = logging.getLogger(__name__)

PROTOCOL = 1
#: Bytes; seconds.
LONGEST_LINE = 1 << 20
PATIENCE = 30.0

Verbs = Mapping[str, Callable[[], Awaitable[Any]]]


def runtime_dir() -> Path:
    """Where this user's sockets lie, made if need be.  DaemonSilent if somebody else made it."""
    stated = os.environ.get("XDG_RUNTIME_DIR", "")
    if stated and Path(stated).is_dir():
        path = Path(stated, "vbofs")
    elif os.geteuid() == 0:
        path = Path("/run/vbofs")
    else:
        path = Path(f"/tmp/vbofs-{os.geteuid()}")
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = path.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
        raise DaemonSilent(f"{path} is not a directory that only you can enter; remove it")
    return path


def _socket_name(mountpoint: Path) -> str:
    return hashlib.blake2b(os.fsencode(mountpoint), digest_size=12).hexdigest() + ".sock"


@contextlib.contextmanager
def _address(mountpoint: Path) -> Iterator[str]:
    """An address of any length: sun_path has room for 108 bytes, a directory's descriptor has
    room for all."""
    folder = os.open(runtime_dir(), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{_socket_name(mountpoint)}"
    finally:
        os.close(folder)


# --- the daemon's side


@contextlib.asynccontextmanager
async def _listening(mountpoint: Path) -> AsyncIterator[trio.SocketListener]:
    listener = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path = runtime_dir() / _socket_name(mountpoint)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()  # Left by a daemon that died; a living one would hold the mountpoint.
    with _address(mountpoint) as address:
        await listener.bind(address)
    inode = path.stat().st_ino
    listener.listen(16)
    try:
        yield trio.SocketListener(listener)
    finally:
        listener.close()
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
    try:
        async with _listening(mountpoint) as listener:
            task_status.started()

            async def answer(stream: trio.SocketStream) -> None:
                await _answer(stream, verbs)

            await trio.serve_listeners(answer, [listener])
    except (OSError, DaemonSilent) as error:
        log.warning("no control socket, so vbofs status will not see this mount: %s", error)
        task_status.started()


async def _answer(stream: trio.SocketStream, verbs: Verbs) -> None:
    try:
        with trio.move_on_after(PATIENCE):
            line = await _line(stream)
            answer = await _outcome(line, verbs)
            await stream.send_all(json.dumps(answer).encode() + b"\n")
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


async def _outcome(line: bytes, verbs: Verbs) -> dict[str, Any]:
    try:
        request = json.loads(line)
        if request["vbofs"] != PROTOCOL:
            return {"error": f"the daemon speaks protocol {PROTOCOL}; remount with this vbofs"}
        return {"ok": await verbs[request["verb"]]()}
    except VbofsError as error:
        return {"error": str(error), "exit_status": error.exit_status}
    except (ValueError, LookupError, TypeError, RecursionError):
        return {"error": "the daemon does not know that request"}
    except Exception as bug:
        log.exception("control: a bug; the mount goes on")
        return {"error": f"a bug in the daemon: {bug!r}; see its log"}


# --- a command's side


class Refused(VbofsError):
    """The daemon answered, with an error of its own; *status* is the exit status it states."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def ask(mountpoint: Path, verb: str) -> Any:
    """What the daemon of *mountpoint* answers.  NotMounted, DaemonSilent or Refused."""
    request = json.dumps({"vbofs": PROTOCOL, "verb": verb}).encode() + b"\n"
    try:
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as daemon,
            _address(mountpoint) as address,
        ):
            daemon.settimeout(PATIENCE)
            daemon.connect(address)
            daemon.sendall(request)
            answer = json.loads(daemon.makefile("rb").readline())
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NotMounted(f"no vbofs of this user is mounted at {mountpoint}") from error
    except (OSError, ValueError) as error:
        raise DaemonSilent(f"the daemon of {mountpoint} does not answer: {error}") from error
    if "error" in answer:
        raise Refused(answer["error"], int(answer.get("exit_status", 1)))
    return answer["ok"]
