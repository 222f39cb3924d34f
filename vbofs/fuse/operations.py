"""What the kernel asks, as pyfuse3 hands it over: ints and bytes in, attributes and errnos out.

The boundary: nothing but ``FUSEError`` leaves this file; pyfuse3 ends the mount on anything else.
Invariant: between a read's last await and pyfuse3's reply there is no checkpoint.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakValueDictionary

import pyfuse3
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, RequestContext

from ..blocks.extents import BLOCK_SIZE
from ..catalog.tree import Directory, File, Node, Symlink
from ..errors import ReadOnly, VbofsError
from ..filesystem import Filesystem
from ..xattrs import Xattrs
from . import pulse
from .pulse import Pulse

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

#: The namespace of extended attributes that a user may read.
USER = b"user."
#: Seconds.  An immutable answer is true for ever; the kernel counts in jiffies, ten years fit.
FOR_EVER = 10 * 365 * 86400.0
#: Seconds, for names that a new release may change.
A_MOMENT = 1.0


def answers_with_errno(
    handler: Callable[Concatenate[Operations, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Operations, P], Coroutine[Any, Any, T]]:
    """Let nothing but FUSEError out."""

    @wraps(handler)
    async def guarded(self: Operations, /, *args: P.args, **kwargs: P.kwargs) -> T:
        self.under_way += 1
        try:
            return await handler(self, *args, **kwargs)
        except FUSEError:
            raise
        except VbofsError as error:
            log.log(error.level, "%s: %s", handler.__name__, error)
            raise FUSEError(error.errno) from error
        except Exception as bug:
            self.bugs += 1
            log.exception("%s: a bug; the caller sees EIO", handler.__name__)
            raise FUSEError(errno.EIO) from bug
        finally:
            self.under_way -= 1

    return guarded


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class _Listing:
    """What a directory held when it was opened."""

    entries: list[tuple[bytes, Node]]
    lasting: bool


class Operations(pyfuse3.Operations):
    """Answers for *filesystem*, and *xattrs* of its files.  Files belong to whoever mounts."""

    # The root is looked up as "." when the kernel exports the mount over NFS.
    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init__(self, filesystem: Filesystem, xattrs: Xattrs, pulse: Pulse | None = None) -> None:
        super().__init__()
        self._filesystem = filesystem
        self._xattrs = xattrs
        self._pulse = pulse
        self._owner = os.getuid(), os.getgid()
        self._listings: dict[int, _Listing] = {}
        # Of directories that cannot change: ten thousand who look at one hold one list.
        self._open_listings: WeakValueDictionary[int, _Listing] = WeakValueDictionary()
        # Of files in releases, made once: ls asks for thousands of them, again and again.
        self._lasting: dict[int, EntryAttributes] = {}
        self._handles = itertools.count(1)
        #: Answers that are being worked at.
        self.under_way = 0
        self.bugs = 0

    # --- names

    @answers_with_errno
    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        if self._pulse is not None and (parent_inode, name) == (pyfuse3.ROOT_INODE, pulse.NAME):
            return self._pulse.entry(self._owner)
        lasting = self._filesystem.is_lasting(parent_inode)
        try:
            node = await self._filesystem.lookup(parent_inode, name)
        except VbofsError as error:
            if error.errno == errno.ENOENT and lasting:
                return _nothing()
            raise
        return self._entry(node, lasting=lasting or isinstance(node, Directory))

    @answers_with_errno
    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        if self._pulse is not None and inode == pulse.INODE:
            return self._pulse.entry(self._owner)
        return self._entry(self._filesystem.node(inode), lasting=True)

    @answers_with_errno
    async def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        return await self._filesystem.target_for(inode, ctx.uid)

    @answers_with_errno
    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        handle = next(self._handles)
        listing = self._open_listings.get(inode)
        if listing is None:
            lasting = self._filesystem.is_lasting(inode)
            listing = _Listing(await self._filesystem.entries(inode), lasting)
            if lasting:
                self._open_listings[inode] = listing
        self._listings[handle] = listing
        return handle

    @answers_with_errno
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        listing = self._listings[fh]
        for position in range(start_id, len(listing.entries)):
            name, node = listing.entries[position]
            attributes = self._entry(node, lasting=listing.lasting or isinstance(node, Directory))
            if not pyfuse3.readdir_reply(token, name, attributes, position + 1):
                return

    @answers_with_errno
    async def releasedir(self, fh: int) -> None:
        self._listings.pop(fh, None)

    @answers_with_errno
    async def forget(self, inode_list: object) -> None:
        """Nodes are as old as the mount: there is nothing to forget."""

    # --- bytes

    @answers_with_errno
    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise ReadOnly("opened for writing")
        if inode == pulse.INODE:
            return FileInfo(fh=inode, direct_io=True)
        # Bytes never change, so the kernel may keep them from one open to the next.
        return FileInfo(fh=inode, keep_cache=self._filesystem.open(inode))

    @answers_with_errno
    async def read(  # type: ignore[override]  # pyfuse3 takes any buffer, and says bytes.
        self, fh: int, off: int, size: int
    ) -> memoryview:
        if self._pulse is not None and fh == pulse.INODE:
            return self._pulse.read(off, size)
        return await self._filesystem.read(fh, off, size)

    @answers_with_errno
    async def release(self, fh: int) -> None:
        if fh != pulse.INODE:
            self._filesystem.close(fh)

    @answers_with_errno
    async def flush(self, fh: int) -> None:
        """Nothing is ever dirty."""

    @answers_with_errno
    async def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:
        size, files = await self._filesystem.size()
        answer = pyfuse3.StatvfsData()
        answer.f_bsize = answer.f_frsize = BLOCK_SIZE
        answer.f_blocks = -(-size // BLOCK_SIZE)
        answer.f_files = files
        answer.f_namemax = 255
        return answer

    # --- extended attributes

    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        # ls -l asks each file for its security label and its ACL.  Of a device that answers "not
        # supported", and not "this file has none", it remembers that, and asks no other file.
        if not name.startswith(USER):
            raise FUSEError(errno.EOPNOTSUPP)
        return await self._xattr(inode, name)

    @answers_with_errno
    async def _xattr(self, inode: int, name: bytes) -> bytes:
        node = self._filesystem.node(inode)
        value = await self._xattrs.value(node.blob, name) if isinstance(node, File) else None
        if value is None:
            raise FUSEError(pyfuse3.ENOATTR)
        return value

    @answers_with_errno
    async def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        return self._xattrs.names if isinstance(self._filesystem.node(inode), File) else ()

    # --- attributes

    def _entry(self, node: Node, *, lasting: bool) -> EntryAttributes:
        if not (lasting and isinstance(node, File)):
            return self._made(node, lasting=lasting)
        entry = self._lasting.get(node.ino)
        if entry is None:
            entry = self._lasting[node.ino] = self._made(node, lasting=True)
        return entry

    def _made(self, node: Node, *, lasting: bool) -> EntryAttributes:
        facts = self._filesystem.attrs(node)
        entry = EntryAttributes()
        entry.st_ino = facts.ino
        entry.st_mode = facts.mode
        entry.st_nlink = facts.nlink
        entry.st_uid, entry.st_gid = self._owner
        entry.st_size = facts.size
        entry.st_blksize = BLOCK_SIZE
        # All of a file: a smaller number makes cp and tar guess holes.  Links take no room.
        entry.st_blocks = 0 if isinstance(node, Symlink) else -(-facts.size // 512)
        entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = facts.mtime * 10**9
        entry.entry_timeout = FOR_EVER if lasting else A_MOMENT
        changes = isinstance(node, Directory) and (
            node.children is None  # Its links are counted when it is built.
            or not self._filesystem.is_lasting(facts.ino)
        )
        entry.attr_timeout = A_MOMENT if changes else FOR_EVER
        return entry


def _nothing() -> EntryAttributes:
    """There is no such name, and there never will be: the kernel need not ask again."""
    entry = EntryAttributes()
    entry.st_ino = 0
    entry.entry_timeout = FOR_EVER
    return entry


def _refused(name: str) -> Callable[..., Coroutine[Any, Any, None]]:
    async def refuse(self: Operations, *args: object) -> None:
        raise FUSEError(errno.EROFS)

    refuse.__name__ = name
    return refuse


# The mount is read-only, so the kernel refuses these itself; should root remount it, so do we.
for _name in (
    *("setattr", "write", "create", "mknod", "mkdir", "symlink", "link"),
    *("unlink", "rmdir", "rename", "setxattr", "removexattr"),
):
    setattr(Operations, _name, _refused(_name))
