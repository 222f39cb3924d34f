"""What the machine around a daemon allows, and what its administrator should be told of it."""

from __future__ import annotations

import logging
import resource
from pathlib import Path

from .. import mounts

log = logging.getLogger(__name__)

#: File systems whose server may go away.
DISTANT = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "9p", "afs"}
    | {"fuse.sshfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs"}
)
#: Descriptors for other things than blobs: sockets, the session, the log.
SPARE_DESCRIPTORS = 128


def warn_of_distant(folder: Path) -> None:
    """Say that *folder* is on a disk of another machine: docs/decisions/0007 has why it matters."""
    above = [mount for mount in mounts.mounts() if folder.is_relative_to(mount.path)]
    nearest = max(above, key=lambda mount: len(mount.path.parts), default=None)
    if nearest is not None and nearest.fstype in DISTANT:
        log.warning(
            "the cache %s is on a network file system (%s): if that hangs, so does the mount; name"
            " a disk of this machine with --cache-dir",
            folder,
            nearest.fstype,
        )


def most_files() -> int:
    """How many blobs may be open at once, two descriptors each; takes all that the limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 8192) if hard != resource.RLIM_INFINITY else 8192
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return max(8, (soft - SPARE_DESCRIPTORS) // 4)
