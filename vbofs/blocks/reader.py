"""One open file's way to its bytes: what a read needs, and what it tells the policies."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from ..errors import BlockUnavailable
from ..model import Blob, Extent
from .extents import BLOCK_SIZE, clipped, covering, span
from .fetcher import Fetcher
from .pursuit import Pursuit
from .readahead import ReadAhead
from .store import BlockStore
from .succession import Succession

#: A block that has just been fetched may be evicted or damaged before it is read.  Those who wait
#: for a flight mostly get its bytes from memory, so a round that brings nothing is bad luck; after
#: so many of them in a row somebody spoils the cache as fast as it is filled.
ROUNDS = 5
#: Bytes.  Who begins a file with less than the kernel's smallest read-ahead has asked for a few
#: bytes of it, as HDF5 does for its signature; programs that copy begin with 32 KiB and more.
PEEK = 16 << 10


class BlobReader:
    """Reads *blob* for one handle or for many; safe to call from many tasks at once.

    *pursuit*: whoever fetches what an HDF5 reader will want, for files that are likely to be HDF5.
    """

    def __init__(
        self, blob: Blob, store: BlockStore, fetcher: Fetcher, pursuit: Pursuit | None = None
    ) -> None:
        self.blob = blob
        self._store = store
        self._fetcher = fetcher
        self._pursuit = pursuit
        self._readahead = ReadAhead(blob.size)
        self._succession = Succession()

    def __repr__(self) -> str:
        return f"<BlobReader {self.blob.version.key} {self._readahead!r}>"

    async def read(self, offset: int, size: int) -> memoryview:
        """The bytes [offset, offset + size), fewer at the end of the blob, as read(2) has it.

        BlockUnavailable if one of them cannot be had; never a wrong one.
        """
        extent = clipped(offset, size, self.blob.size)
        if not extent.size:
            return memoryview(b"")
        self._fetcher.note_read()
        blocks = covering(extent)
        array = self._pursuit.array_at(extent.stop - 1) if self._pursuit else None
        ahead = self._ahead(extent, blocks, array)
        if self._pursuit and self._readahead.has_jumped:
            self._pursuit.begin()
        elif self._pursuit and extent.stop <= PEEK:
            self._pursuit.peek()
        answer = self._from_disk(extent)
        # Another daemon may have fetched again what this one has condemned.
        if answer is None or self._fetcher.verifier.is_condemned(self.blob):
            with self._pursuit.waited_for(extent) if self._pursuit else contextlib.nullcontext():
                answer = await self._fetched(extent, blocks, ahead)
        else:
            self._fetcher.note_hit(len(blocks))
            for some in ahead:
                self._fetcher.want(self.blob, some)
        if self._pursuit:
            self._pursuit.saw(extent)
        return answer

    @property
    def is_suspect(self) -> bool:
        """Bytes of it that were handed out before may have been wrong."""
        return self._fetcher.verifier.is_suspect(self.blob)

    def close(self) -> None:
        """The last handle is gone."""
        if self._pursuit:
            self._pursuit.close()
        self._fetcher.abandon(self.blob)

    def _from_disk(self, extent: Extent) -> memoryview | None:
        file = self._store.file(self.blob)
        return file.read(extent) if file else None

    def _ahead(self, extent: Extent, blocks: range, array: Extent | None) -> list[range]:
        """What to fetch because of a read of *extent*, which is in *array*, beyond its *blocks*."""
        following = self._pursuit.array_after(array) if self._pursuit and array else None
        ahead = covering(self._readahead.observe(extent, array, following))
        wanted = [range(max(ahead.start, blocks.stop), max(ahead.stop, blocks.stop))]
        if self._pursuit and array:
            self._succession.forget(array)
            if meant := self._readahead.meant:
                visits, whole = self._pursuit.arrays, self._readahead.through
                wanted += map(covering, self._succession.after(meant, visits, whole))
            self._readahead.goes_by_name = self._succession.is_followed
            if self._succession.is_followed:
                self._pursuit.visited()
        return [some for some in wanted if some]

    async def _fetched(self, extent: Extent, blocks: range, ahead: list[range]) -> memoryview:
        # What one round brought is kept for the next: in a cache smaller than the read, each block
        # that lands may evict those that were there.
        here: dict[int, bytes | memoryview] = {}
        futile = 0
        while futile < ROUNDS:
            before = len(here)
            here.update(await self._fetcher.have(self.blob, blocks, but=here.keys(), ahead=ahead))
            if not here and (answer := self._from_disk(extent)) is not None:
                return answer
            self._gather(blocks, here)
            if len(here) == len(blocks):
                return _joined(extent, here)
            futile = futile + 1 if len(here) == before else 0
        raise BlockUnavailable(
            f"{self.blob.version.key}: bytes {extent.start}-{extent.stop} are lost from the cache"
            " as fast as they are fetched"
        )

    def _gather(self, blocks: range, here: dict[int, bytes | memoryview]) -> None:
        """Add to *here* what of *blocks* is on disk and sound.

        All of it: a disk that has damaged many is found out, and made up for, in one round.
        """
        for block in blocks:
            if block not in here:
                content = self._from_disk(span(range(block, block + 1), self.blob.size))
                if content is not None:
                    here[block] = content


def _joined(extent: Extent, here: Mapping[int, bytes | memoryview]) -> memoryview:
    """*extent*, of which *here* has all blocks."""
    pieces = []
    for block in covering(extent):
        base = block * BLOCK_SIZE
        start, stop = max(extent.start - base, 0), min(extent.stop - base, BLOCK_SIZE)
        pieces.append(memoryview(here[block])[start:stop])
    return pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))
