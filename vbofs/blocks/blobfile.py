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
import logging
import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..model import Blob, Extent
from .blobmap import (
    HEADER_SIZE,
    SLOT_SIZE,
    STAMP_OFFSET,
    VERIFIED,
    header_of,
    is_sound,
    is_verified,
    mark_of,
    mode_of_readers,
    nth_block,
    open_map,
    unverify,
    write_all,
    write_blocks,
)
from .extents import BLOCK_SIZE, BLOCKS_PER_PART, block_count, covering, span

log = logging.getLogger(__name__)

#: Slots looked at in one go: a terabyte's map is 64 MB, and many times that as Python's numbers.
SLOTS_AT_ONCE = 512
#: Seconds between two stamps of a blob in use, for those who evict in another process.
STAMP_INTERVAL = 300.0

#: Bytes that the kernel is told to expect at a time.  Of one call it heeds no more than its disk
#: takes in one request (force_page_cache_ra, mm/readahead.c), and forgets the rest.
EXPECTED = 512 << 10

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
            self._map = open_map(map_path, blob)
            self._data = os.open(
                path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600 | mode_of_readers(path)
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
        if os.pread(self._map, STAMP_OFFSET, 0) != header_of(self.blob):
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
        damaged = [b for n, b in enumerate(blocks) if not is_sound(view, n, marks[n])]
        if damaged:
            self._quarantine(damaged, blocks, view, marks)
            return None
        return view[extent.start - whole.start : extent.stop - whole.start]

    def expect(self, extent: Extent) -> None:
        """*extent*, all of which is here, will soon be read: have the disk begin now, while the
        kernel copies what was read before."""
        with contextlib.suppress(OSError):
            for start in range(extent.start, extent.stop, EXPECTED):
                size = min(EXPECTED, extent.stop - start)
                os.posix_fadvise(self._data, start, size, os.POSIX_FADV_WILLNEED)

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
                mark_of(nth_block(view, nth)),
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
        self.use(Extent(start, start + len(content)))
        write_blocks((self._map, self._data), block, content)

    def forget(self, blocks: Iterable[int]) -> None:
        """Make misses of *blocks*.  OSError: the disk refuses."""
        unverify(self._map)
        for some in _stretches(blocks):
            write_all(
                self._map, b"\0" * SLOT_SIZE * len(some), HEADER_SIZE + SLOT_SIZE * some.start
            )

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
        return is_verified(self._map)

    def mark_verified(self) -> None:
        """Remember that it is what was published.  OSError: the disk refuses."""
        write_all(self._map, VERIFIED, STAMP_OFFSET)

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

    def use(self, extent: Extent) -> None:
        """*extent* counts as used now."""
        self._use(covering(extent))

    @property
    def places(self) -> tuple[int, int]:
        """Descriptors of the map and the data, open as long as this object is."""
        return self._map, self._data

    def _use(self, blocks: range) -> None:
        now = time.time()
        for part in {blocks[0] // BLOCKS_PER_PART, blocks[-1] // BLOCKS_PER_PART}:
            self.used_at[part] = now
        if now - self._stamped_at > STAMP_INTERVAL:
            self._stamped_at = now
            with contextlib.suppress(OSError):
                os.utime(self._map)


def _stretches(blocks: Iterable[int]) -> Iterator[range]:
    """*blocks* in pieces whose slots are a page of the map; those that lie apart, one by one."""
    if not isinstance(blocks, range):
        yield from (range(block, block + 1) for block in blocks)
        return
    for start in range(blocks.start, blocks.stop, SLOTS_AT_ONCE):
        yield range(start, min(start + SLOTS_AT_ONCE, blocks.stop))
