"""A file whose bytes are new for every look: who reads them back has been all the way.

It stands in the root of a mount that a watchdog watches, unlisted.  Its bytes are in memory, so
that a network that is away does not stop it, and the kernel keeps none of them.
"""

from __future__ import annotations

import secrets
import stat

from pyfuse3 import EntryAttributes

NAME = b".vbofs-pulse"
#: Far above the position of any node.
INODE = 1 << 62


class Pulse:
    """The file's bytes of this moment."""

    def __init__(self) -> None:
        self._bytes = b""

    def __repr__(self) -> str:
        return f"<Pulse {self._bytes.decode()}>"

    def renew(self) -> bytes:
        """New bytes, that nobody can have read before."""
        self._bytes = secrets.token_hex(16).encode()
        return self._bytes

    def read(self, offset: int, size: int) -> memoryview:
        return memoryview(self._bytes)[offset : offset + size]

    def entry(self, owner: tuple[int, int]) -> EntryAttributes:
        """Attributes that hold for one look only; nobody but the daemon's user may read."""
        entry = EntryAttributes()
        entry.st_ino = INODE
        entry.st_mode = stat.S_IFREG | 0o400
        entry.st_nlink = 1
        entry.st_uid, entry.st_gid = owner
        entry.entry_timeout = entry.attr_timeout = 0
        return entry
