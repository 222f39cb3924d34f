"""Mounting for a daemon that may not: root mounts, and hands the open /dev/fuse over.

A daemon that speaks with the network then needs no right at all, and may live behind a wall of
systemd's (a mount made behind one would be seen by nobody else).  Root's part is here and is short:
it opens the device, calls mount(2), and unmounts.  The kernel keeps whoever looks meanwhile waiting
until the daemon answers.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from . import mounts, tunables
from .errors import ChannelInvalid, DaemonSilent, MountFailed, MountpointDenied, VbofsError

# linux/mount.h
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME = 1, 2, 4, 8, 1024


def attach(
    mountpoint: Path, source: str, owner: tuple[int, int], *, everyone: bool, flags: int = 0
) -> int:
    """Mount *source* at *mountpoint* for a daemon of *owner*; the descriptor it is to be given.

    A directory is made, a dead vbofs cleared away.  One of the mountpoint's or FUSE's errors.
    """
    mounts.prepare(mountpoint, allow_other=everyone)
    try:
        mountpoint.mkdir(exist_ok=True)
    except OSError as error:
        raise MountpointDenied(f"{mountpoint} cannot be created: {error.strerror}") from error
    channel = os.open(mounts.FUSE_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    try:
        options = f"fd={channel},rootmode=40000,user_id={owner[0]},group_id={owner[1]}"
        options += ",default_permissions" + (",allow_other" if everyone else "")
        _mount(source, mountpoint, options, flags)
    except BaseException:
        os.close(channel)
        raise
    return channel


def _mount(source: str, mountpoint: Path, options: str, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    flags |= MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOATIME
    words = source.encode(), os.fsencode(mountpoint), mounts.FSTYPE.encode()
    if libc.mount(*words, ctypes.c_ulong(flags), options.encode()):
        number = ctypes.get_errno()
        raise MountFailed(f"cannot mount on {mountpoint}: {os.strerror(number)}")


def check_channel(channel: int) -> None:
    """ChannelInvalid unless *channel* is an open /dev/fuse.  No program started later gets it."""
    try:
        is_channel = mounts.is_channel(channel)
    except OSError as error:
        raise ChannelInvalid(f"--fuse-fd: {channel} is no open descriptor") from error
    if not is_channel:
        raise ChannelInvalid(f"--fuse-fd: descriptor {channel} is not {mounts.FUSE_DEVICE}")
    os.set_inheritable(channel, False)


def detach(mountpoint: Path, *, dead_only: bool = False) -> None:
    """Unmount the vbofs at *mountpoint*, if there is one: the name at once, the daemon with its
    last reader.  *dead_only*: leave alone one that answers."""
    mount = mounts.mounted_at(mountpoint)
    if mount is None or not mount.is_ours:
        return
    if dead_only:
        with contextlib.suppress(DaemonSilent):  # It was killed, and hangs in the kernel.
            if not mounts.is_dead(mountpoint):
                return
        _abort(mount)
    mounts.unmount(mountpoint, lazy=True)


def _abort(mount: mounts.Mount) -> None:
    """Cut the kernel's connection, so that nobody waits for an answer that nobody gives."""
    with contextlib.suppress(OSError):
        Path(f"/sys/fs/fuse/connections/{os.minor(mount.device)}/abort").write_text("1")


def tune(mountpoint: Path) -> None:
    """Raise the read-ahead of the vbofs at *mountpoint*, as the daemon itself may not."""
    mount = mounts.mounted_at(mountpoint)
    if mount is not None and mount.is_ours:
        tunables.raise_limits(mount.device)


@contextlib.contextmanager
def undone_on_error(mountpoint: Path, channel: int) -> Iterator[None]:
    """Let go of *channel* at the end; if that is an error, leave nothing mounted."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(VbofsError):
            mounts.unmount(mountpoint, lazy=True)
        raise
    finally:
        os.close(channel)
