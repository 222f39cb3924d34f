"""The machine itself: kernel, FUSE, limits, Python."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import stat
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from .. import mounts
from .finding import Patient, Said, ok, problem, warning

#: What a mount is made of.
PACKAGES = ("pyfuse3", "trio", "boto3", "urllib3", "msgspec", "xxhash")
#: The kernel that lets FUSE ask for more than 128 KiB at once.
LARGE_REQUESTS = (4, 20)
#: Two for each blob that is read at once, and 128 for other things; a busy node reads 500.
DESCRIPTORS = 1024


def python(patient: Patient) -> Iterator[Said]:
    """The interpreter."""
    yield ok(f"Python {platform.python_version()} in {sys.prefix}")


def packages(patient: Patient) -> Iterator[Said]:
    """What is installed, and whether libfuse can be loaded."""
    found = []
    for name in ("vbofs", *PACKAGES):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            yield problem(f"{name} is not installed", f"pip install {name}")
    try:
        from ..fuse import session  # noqa: F401
    except ImportError as error:
        yield problem(
            f"pyfuse3 cannot be loaded: {error}",
            "apt install libfuse3-3, then pip install --force-reinstall pyfuse3",
        )
    else:
        yield ok(", ".join(found))


def kernel(patient: Patient) -> Iterator[Said]:
    """Whether it knows FUSE, and large requests."""
    release = platform.release()
    if "fuse" not in Path("/proc/filesystems").read_text().split():
        yield problem(f"Linux {release} has not loaded FUSE", "sudo modprobe fuse")
        return
    numbers = tuple(int(number) for number in re.findall(r"\d+", release)[:2])
    if numbers < LARGE_REQUESTS:
        yield warning(f"Linux {release} reads at most 128 KiB at once", "use Linux 4.20 or newer")
    else:
        yield ok(f"Linux {release} with FUSE")


def device(patient: Patient) -> Iterator[Said]:
    """Whether this user may open it."""
    mounts.check_device()
    yield ok("can be opened")


def fusermount(patient: Patient) -> Iterator[Said]:
    """Whether an ordinary user can mount with it."""
    path = shutil.which("fusermount3")
    if path is None:
        absent = warning if os.geteuid() == 0 else problem
        yield absent("fusermount3 is not installed", "sudo apt install fuse3")
        return
    facts = os.stat(path)
    if os.geteuid() == 0:
        yield ok(f"{path}; root mounts without it")
    elif facts.st_uid != 0 or not facts.st_mode & stat.S_ISUID:
        yield problem(
            f"{path} is not setuid root, so that users cannot mount",
            f"sudo chown root {path} && sudo chmod u+s {path}",
        )
    elif os.statvfs(path).f_flag & os.ST_NOSUID:
        yield problem(f"{path} lies on a disk that is mounted nosuid", "sudo apt install fuse3")
    else:
        yield ok(f"{path}, setuid root")


def other_users(patient: Patient) -> Iterator[Said]:
    """Whether others may read a mount."""
    wanted = patient.settings.allow_other
    if os.geteuid() == 0 or mounts.others_allowed():
        yield ok("may read mounts made with --allow-other" if not wanted else "may read the mount")
    elif wanted:
        yield problem(
            "allow_other is set, and fuse.conf does not permit it to users",
            f"echo user_allow_other | sudo tee -a {mounts.FUSE_CONF}",
        )
    else:
        yield ok(f"may not read mounts: {mounts.FUSE_CONF} does not have user_allow_other")


def descriptors(patient: Patient) -> Iterator[Said]:
    """How many files the daemon may have open."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if 0 <= hard < DESCRIPTORS:
        yield warning(
            f"only {hard} files may be open: few can be read at once",
            "LimitNOFILE=65536 in the unit, or the line '* hard nofile 65536' in"
            " /etc/security/limits.conf",
        )
    else:
        yield ok("unlimited" if hard < 0 else f"{hard:,} may be open")


def memory(patient: Patient) -> Iterator[Said]:
    """What is left for the daemon."""
    available, wanted = _available(), patient.settings.memory
    text = f"{available / 1000**2:,.0f} MB can be had"
    if available < wanted:
        yield warning(
            f"only {text}, and the daemon may take {wanted / 1000**2:,.0f}",
            "make room (free -m), or use a smaller --memory",
        )
    else:
        yield ok(text)


def _available() -> int:
    match = re.search(r"^MemAvailable: *(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    free = int(match[1]) * 1024 if match else 0
    for name in ("memory.max", "memory.high"):
        limit = _number(Path("/sys/fs/cgroup", name))
        used = _number(Path("/sys/fs/cgroup/memory.current"))
        if limit is not None and used is not None:
            free = min(free, limit - used)
    return max(0, free)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # No cgroup of its own, or "max".
        return None
