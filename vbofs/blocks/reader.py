"""One open file's way to its bytes: what a read needs, and what it tells the policies."""

from __future__ import annotations

from ..errors import BlockUnavailable
from ..model import Blob, Extent
from .extents import BLOCK_SIZE, clipped, covering
from .fetcher import Fetcher
from .pursuit import Pursuit
from .readahead import ReadAhead
from .store import BlockStore

#: A block that has just been fetched may be evicted or damaged before it is read.  Those who wait
#: for a flight get its bytes from memory, so the second round is the last one but for bad luck.
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
        ahead = covering(self._readahead.observe(extent, array))
        ahead = range(max(ahead.start, blocks.stop), max(ahead.stop, blocks.stop))
        if self._pursuit and self._readahead.has_jumped:
            self._pursuit.begin()
        elif self._pursuit and extent.stop <= PEEK:
            self._pursuit.peek()
        answer = self._from_disk(extent)
        # Another daemon may have fetched again what this one has condemned.
        if answer is None or self._fetcher.verifier.is_condemned(self.blob):
            if self._pursuit:
                self._pursuit.missed(extent)
            answer = await self._fetched(extent, blocks, ahead)
        else:
            self._fetcher.note_hit(len(blocks))
            if ahead:
                self._fetcher.want(self.blob, ahead)
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

    async def _fetched(self, extent: Extent, blocks: range, ahead: range) -> memoryview:
        # What one round brought is kept for the next: in a cache smaller than the read, each block
        # that lands may evict those that were there.
        loose: dict[int, bytes] = {}
        for _ in range(ROUNDS):
            loose.update(await self._fetcher.have(self.blob, blocks, ahead=ahead))
            answer = self._assembled(extent, loose)
            if answer is not None:
                return answer
        raise BlockUnavailable(
            f"{self.blob.version.key}: bytes {extent.start}-{extent.stop} are lost from the cache"
            " as fast as they are fetched"
        )

    def _assembled(self, extent: Extent, loose: dict[int, bytes]) -> memoryview | None:
        """*extent*, from blocks in memory and, for the others, from disk."""
        if not loose:
            return self._from_disk(extent)
        pieces = []
        for block in covering(extent):
            start = max(extent.start, block * BLOCK_SIZE)
            stop = min(extent.stop, (block + 1) * BLOCK_SIZE)
            content = loose.get(block)
            if content is not None:
                base = block * BLOCK_SIZE
                pieces.append(memoryview(content)[start - base : stop - base])
            else:
                piece = self._from_disk(Extent(start, stop))
                if piece is None:
                    return None
                pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))
