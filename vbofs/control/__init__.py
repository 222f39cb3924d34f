"""The socket by which commands talk to a running daemon: one line of JSON there, one back.

A request is ``{"vbofs": 1, "verb": "status", "args": {…}}``, arguments being optional keywords;
the answer is ``{"ok": …}`` or ``{"error": "…", "exit_status": n}``.  The socket lies in a directory
that only its owner may enter, and that is what keeps others out: no request carries a secret.  The
daemon's side is in server.py; this one does without trio, for commands start often.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import AlreadyMounted, DaemonSilent, NotMounted, Refused

PROTOCOL = 1
#: Seconds that one question may take; and one that looks at nothing but the daemon's memory.
PATIENCE = 30.0
STATUS_PATIENCE = 5.0
#: Why a prefetch has stopped, if the command that wanted it does not ask after it any more.
FORGOTTEN = "nobody asks after it any more"
#: XDG_RUNTIME_DIR of the daemons that systemd and mount(8) start, of a user of their own.
SYSTEM_RUNTIME_DIR = Path("/run/vbofs-system")


def runtime_dir() -> Path:
    """Where this user's sockets lie, made if need be.  DaemonSilent if somebody else made it."""
    # Not every login sets the variable, and daemon and command must find the same place.
    stated = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    if Path(stated).is_dir():
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


def socket_name(mountpoint: Path) -> str:
    """The file name of a mount's socket."""
    return hashlib.blake2b(os.fsencode(mountpoint), digest_size=12).hexdigest() + ".sock"


@contextlib.contextmanager
def address(mountpoint: Path, where: Path | None = None) -> Iterator[str]:
    """An address of any length: sun_path has room for 108 bytes, a directory's descriptor has
    room for all.  *where*: the directory, if not this user's own."""
    folder = os.open(where or runtime_dir(), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{socket_name(mountpoint)}"
    finally:
        os.close(folder)


def folder_of(mountpoint: Path) -> Path:
    """Where a daemon that is to be asked has its socket: root also asks those of the system's own
    mounts."""
    mine = runtime_dir()
    if os.geteuid() == 0 and not (mine / socket_name(mountpoint)).exists():
        system = SYSTEM_RUNTIME_DIR / "vbofs"
        if (system / socket_name(mountpoint)).exists():
            return system
    return mine


@contextlib.contextmanager
def alone(mountpoint: Path) -> Iterator[None]:
    """One at a time mounts at *mountpoint*; AlreadyMounted to who comes meanwhile.

    Two that both found the place free would mount one over the other.
    """
    try:
        path = runtime_dir() / f"{socket_name(mountpoint)}.lock"
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except (OSError, DaemonSilent):
        yield  # Who cannot have a socket mounts all the same, and without a lock.
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise AlreadyMounted(f"another vbofs is just being mounted on {mountpoint}") from error
    try:
        yield
    finally:
        # Before it is let go: who holds a lock on a removed file finds the place mounted.
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(lock)


def ask(mountpoint: Path, verb: str, **args: Any) -> Any:
    """What the daemon of *mountpoint* answers.  NotMounted, DaemonSilent or Refused."""
    request = json.dumps({"vbofs": PROTOCOL, "verb": verb, "args": args}).encode() + b"\n"
    try:
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as daemon,
            address(mountpoint, folder_of(mountpoint)) as where,
        ):
            daemon.settimeout(STATUS_PATIENCE if verb == "status" else PATIENCE)
            daemon.connect(where)
            daemon.sendall(request)
            answer = json.loads(daemon.makefile("rb").readline())
            if not isinstance(answer, dict) or not answer.keys() & {"ok", "error"}:
                raise ValueError("that is no answer")
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NotMounted(f"no vbofs of this user is mounted at {mountpoint}") from error
    except (OSError, ValueError) as error:
        raise DaemonSilent(f"the daemon of {mountpoint} does not answer: {error}") from error
    if "error" in answer:
        raise Refused(answer["error"], int(answer.get("exit_status", 1)))
    return answer["ok"]
