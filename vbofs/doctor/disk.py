"""The cache's disk and the log's."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .. import behalf, mounts
from ..blocks.store import FREE_SHARE, open_store
from ..daemon.background import default_log
from .finding import Patient, Said, ok, problem, warning

#: Kinds of file systems that ask another machine for each block.
REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "9p", "afs"}
#: Files that a cache may need: two for each of those published, and then some.
INODES = 20_000
#: Bytes written to see how fast the disk is; and bytes a second below which reads wait for it.
SAMPLE = 32 << 20
SLOW = 50 * 1000**2


def log(patient: Patient) -> Iterator[Said]:
    """Whether the daemon could write its log."""
    if patient.lives:
        yield ok("the daemon has it open")
        return
    path = patient.settings.log_file or default_log(patient.settings.mountpoint)
    folder = _nearest(path.parent)
    if not os.access(path if path.exists() else folder, os.W_OK):
        yield problem(f"{path} cannot be written", f"sudo chown -R $USER {folder}")
    else:
        yield ok(str(path))


def cache(patient: Patient) -> Iterator[Said]:
    """Whether the cache directory is, or can be made, one that this user can trust."""
    folder = patient.settings.cache_dir
    if (folder / "format").exists():
        # A cache of the service's user is right for the service; root may look at it.
        with behalf.owner_of(folder) if patient.lives else contextlib.nullcontext():
            open_store(folder, patient.settings.cache_size)
        yield ok(str(folder))
    elif folder.exists() and not folder.is_dir():
        yield problem(f"{folder} is not a directory", "use another --cache-dir")
    elif folder.exists() and folder.stat().st_uid != os.geteuid():
        yield problem(f"{folder} belongs to another user", f"sudo chown $USER {folder}")
    elif os.access(_nearest(folder), os.W_OK | os.X_OK):
        yield ok(f"{folder}, which is made with the first mount")
    else:
        yield problem(
            f"{folder} cannot be created: {_nearest(folder)} is not this user's to write",
            f"sudo mkdir -p {folder} && sudo chown $USER {folder}",
        )


def space(patient: Patient) -> Iterator[Said]:
    """Whether there is room, in bytes and in files."""
    folder = _nearest(patient.settings.cache_dir)
    usage, facts = shutil.disk_usage(folder), os.statvfs(folder)
    keep_free = patient.settings.keep_free
    kept = usage.total // FREE_SHARE if keep_free is None else keep_free
    text = f"{usage.free / 1000**3:.1f} GB of {usage.total / 1000**3:.1f} are free on {folder}"
    cure = "make room, or use --cache-dir on another disk"
    if usage.free < 1 << 20:
        yield problem(f"{text}: nothing can be cached", cure)
    elif usage.free < kept:
        yield warning(f"{text}, fewer than the cache leaves to others: it takes no more", cure)
    else:
        yield ok(text)
    if facts.f_files and facts.f_favail < INODES:
        few = problem if facts.f_favail < 10 else warning
        yield few(f"only {facts.f_favail:,} more files can be made on {folder}", cure)


def kind(patient: Patient) -> Iterator[Said]:
    """Whether it is a disk of this machine."""
    folder = _nearest(patient.settings.cache_dir)
    over = [mount for mount in mounts.mounts() if folder.is_relative_to(mount.path)]
    fstype = max(over, key=lambda mount: len(mount.path.parts)).fstype if over else "unknown"
    if fstype in REMOTE or fstype.startswith("fuse."):
        yield warning(
            f"the cache lies on {fstype}, which may be as slow as S3 itself",
            "use --cache-dir on a disk of this machine",
        )
    elif fstype in ("tmpfs", "ramfs"):
        yield warning(
            f"the cache lies on {fstype}: it takes memory, and a restart empties it",
            "use --cache-dir on a disk",
        )
    else:
        yield ok(fstype)


def speed(patient: Patient) -> Iterator[Said]:
    """How fast blocks can be kept."""
    folder = _nearest(patient.settings.cache_dir)
    if shutil.disk_usage(folder).free < 4 * SAMPLE:
        yield warning("not measured: there is too little room")
        return
    piece = os.urandom(1 << 20)
    with tempfile.TemporaryFile(dir=folder, prefix=".doctor.") as file:
        begun = time.perf_counter()
        for _ in range(SAMPLE // len(piece)):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
        rate = SAMPLE / (time.perf_counter() - begun)
    text = f"{rate / 1000**2:,.0f} MB/s written to {folder}"
    if rate < SLOW:
        yield warning(f"{text}: reads may wait for it", "use --cache-dir on a faster disk")
    else:
        yield ok(text)


def _nearest(path: Path) -> Path:
    """*path*, or what is there of the way to it."""
    return next(place for place in (path, *path.parents) if place.is_dir())
