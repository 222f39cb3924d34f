"""A verified blob as an ordinary file, somewhere else.

The file is never a hard link to the cache's: eviction cuts holes into those and damage is mended in
them, and both would reach the export.  On a disk that shares extents between files (Btrfs, XFS) it
is a clone, which costs no room and is from then on a file of its own; elsewhere it is a copy.
Either way what is hashed is what the file will hold, and the name comes last.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ..model import Blob, Extent
from .blobfile import BlobFile
from .extents import PART_SIZE


class Outcome(enum.Enum):
    """What became of one file."""

    CLONED = "cloned"
    COPIED = "copied"
    THERE = "already there"
    OTHER = "another file is there"
    UNSOUND = "not all of it is cached and sound"

    @property
    def is_there(self) -> bool:
        """The file is there now, and is what was published."""
        return self in (Outcome.CLONED, Outcome.COPIED, Outcome.THERE)


def export(folder: Path, blob: Blob, target: Path, step: Callable[[int], None]) -> Outcome:
    """Make *target* of *blob*, kept under *folder*; *step* hears of bytes done.

    What stands there is left as it is.  OSError: the target's disk refuses.
    """
    if os.path.lexists(target):
        return Outcome.THERE if _is(target, blob, step) else Outcome.OTHER
    target.parent.mkdir(parents=True, exist_ok=True)
    file = BlobFile(folder / blob.ident[:2] / blob.ident, blob)
    with _draft(target) as draft:
        outcome = _fill(draft, file, step)
        if outcome is not Outcome.UNSOUND:
            os.fchmod(draft, 0o644)
            os.utime(draft, (blob.mtime, blob.mtime))
            os.fsync(draft)
            os.rename(_draft_name(target), target)  # Let go of only after this; see _draft.
        return outcome


def _fill(draft: int, file: BlobFile, step: Callable[[int], None]) -> Outcome:
    if file.clone_to(draft) and _digest_of(draft, step) == file.blob.digest:
        return Outcome.CLONED
    os.ftruncate(draft, 0)
    whole = hashlib.blake2b()
    for start in range(0, file.blob.size, PART_SIZE):
        piece = file.read(Extent(start, min(start + PART_SIZE, file.blob.size)), use=False)
        if piece is None:
            return Outcome.UNSOUND
        whole.update(piece)
        _write(draft, piece, start)
        step(len(piece))
    return Outcome.COPIED if whole.hexdigest() == file.blob.digest else Outcome.UNSOUND


def _is(path: Path, blob: Blob, step: Callable[[int], None]) -> bool:
    """The file at *path* has the bytes of *blob*."""
    if not path.is_file() or path.stat().st_size != blob.size:
        return False
    with path.open("rb") as file:
        return _digest_of(file.fileno(), step) == blob.digest


def _digest_of(fd: int, step: Callable[[int], None]) -> str:
    whole, at = hashlib.blake2b(), 0
    while piece := os.pread(fd, PART_SIZE, at):
        whole.update(piece)
        at += len(piece)
        step(len(piece))
    return whole.hexdigest()


def _draft_name(target: Path) -> Path:
    return target.with_name(f".{target.name}.vbofs-part")


@contextlib.contextmanager
def _draft(target: Path) -> Iterator[int]:
    """A file beside *target* to be filled and renamed; one that was left by a kill is used again.

    BlockingIOError: somebody else is just making the same file.
    """
    path = _draft_name(target)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    draft = os.open(path, flags, 0o600)
    try:
        fcntl.flock(draft, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_at(draft, path):  # Finished by somebody else between the two lines above.
            raise BlockingIOError(errno.EAGAIN, "another export is writing this file", str(path))
        os.ftruncate(draft, 0)
        try:
            yield draft
        finally:
            if _is_at(draft, path):  # Not renamed.
                os.unlink(path)
    finally:
        os.close(draft)


def _is_at(fd: int, path: Path) -> bool:
    """The file *fd* is still called *path*."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except OSError:
        return False


def _write(fd: int, content: memoryview, offset: int) -> None:
    while content:
        written = os.pwrite(fd, content, offset)
        content, offset = content[written:], offset + written
