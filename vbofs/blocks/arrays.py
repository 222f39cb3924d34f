"""Where the named arrays of an HDF5 file lie, found by h5py reading through the block cache.

Unlike ``hdf5/``, which guesses what a reader will want from any bytes whatever, this asks the
library itself: names, links, chunk indexes.  It runs in a command's process, never in a daemon: a
file is outside input, and the library that parses it is in C.

The file's structure comes first, in a few waves of parallel requests (``pursuit.py``), and then
h5py finds it on disk.  Looking leaves it there, with every attribute and every array that is
smaller than a block, so that whatever else was left out the file can be opened and listed.
"""

from __future__ import annotations

import fnmatch
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import trio

from ..errors import BlockUnavailable, ExtraMissing, VbofsError
from ..garbage import NO_COLLECTION
from ..model import Extent
from .extents import BLOCK_SIZE, clipped
from .reader import BlobReader
from .stream import BlobStream

#: Objects looked at in one file; published ones have some 400.
MOST_OBJECTS = 100_000
#: Links followed in a row: groups may contain each other.
DEEPEST = 64
#: Bytes of memory that the value of a small array may take.
LARGEST_VALUE = 1 << 20


#: h5py has one lock for all of it, so one thread at a time is inside.
_H5PY = trio.Lock()


class Array(NamedTuple):
    """A dataset of an HDF5 file: its name in the file, and where its bytes lie."""

    name: str
    extents: tuple[Extent, ...]

    def is_called(self, word: str) -> bool:
        """*word* is its name, that of a group around it, or a pattern of either (``*`` and ``?``).

        Either whole (``processing/ophys/dff``) or its last part (``dff``).
        """
        parts = self.name.split("/")
        heads = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        return any(fnmatch.fnmatchcase(name, word.strip("/")) for name in (*parts, *heads))


def check_available() -> None:
    """ExtraMissing, if h5py is not installed."""
    try:
        import h5py  # noqa: F401
    except ImportError as error:
        raise ExtraMissing(
            "--only and --without need h5py; install it with: pip install 'vbofs[hdf5]'"
        ) from error


async def arrays_in(reader: BlobReader) -> list[Array]:
    """Every array of the HDF5 file that *reader* reads, in no order; none if it is no HDF5.

    BlockUnavailable if the structure cannot be had.
    """
    if not await _is_hdf5(reader):
        return []
    file = _CachedFile(reader)
    async with _H5PY:
        with NO_COLLECTION:
            found = await trio.to_thread.run_sync(_listed, file)
    if isinstance(found, str):
        key = reader.blob.version.key
        raise file.trouble or BlockUnavailable(f"{key}: its HDF5 structure cannot be read: {found}")
    return found


def chosen(arrays: Iterable[Array], words: Sequence[str]) -> list[Array]:
    """Those of *arrays* that some of *words* name."""
    return [array for array in arrays if any(array.is_called(word) for word in words)]


def apart_from(size: int, arrays: Iterable[Array]) -> list[Extent]:
    """What a *size*-byte file holds besides *arrays*."""
    gaps, at = [], 0
    for extent in sorted(extent for array in arrays for extent in array.extents):
        if extent.start > at:
            gaps.append(Extent(at, extent.start))
        at = max(at, extent.stop)
    return [*gaps, Extent(at, size)] if at < size else gaps


async def _is_hdf5(reader: BlobReader) -> bool:
    from .hdf5 import is_hdf5

    return is_hdf5(bytes(await reader.read(0, BLOCK_SIZE)))


class _CachedFile(BlobStream):
    """A blob as a file, for a thread; what it waits for, trio's thread fetches."""

    def __init__(self, reader: BlobReader) -> None:
        super().__init__(reader.blob)
        self._reader = reader
        #: Why a read failed: HDF5 loses the reason on its way.
        self.trouble: VbofsError | None = None

    def bytes_at(self, offset: int, size: int) -> memoryview:
        """OSError if they cannot be had."""
        try:
            return trio.from_thread.run(self._reader.read, offset, size)
        except VbofsError as error:
            self.trouble = error.with_traceback(None)
            raise OSError(str(error)) from None


def _listed(file: _CachedFile) -> list[Array] | str:
    """The arrays, or why they cannot be listed."""
    import h5py

    size = file.seek(0, io.SEEK_END)
    try:
        with h5py.File(file, "r") as opened:
            _touch_attributes(opened)
            return [Array(name, _extents(found, size)) for name, found in _walk(opened)]
    except Exception as error:  # h5py raises whatever it likes where a file is damaged.
        return str(error) or repr(error)


def _walk(root: Any) -> Iterator[tuple[str, Any]]:
    """Every dataset, by every name that leads to it; a soft link is a name like any other."""
    import h5py

    count = 0
    todo = [("", root, 0)]
    while todo:
        prefix, group, depth = todo.pop()
        for name in group:
            count += 1
            if count > MOST_OBJECTS or depth > DEEPEST:
                raise BlockUnavailable("it has more objects in it than any file that we know")
            if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
                continue
            found = group.get(name)
            if isinstance(found, h5py.Group):
                _touch_attributes(found)
                todo.append((f"{prefix}{name}/", found, depth + 1))
            elif isinstance(found, h5py.Dataset):
                _touch_attributes(found)
                yield f"{prefix}{name}", found


def _touch_attributes(found: Any) -> None:
    """Read them all, so that they are here."""
    for name in found.attrs:
        try:
            found.attrs[name]
        except (TypeError, KeyError, ValueError):  # A type that h5py does not know.
            continue


def _extents(found: Any, size: int) -> tuple[Extent, ...]:
    stored = found.id.get_storage_size()
    if stored <= BLOCK_SIZE and not found.external and not found.is_virtual:
        _touch_value(found)
    if found.chunks is not None and not found.is_virtual:
        extents: list[Extent] = []
        found.id.chunk_iter(
            lambda chunk: extents.append(clipped(chunk.byte_offset, chunk.size, size))
        )
        return tuple(_joined(extents))
    offset = found.id.get_offset()  # None: in the header, in another file, or nowhere yet.
    return () if offset is None else (clipped(offset, stored, size),)


def _touch_value(found: Any) -> None:
    try:
        # As the file claims it: little on disk may be terabytes once it is unpacked.
        if (found.size or 0) * found.dtype.itemsize <= LARGEST_VALUE:
            found[()]
    except (TypeError, ValueError, OSError):  # A type or a filter that h5py does not know.
        return


def _joined(extents: Iterable[Extent]) -> Iterator[Extent]:
    """*extents*, sorted, those that touch made one."""
    last: Extent | None = None
    for extent in sorted(extents):
        if last is not None and extent.start <= last.stop:
            last = Extent(last.start, max(last.stop, extent.stop))
            continue
        if last is not None:
            yield last
        last = extent
    if last is not None:
        yield last
