"""Root in the cache of another user's daemon: what is done there is done as that user.

The daemons of the service and of /etc/fstab run as a user of their own, whose cache nobody else can
write.  Root could; but what root made there the daemon could not read, and a link that the daemon's
user had planted would lead root elsewhere.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import control

_RUNTIME = "XDG_RUNTIME_DIR"


@contextmanager
def owner_of(folder: Path) -> Iterator[None]:
    """Meanwhile this process acts as the owner of *folder*, if it is root's and the folder is not.

    That user's control sockets are found too.  Of the whole process, so for commands alone.
    """
    uid = _owner(folder)
    if os.geteuid() != 0 or uid == 0:
        yield
        return
    groups, gid, runtime = os.getgroups(), os.getegid(), os.environ.get(_RUNTIME)
    os.setgroups([])
    os.setegid(_group(uid))
    os.seteuid(uid)
    _set_runtime(_runtime_of(uid))
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)
        _set_runtime(runtime)


def _owner(folder: Path) -> int:
    """Who owns it; 0 if it is not there."""
    try:
        return folder.stat().st_uid
    except OSError:
        return 0


def _group(uid: int) -> int:
    """The user's own group: that of the folder is for its owner to choose."""
    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        return uid


def _runtime_of(uid: int) -> str | None:
    system = control.SYSTEM_RUNTIME_DIR
    return str(system) if _owner(system) == uid else None


def _set_runtime(folder: str | None) -> None:
    if folder is None:
        os.environ.pop(_RUNTIME, None)
    else:
        os.environ[_RUNTIME] = folder
