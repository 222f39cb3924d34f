"""Mounts as the kernel lists them: what is where, whether it lives, and how to take it down.

Reads /proc/self/mountinfo (proc_pid_mountinfo(5)) and runs fusermount3 or umount; knows neither
pyfuse3 nor the network, so every command can use it.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
import subprocess
import threading
from pathlib import Path
from typing import NamedTuple

from .errors import (
    AllowOtherDenied,
    AlreadyMounted,
    DaemonSilent,
    FusermountMissing,
    FuseUnavailable,
    MountFailed,
    MountpointDenied,
    MountpointMissing,
    MountpointNotADirectory,
    MountpointNotEmpty,
    MountpointStale,
)

FSTYPE = "fuse.vbofs"
#: Seconds in which a stat(2) of a living mount comes back, even on a busy machine.
PATIENCE = 10.0
FUSE_DEVICE = Path("/dev/fuse")
FUSE_MAJOR_MINOR = 10, 229
FUSE_CONF = Path("/etc/fuse.conf")


class Mount(NamedTuple):
    """A line of mountinfo.  *source* is what was mounted: the dataset's name, for ours; *device*
    is its st_dev."""

    path: Path
    fstype: str
    source: str
    device: int = 0

    @property
    def is_ours(self) -> bool:
        return self.fstype == FSTYPE


def mounts() -> list[Mount]:
    """Every mount that this process sees, in the order of mounting."""
    # Bytes, and split at line feeds only: the kernel escapes no other line break in a name.
    lines = Path("/proc/self/mountinfo").read_bytes().split(b"\n")
    return [_parsed(os.fsdecode(line)) for line in lines if line]


def _parsed(line: str) -> Mount:
    left, _, right = line.partition(" - ")
    fstype, source, *_ = right.split(" ")
    fields = left.split(" ")
    major, minor = fields[2].split(":")
    device = os.makedev(int(major), int(minor))
    return Mount(Path(_unescaped(fields[4])), fstype, _unescaped(source), device)


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def mounted_at(path: Path) -> Mount | None:
    """What is mounted at *path*, the topmost."""
    return next((mount for mount in reversed(mounts()) if mount.path == path), None)


def is_dead(path: Path) -> bool:
    """Whether the daemon behind the mount at *path* has died.  DaemonSilent if it hangs."""
    outcome: list[int] = []
    # A name that nobody has asked for: what the kernel knows already it goes on answering itself,
    # for a second after the daemon's death.
    unknown = path / f".{secrets.token_hex(8)}"

    def look() -> None:
        try:
            os.stat(unknown)
        except FileNotFoundError:
            outcome.append(0)
        except OSError as error:
            outcome.append(error.errno or 0)
        else:
            outcome.append(0)

    # A thread, for a stat(2) of a hanging mount cannot be interrupted.
    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(PATIENCE)
    if not outcome:
        raise DaemonSilent(
            f"{path} is mounted, but its daemon does not answer; see its log,"
            f" or end it with: vbofs umount {path}"
        )
    return outcome[0] in (errno.ENOTCONN, errno.ECONNABORTED)


def prepare(path: Path, *, allow_other: bool) -> None:
    """Check that vbofs can be mounted at *path*; clear away a dead vbofs that stands there.

    Makes nothing.  One of the mountpoint's or FUSE's errors.
    """
    mount = mounted_at(path)
    if mount is not None and mount.fstype.startswith("fuse"):
        _clear_dead(mount)
    check_directory(path)
    _check_fuse(allow_other)


def _clear_dead(mount: Mount) -> None:
    if not is_dead(mount.path):
        what = f"{mount.source} ({mount.fstype})"
        raise AlreadyMounted(
            f"{mount.path} is mounted already: {what}; unmount it with:"
            f" {'vbofs umount' if mount.is_ours else 'umount'} {mount.path}"
        )
    if not mount.is_ours:
        raise MountpointStale(
            f"a dead mount ({mount.fstype}) stands at {mount.path};"
            f" clear it with: fusermount3 -u -z {mount.path}"
        )
    unmount(mount.path, lazy=True)


def check_directory(path: Path) -> None:
    """One of the mountpoint's errors unless something can be mounted on *path*."""
    try:
        entries = os.listdir(path)
    except FileNotFoundError:
        _check_parent(path)
        return
    except NotADirectoryError as error:
        raise MountpointNotADirectory(f"{path} is not a directory") from error
    except PermissionError as error:
        raise MountpointDenied(f"{path} cannot be read by this user") from error
    except OSError as error:
        raise MountpointStale(f"{path} cannot be used: {error.strerror}") from error
    if entries:
        raise MountpointNotEmpty(
            f"{path} is not empty ({min(entries)!r}); name an empty or a new directory"
        )
    if not os.access(path, os.W_OK):
        raise MountpointDenied(f"{path} cannot be written by this user, as mounting on it needs")


def _check_parent(path: Path) -> None:
    if not path.parent.is_dir():
        raise MountpointMissing(f"{path}: its parent directory does not exist; create it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise MountpointDenied(f"{path} cannot be created: {path.parent} is not yours to write")


def _check_fuse(allow_other: bool) -> None:
    check_device()
    if os.geteuid() == 0:
        return
    if shutil.which("fusermount3") is None:
        raise FusermountMissing("fusermount3 is not installed: apt install fuse3")
    if allow_other and not others_allowed():
        raise AllowOtherDenied(
            f"--allow-other is not permitted: put the line user_allow_other into {FUSE_CONF}"
        )


def check_device() -> None:
    """FuseUnavailable unless this user may open /dev/fuse."""
    try:
        channel = os.open(FUSE_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise FuseUnavailable(
            f"{FUSE_DEVICE} is missing: load the module (modprobe fuse), or pass the device to the"
            " container (--device /dev/fuse --cap-add SYS_ADMIN)"
        ) from error
    except OSError as error:
        raise FuseUnavailable(f"{FUSE_DEVICE} cannot be opened: {error.strerror}") from error
    try:
        is_fuse = is_channel(channel)
    finally:
        os.close(channel)
    if not is_fuse:
        raise FuseUnavailable(
            f"{FUSE_DEVICE} is not FUSE's device; put it right with: rm {FUSE_DEVICE};"
            f" mknod -m 666 {FUSE_DEVICE} c 10 229"
        )


def is_channel(descriptor: int) -> bool:
    """Whether it is an open /dev/fuse, by whatever name.  OSError if it is not open."""
    facts = os.fstat(descriptor)
    device = os.major(facts.st_rdev), os.minor(facts.st_rdev)
    return stat.S_ISCHR(facts.st_mode) and device == FUSE_MAJOR_MINOR


def others_allowed() -> bool:
    """Whether users may let others read their mounts."""
    try:
        lines = FUSE_CONF.read_text().splitlines()
    except OSError:
        return False
    return any(line.strip() == "user_allow_other" for line in lines)


def unmount(path: Path, *, lazy: bool = False) -> None:
    """Take the mount at *path* down; *lazy*: names at once, the rest when its last reader goes.

    MountFailed with what the system said: mostly, that it is busy.
    """
    command = ["fusermount3", "-u", *(["-z"] if lazy else []), "--", str(path)]
    if shutil.which("fusermount3") is None:
        command = ["umount", *(["-l"] if lazy else []), "--", str(path)]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:  # Neither program is there, or no descriptor or process is left.
        raise MountFailed(f"cannot unmount {path}: {error}") from error
    if result.returncode:
        raise MountFailed(f"cannot unmount {path}: {' '.join(result.stderr.split())}")
