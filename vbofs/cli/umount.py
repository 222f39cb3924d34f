"""``vbofs umount``"""

from __future__ import annotations

import contextlib
import os
import select
from pathlib import Path

import click

from .. import control, mounts
from ..errors import MountFailed, NotMounted, VbofsError
from .options import settings_of

#: Seconds that a daemon gets to end once its last reader has gone.
PATIENCE = 10.0


@click.command()
@click.argument("mountpoint", required=False)
def command(mountpoint: str | None) -> None:
    """Unmount MOUNTPOINT (default ~/vbo), also one whose daemon has died.

    If programs still read from it, its name goes at once and the daemon when they have ended.
    """
    path = settings_of({"mountpoint": mountpoint}).mountpoint
    mount = mounts.mounted_at(path)
    if mount is None or not mount.is_ours:
        raise NotMounted(f"no vbofs is mounted at {path}")
    pid = _pid(path)
    try:
        mounts.unmount(path)
    except MountFailed:
        mounts.unmount(path, lazy=True)
        click.echo(f"{path} was busy: its name is gone, its daemon ends with the last reader")
        return
    _await_end(pid)


def _pid(path: Path) -> int | None:
    """The daemon's process; None if it does not answer."""
    try:
        return int(control.ask(path, "status")["pid"])
    except VbofsError:
        return None


def _await_end(pid: int | None) -> None:
    """Return when the daemon has let go of cache and log, so that what follows finds them free."""
    if pid is None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        daemon = os.pidfd_open(pid)
        select.select([daemon], [], [], PATIENCE)
        os.close(daemon)
