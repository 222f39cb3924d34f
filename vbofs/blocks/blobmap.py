"""The map of a blob on disk: which of its blocks are here, and what each must be.

A header that says whose map it is, a stamp, and eight bytes per block: the block's xxh3-64, or 0
where it is not here.  See blobfile.py for how the two files together cannot lie.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import os
import secrets
import struct
from pathlib import Path

import xxhash

from ..model import Blob, Extent
from .extents import BLOCK_SIZE, block_count, covering, span

log = logging.getLogger(__name__)

MAGIC = b"vbofsmap"
FORMAT = 1
#: magic, format, block size, blob size, ident, xxh3-64 of all that; padded to 56 bytes.
_HEADER = struct.Struct("<8sIIQ16s")
STAMP_OFFSET = 56
HEADER_SIZE = 64
VERIFIED = b"verified"
SLOT_SIZE = 8


def nth_block(view: memoryview, nth: int) -> memoryview:
    """The nth block of *view*."""
    return view[nth * BLOCK_SIZE : (nth + 1) * BLOCK_SIZE]


def is_sound(view: memoryview, nth: int, mark: int) -> bool:
    return mark_of(nth_block(view, nth)) == mark


def mark_of(content: memoryview) -> int:
    return xxhash.xxh3_64_intdigest(content) or 1  # 0 says that there is nothing.


def write_all(fd: int, content: bytes | memoryview, offset: int) -> None:
    view = memoryview(content)
    while view:  # pwrite(2) may write less, on a disk that is nearly full.
        try:
            written = os.pwrite(fd, view, offset)
        except OSError as error:
            if error.errno == errno.EBADF:  # Opened when the disk could only be read.
                raise OSError(errno.EROFS, os.strerror(errno.EROFS)) from error
            raise
        view, offset = view[written:], offset + written


def write_blocks(places: tuple[int, int], block: int, content: memoryview) -> None:
    """Keep *content*, the whole of *block* and perhaps of those that follow it.

    *places* are descriptors of the map and the data.  The data come first: whenever this process
    ends, the map knows of no block that is not here.  OSError: the disk refuses.
    """
    marks_at, data_at = places
    start = block * BLOCK_SIZE
    count = len(covering(Extent(start, start + len(content))))
    marks = [mark_of(nth_block(content, nth)) for nth in range(count)]
    unverify(marks_at)
    write_all(data_at, content, start)
    write_all(marks_at, struct.pack(f"<{count}Q", *marks), HEADER_SIZE + SLOT_SIZE * block)


def is_verified(marks_at: int) -> bool:
    """Whether the map at this descriptor says that all of its blob was what was published."""
    try:
        return os.pread(marks_at, len(VERIFIED), STAMP_OFFSET) == VERIFIED
    except OSError:
        return False


def unverify(marks_at: int) -> None:
    """Take the stamp away: something is about to change.  OSError: the disk refuses."""
    if is_verified(marks_at):
        write_all(marks_at, b"\0" * len(VERIFIED), STAMP_OFFSET)


def map_size(size: int) -> int:
    """Bytes in the map of a *size*-byte blob."""
    return HEADER_SIZE + SLOT_SIZE * block_count(size)


def header_of(blob: Blob) -> bytes:
    """How the map of *blob* begins, up to the stamp; a file that does not is not its map."""
    head = _HEADER.pack(MAGIC, FORMAT, BLOCK_SIZE, blob.size, bytes.fromhex(blob.ident))
    return (head + xxhash.xxh3_64_digest(head)).ljust(STAMP_OFFSET, b"\0")


def open_map(path: Path, blob: Blob) -> int:
    """The map of *blob*, made if there is none or one that cannot be believed."""
    header = header_of(blob)
    for _ in range(3):  # Another daemon may make or remove it at the same time.
        with contextlib.suppress(FileNotFoundError):
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                if os.pread(fd, STAMP_OFFSET, 0) == header:
                    return fd
            except OSError:  # A disk that fails is asked again at every read.
                os.close(fd)
                raise
            os.close(fd)
            log.warning("%s: not the map that belongs there; its blocks are fetched again", path)
            os.unlink(path)
        _make_map(path, header, map_size(blob.size))
    raise FileNotFoundError(f"{path}: vanishes as often as it is made")


def mode_of_readers(path: Path) -> int:
    """The mode's bits for others who may read: those that ``blobs/`` has, which is made for its
    owner alone.  Who opens it lends the cache to those whose lower cache it is."""
    try:
        return path.parent.parent.stat().st_mode & 0o044
    except OSError:
        return 0


def _make_map(path: Path, header: bytes, size: int) -> None:
    """Put a whole, empty map at *path*, unless somebody else has been faster."""
    readers = mode_of_readers(path)
    path.parent.mkdir(exist_ok=True, mode=0o700 | readers | readers >> 2)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 | readers)
    try:
        write_all(fd, header, 0)
        os.ftruncate(fd, size)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.close(fd)
        os.unlink(draft)


def sound_start(places: tuple[int, int], blob: Blob, blocks: range) -> tuple[memoryview, bool]:
    """The bytes of *blocks* up to the first that is not here and sound, and whether it is damaged.

    *places* are descriptors of the map and the data of a blob that somebody else may be writing;
    nothing is changed in them, and nothing in them is believed.  OSError: the disk refuses.
    """
    marks_at, data_at = places
    if os.pread(marks_at, STAMP_OFFSET, 0) != header_of(blob):
        return memoryview(b""), True
    size = SLOT_SIZE * len(blocks)
    slots = os.pread(marks_at, size, HEADER_SIZE + SLOT_SIZE * blocks.start).ljust(size, b"\0")
    marks = list(itertools.takewhile(bool, struct.unpack(f"<{len(blocks)}Q", slots)))
    if not marks:
        return memoryview(b""), False
    whole = span(blocks[: len(marks)], blob.size)
    view = memoryview(os.pread(data_at, whole.size, whole.start))
    sound = next((n for n, mark in enumerate(marks) if not is_sound(view, n, mark)), len(marks))
    return view[: sound * BLOCK_SIZE], sound < len(marks)
