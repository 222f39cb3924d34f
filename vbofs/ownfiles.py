"""Files that programs write beside a read-only mount: for every user of it another one.

A mount that is open to other users (``allow_other``) has one name for such a file and many who
write there.  Where it leads is therefore decided for each who asks, by his user id, to a place that
only he can write: nobody reads what another has chosen.  For the one who mounts that is his state
directory; for another user it is his home, in which this process can make no directory.
"""

from __future__ import annotations

import hashlib
import os
import pwd
from pathlib import Path

import platformdirs


class OwnFiles:
    """The files that belong to the mount at *mountpoint*, for each of its users.

    *runtime* holds a directory for each user who is logged in, which only he can enter.
    """

    def __init__(self, mountpoint: Path, *, runtime: Path = Path("/run/user")) -> None:
        self._runtime = runtime
        # Two mounts may be of two datasets: what is chosen in one says nothing about the other.
        self._mark = hashlib.blake2b(os.fsencode(mountpoint), digest_size=5).hexdigest()

    def __repr__(self) -> str:
        return f"<OwnFiles {self._mark}>"

    def path(self, uid: int, name: str) -> Path:
        """Where the user *uid* has the file *name*: its directory exists, it itself may not.

        It blocks: the user is looked up, and for the one who mounts a directory may be made.
        """
        if uid == os.geteuid():
            folder = platformdirs.user_state_path("vbofs")
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError:
                return self._of_the_homeless(uid, name)
            return folder / f"{self._mark}-{name}"
        try:
            home = Path(pwd.getpwuid(uid).pw_dir)
        except KeyError:  # A user of another machine's.
            return self._of_the_homeless(uid, name)
        if not _is_his(home, uid):
            return self._of_the_homeless(uid, name)
        return home / f".vbofs-{self._mark}-{name}"

    def _of_the_homeless(self, uid: int, name: str) -> Path:
        folder = self._runtime / str(uid)
        if _is_his(folder, uid):
            return folder / f"vbofs-{self._mark}-{name}"
        return Path(f"/tmp/vbofs-{uid}-{self._mark}-{name}")


def _is_his(folder: Path, uid: int) -> bool:
    try:
        return folder.is_dir() and folder.stat().st_uid == uid
    except OSError:
        return False
