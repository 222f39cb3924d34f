"""One life of a mount, from init to close, as an async context manager."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path

import pyfuse3
import trio

from .. import tunables
from ..errors import MountFailed
from .operations import Operations

log = logging.getLogger(__name__)

#: Handlers that may be under way at once.  Each read that waits for the network holds one; a look
#: at a name must find a free one beside hundreds of them.
MOST_TASKS = 512
LEAST_TASKS = 4


def _is_news(record: logging.LogRecord) -> bool:
    """An answer that comes when the kernel has given the request up (ENOENT) is late, not wrong: it
    happens whenever the last reader of an unmounted file system closes his file."""
    said = record.getMessage()
    return not ("fuse_reply_" in said and os.strerror(errno.ENOENT) in said)


class Session:
    """A mount that the kernel knows of.

    *is_handed_over*: somebody with the right to do it has mounted, and unmounts (handover.py).
    """

    def __init__(self, mountpoint: Path, *, is_handed_over: bool = False) -> None:
        self.mountpoint = mountpoint
        self.is_handed_over = is_handed_over
        self._life = trio.CancelScope()

    async def serve(self) -> None:
        """Answer the kernel until the last reader of an unmounted file system has gone, or the
        session is told to ``end``."""
        try:
            with self._life:
                await pyfuse3.main(min_tasks=LEAST_TASKS, max_tasks=MOST_TASKS)
        except* ConnectionAbortedError:
            # Mostly an unmount is the end of the file; in the middle of a request, or where
            # the administrator cuts the connection (fusectl), it is this.
            log.info("the kernel has ended the connection")

    def end(self) -> None:
        """Answer nobody any more: who still reads gets an error."""
        self._life.cancel()

    async def answers(self) -> None:
        """Return once a stat(2) of the mountpoint has come back from ``serve``."""
        facts = await trio.to_thread.run_sync(os.stat, self.mountpoint, abandon_on_cancel=True)
        if facts.st_ino == pyfuse3.ROOT_INODE:  # Else it is what lies under the mount.
            tunables.raise_limits(facts.st_dev)

    async def forget(self, inodes: Iterable[int]) -> None:
        """Have the kernel forget what it keeps of files, so that it asks for every byte again."""
        # In a thread: it waits for pages that are just being read, which ``serve`` must answer.
        await trio.to_thread.run_sync(_invalidate, list(inodes), abandon_on_cancel=True)


def _invalidate(inodes: list[int]) -> None:
    for inode in inodes:
        with contextlib.suppress(OSError):  # It has forgotten that inode altogether.
            pyfuse3.invalidate_inode(pyfuse3.InodeT(inode))


@contextlib.asynccontextmanager
async def mounted(
    operations: Operations,
    mountpoint: Path,
    *,
    name: str,
    allow_other: bool,
    channel: int | None = None,
) -> AsyncIterator[Session]:
    """Mount, and unmount at the end if nobody did.  MountFailed with what libfuse said.

    *channel*: the descriptor of a /dev/fuse that is mounted at *mountpoint* already.
    """
    logging.getLogger("pyfuse3").addFilter(_is_news)
    options = {"ro", "default_permissions", "noatime", f"fsname={name}", "subtype=vbofs"}
    if allow_other:
        options.add("allow_other")
    with _stderr() as said:
        try:
            # libfuse takes this name for a channel that somebody else has mounted.
            target = str(mountpoint) if channel is None else f"/dev/fd/{channel}"
            pyfuse3.init(operations, target, options)
        except RuntimeError as error:
            why = " ".join(said().split()) or str(error)
            raise MountFailed(f"cannot mount on {mountpoint}: {why}") from error
    try:
        yield Session(mountpoint, is_handed_over=channel is not None)
    finally:
        # Unmounts only what is still ours: libfuse looks whether the connection is alive.
        pyfuse3.close(unmount=True)


@contextlib.contextmanager
def _stderr() -> Iterator[Callable[[], str]]:
    """Catch what libfuse and fusermount3 print straight to descriptor 2."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)

        def said() -> str:
            caught.seek(0)
            return caught.read(4096).decode(errors="replace")

        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
