"""One blob on disk, as far as it is here: a sparse file of its bytes and a map beside it.

The map is a header and eight bytes per block: the block's xxh3-64, or 0 where it is not here.
Nothing else is kept, in memory or on disk, so several daemons can share a blob with no lock, and a
crash cannot leave a lie that is believed:

* a block is written to the data first and to the map after, and
* whenever a block leaves this file its bytes are compared with the map, every time.

The header ends with a stamp that says that all blocks together were compared with the publisher's
digest; whatever changes a block takes it away.

A block that was cut off, evicted under a reader, damaged, or lost in a power failure while its
map entry survived is thus a miss, and is fetched again.  Bytes are copied out with pread(2), not
mapped: a mapping of a file that another process truncates, or on a disk that fails, ends the
process with SIGBUS, and the mount with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import itertools
import logging
import os
import secrets
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import xxhash

from ..model import Blob, Extent
from .extents import BLOCK_SIZE, BLOCKS_PER_PART, block_count, covering, span

log = logging.getLogger(__name__)

MAGIC = b"vbofsmap"
FORMAT = 1
#: magic, format, block size, blob size, ident, xxh3-64 of all that; padded to 56 bytes.
_HEADER = struct.Struct("<8sIIQ16s")
STAMP_OFFSET = 56
HEADER_SIZE = 64
VERIFIED = b"verified"
SLOT_SIZE = 8
#: Slots looked at in one go: a terabyte's map is 64 MB, and many times that as Python's numbers.
SLOTS_AT_ONCE = 512
#: Seconds between two stamps of a blob in use, for those who evict in another process.
STAMP_INTERVAL = 300.0

#: FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, from <linux/falloc.h>.
_PUNCH_HOLE = 1 | 2
#: ioctl(2): share all extents of another file; from <linux/fs.h>.
_FICLONE = 0x40049409
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


class BlobFile:
    """Blocks of *blob* in the files *path* and *path*.map, made if they are not there.

    OSError from the constructor: the disk refuses.  Safe to use from several threads.
    """

    def __init__(
        self, path: Path, blob: Blob, note_damage: Callable[[int], None] = lambda blocks: None
    ) -> None:
        self.blob = blob
        self._path = path
        self.opened_at = time.time()
        #: When each part was used last, in seconds since 1970, as far as this object knows.
        self.used_at: dict[int, float] = {}
        self._note_damage = note_damage
        self._stamped_at = 0.0
        #: Its disk gives no right bytes and takes no word of that: it is not to be asked again.
        self.failed = False
        self._gap = 0  # Some block that was missing when somebody last looked for one.
        self._map = self._data = -1
        map_path = path.with_name(path.name + ".map")
        try:
            self._map = _open_map(map_path, blob)
            self._data = os.open(
                path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600 | _readers(path)
            )
            if os.fstat(self._data).st_size != blob.size:
                os.ftruncate(self._data, blob.size)
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            self._open_read_only(path, map_path)

    def _open_read_only(self, path: Path, map_path: Path) -> None:
        """What is here can still be read.  OSError: nothing is."""
        self.__del__()
        self._map = os.open(map_path, os.O_RDONLY | os.O_CLOEXEC)
        if os.pread(self._map, STAMP_OFFSET, 0) != _header(self.blob):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(map_path))
        self._data = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        # A worker thread may outlive the store's interest in this file; whoever lets go last
        # closes, so that a late write can never land in a descriptor that was given away.
        for fd in (self._map, self._data):
            if fd >= 0:
                os.close(fd)
        self._map = self._data = -1

    def __repr__(self) -> str:
        return f"<BlobFile {self.blob.version.key} {self.blob.ident}>"

    def missing(self, blocks: range) -> list[int]:
        """Those of *blocks* that the map does not have; nothing is promised of the others."""
        return [block for block, mark in zip(blocks, self._marks(blocks), strict=True) if not mark]

    def read(self, extent: Extent, *, use: bool = True) -> memoryview | None:
        """Exactly *extent*, every block of it compared with its checksum; None: not all is here.

        *extent* must not be empty, and must lie in the blob.  *use*: it counts as used.
        """
        blocks = covering(extent)
        marks = self._marks(blocks)
        if 0 in marks:
            return None
        if use:
            self._use(blocks)
        whole = span(blocks, self.blob.size)
        try:
            view = memoryview(os.pread(self._data, whole.size, whole.start))
        except OSError as error:
            log.warning("%r: cannot be read from the cache: %s", self, error)
            view = memoryview(b"")
        damaged = [b for n, b in enumerate(blocks) if not _is_sound(view, n, marks[n])]
        if damaged:
            self._quarantine(damaged, blocks, view, marks)
            return None
        return view[extent.start - whole.start : extent.stop - whole.start]

    def expect(self, extent: Extent) -> None:
        """*extent*, all of which is here, will soon be read: have the disk begin now, while the
        kernel copies what was read before."""
        with contextlib.suppress(OSError):
            os.posix_fadvise(self._data, extent.start, extent.size, os.POSIX_FADV_WILLNEED)

    def _quarantine(
        self, damaged: list[int], blocks: range, view: memoryview, marks: tuple[int, ...]
    ) -> None:
        """Make misses of *damaged*, and say of each what was found and where: whoever looks for a
        bad disk needs its place, not its bytes."""
        for block in damaged:
            nth = block - blocks.start
            log.info(
                "%s: block %d at byte %d of %s is not what was written: xxh3 %016x, not %016x;"
                " it is fetched again",
                self.blob.version.key,
                block,
                block * BLOCK_SIZE,
                self._path,
                _mark(_nth(view, nth)),
                marks[nth],
            )
        self._note_damage(len(damaged))
        try:
            self.forget(damaged)
        except OSError:
            self.failed = True  # Or it would be read in vain, and said, for ever.

    def put(self, block: int, content: memoryview) -> None:
        """Keep *content*, the whole of *block* and perhaps of those that follow it.

        OSError: the disk refuses.
        """
        start = block * BLOCK_SIZE
        blocks = covering(Extent(start, start + len(content)))
        marks = [_mark(_nth(content, nth)) for nth in range(len(blocks))]
        self._use(blocks)
        self._unverify()
        _write(self._data, content, start)
        _write(self._map, struct.pack(f"<{len(marks)}Q", *marks), HEADER_SIZE + SLOT_SIZE * block)

    def forget(self, blocks: Iterable[int]) -> None:
        """Make misses of *blocks*.  OSError: the disk refuses."""
        self._unverify()
        for some in _stretches(blocks):
            _write(self._map, b"\0" * SLOT_SIZE * len(some), HEADER_SIZE + SLOT_SIZE * some.start)

    def is_complete(self) -> bool:
        """Whether the map has every block.

        Asked after every request: mostly one look at the gap that the last answer rested on.
        """
        count = block_count(self.blob.size)
        for start, stop in ((self._gap, count), (0, count)):
            for some in _stretches(range(start, stop)):
                gap = next(iter(self.missing(some)), None)
                if gap is not None:
                    self._gap = gap
                    return False
        return True

    @property
    def is_unlinked(self) -> bool:
        """Its files have been removed: what is written to them is seen, and counted, by nobody."""
        return not (os.fstat(self._map).st_nlink and os.fstat(self._data).st_nlink)

    @property
    def verified(self) -> bool:
        """Whether all of it was compared with the publisher's digest, and nothing changed since."""
        try:
            return os.pread(self._map, len(VERIFIED), STAMP_OFFSET) == VERIFIED
        except OSError:
            return False

    def mark_verified(self) -> None:
        """Remember that it is what was published.  OSError: the disk refuses."""
        _write(self._map, VERIFIED, STAMP_OFFSET)

    def _unverify(self) -> None:
        if self.verified:
            _write(self._map, b"\0" * len(VERIFIED), STAMP_OFFSET)

    def clone_to(self, fd: int) -> bool:
        """Have the empty file *fd* share this one's extents; False: its disk does not do that.

        What is shared is what is on disk, present and sound or not.
        """
        try:
            fcntl.ioctl(fd, _FICLONE, self._data)
        except OSError:
            return False
        return True

    def punch(self, extent: Extent) -> None:
        """Give the room of *extent* back to the disk.  Its blocks must have been forgotten."""
        if _libc.fallocate(self._data, _PUNCH_HOLE, extent.start, extent.size) == 0:
            return
        number = ctypes.get_errno()
        if number not in (errno.EOPNOTSUPP, errno.ENOSYS):
            raise OSError(number, os.strerror(number))
        # A disk that knows no holes: all of the blob goes, whatever else was in it.
        self.forget(range(block_count(self.blob.size)))
        os.ftruncate(self._data, 0)
        os.ftruncate(self._data, self.blob.size)

    def _marks(self, blocks: range) -> tuple[int, ...]:
        size = SLOT_SIZE * len(blocks)
        try:
            slots = os.pread(self._map, size, HEADER_SIZE + SLOT_SIZE * blocks.start)
        except OSError:
            slots = b""
        # A map that somebody cut short has no opinion on the rest.
        return struct.unpack(f"<{len(blocks)}Q", slots.ljust(size, b"\0"))

    def _use(self, blocks: range) -> None:
        now = time.time()
        for part in {blocks[0] // BLOCKS_PER_PART, blocks[-1] // BLOCKS_PER_PART}:
            self.used_at[part] = now
        if now - self._stamped_at > STAMP_INTERVAL:
            self._stamped_at = now
            with contextlib.suppress(OSError):
                os.utime(self._map)


def _nth(view: memoryview, nth: int) -> memoryview:
    """The nth block of *view*."""
    return view[nth * BLOCK_SIZE : (nth + 1) * BLOCK_SIZE]


def _is_sound(view: memoryview, nth: int, mark: int) -> bool:
    return _mark(_nth(view, nth)) == mark


def _mark(content: memoryview) -> int:
    return xxhash.xxh3_64_intdigest(content) or 1  # 0 says that there is nothing.


def _write(fd: int, content: bytes | memoryview, offset: int) -> None:
    view = memoryview(content)
    while view:  # pwrite(2) may write less, on a disk that is nearly full.
        try:
            written = os.pwrite(fd, view, offset)
        except OSError as error:
            if error.errno == errno.EBADF:  # Opened when the disk could only be read.
                raise OSError(errno.EROFS, os.strerror(errno.EROFS)) from error
            raise
        view, offset = view[written:], offset + written


def _stretches(blocks: Iterable[int]) -> Iterator[range]:
    """*blocks* in pieces whose slots are a page of the map; those that lie apart, one by one."""
    if not isinstance(blocks, range):
        yield from (range(block, block + 1) for block in blocks)
        return
    for start in range(blocks.start, blocks.stop, SLOTS_AT_ONCE):
        yield range(start, min(start + SLOTS_AT_ONCE, blocks.stop))


def map_size(size: int) -> int:
    """Bytes in the map of a *size*-byte blob."""
    return HEADER_SIZE + SLOT_SIZE * block_count(size)


def header_of(blob: Blob) -> bytes:
    """How the map of *blob* begins, up to the stamp; a file that does not is not its map."""
    return _header(blob)


def _header(blob: Blob) -> bytes:
    head = _HEADER.pack(MAGIC, FORMAT, BLOCK_SIZE, blob.size, bytes.fromhex(blob.ident))
    return (head + xxhash.xxh3_64_digest(head)).ljust(STAMP_OFFSET, b"\0")


def _open_map(path: Path, blob: Blob) -> int:
    """The map of *blob*, made if there is none or one that cannot be believed."""
    header = _header(blob)
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


def _readers(path: Path) -> int:
    """The mode's bits for others who may read: those that ``blobs/`` has, which is made for its
    owner alone.  Who opens it lends the cache to those whose lower cache it is."""
    try:
        return path.parent.parent.stat().st_mode & 0o044
    except OSError:
        return 0


def _make_map(path: Path, header: bytes, size: int) -> None:
    """Put a whole, empty map at *path*, unless somebody else has been faster."""
    readers = _readers(path)
    path.parent.mkdir(exist_ok=True, mode=0o700 | readers | readers >> 2)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 | readers)
    try:
        _write(fd, header, 0)
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
    if os.pread(marks_at, STAMP_OFFSET, 0) != _header(blob):
        return memoryview(b""), True
    size = SLOT_SIZE * len(blocks)
    slots = os.pread(marks_at, size, HEADER_SIZE + SLOT_SIZE * blocks.start).ljust(size, b"\0")
    marks = list(itertools.takewhile(bool, struct.unpack(f"<{len(blocks)}Q", slots)))
    if not marks:
        return memoryview(b""), False
    whole = span(blocks[: len(marks)], blob.size)
    view = memoryview(os.pread(data_at, whole.size, whole.start))
    sound = next((n for n, mark in enumerate(marks) if not _is_sound(view, n, mark)), len(marks))
    return view[: sound * BLOCK_SIZE], sound < len(marks)
