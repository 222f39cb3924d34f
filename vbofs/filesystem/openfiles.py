"""The files that are open: their readers, and what was read of them.

Readers are per file, not per handle: two programs that read one file sequentially share one
read-ahead, and ten thousand handles cost ten thousand counts.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

import trio
from cachetools import LRUCache

from ..blocks.fetcher import Fetcher
from ..blocks.pursuit import Pursuit
from ..blocks.reader import BlobReader
from ..blocks.store import BlockStore
from ..catalog.reads import Reads
from ..errors import VbofsError
from ..histogram import READ_BOUNDS, Histogram, HistogramStatistics
from ..model import Blob, Extent

#: Files whose metadata are followed; content that only claims to be HDF5 is soon found out.
HDF5_NAMES = (".nwb", ".h5", ".hdf5", ".hdf", ".he5", ".mat", ".nc")


@dataclass(frozen=True)
class ReadStatistics:
    """*handles* and *files* are open now; the others count since the daemon began.

    *reads*, *bytes* and *latency* are of reads that were answered, *failed* of the others.
    """

    handles: int
    files: int
    reads: int
    bytes: int
    failed: int
    latency: HistogramStatistics


class OpenFiles:
    """Counts the handles on files by their inode numbers, and answers their reads.

    *chase*: follow the metadata of HDF5 files ahead of their readers, in *nursery*.
    """

    def __init__(
        self, store: BlockStore, fetcher: Fetcher, nursery: trio.Nursery, *, chase: bool
    ) -> None:
        self._store = store
        self._fetcher = fetcher
        self._nursery = nursery
        self._handles: Counter[int] = Counter()
        self._readers: dict[int, BlobReader] = {}
        self._chase = chase
        self._chased: LRUCache[str, list[Extent]] = LRUCache(4096)
        self._reads = self._read_bytes = self._failed = 0
        self._latency = Histogram(READ_BOUNDS)
        #: What is read, while somebody wants that recorded.
        self.recorded: Reads | None = None

    def __repr__(self) -> str:
        return f"<OpenFiles, {self._handles.total()} handles on {len(self._readers)} files>"

    def statistics(self) -> ReadStatistics:
        return ReadStatistics(
            self._handles.total(),
            len(self._readers),
            self._reads,
            self._read_bytes,
            self._failed,
            self._latency.statistics(),
        )

    def open(self, ino: int, blob: Blob) -> bool:
        """Count a handle; whether what the kernel keeps of the file may be kept."""
        self._handles[ino] += 1
        if ino not in self._readers:
            self._readers[ino] = self._reader(blob)
        # What the kernel has kept it would not ask for, so nobody would know that it was read.
        is_recorded_anew = self.recorded is not None and self.recorded.is_first_open(ino)
        return not (is_recorded_anew or self._readers[ino].is_suspect)

    def _reader(self, blob: Blob) -> BlobReader:
        pursuit = None
        if self._chase and blob.version.key.endswith(HDF5_NAMES):
            pursuit = Pursuit(blob, self._store, self._fetcher, self._nursery, self._chased)
        return BlobReader(blob, self._store, self._fetcher, pursuit)

    @property
    def opened(self) -> list[int]:
        """The files that are open."""
        return list(self._readers)

    def close(self, ino: int) -> None:
        """The kernel lets go of a handle; with the last one, read-ahead ends."""
        if ino not in self._readers:
            return
        self._handles[ino] -= 1
        if self._handles[ino] <= 0:
            del self._handles[ino]
            self._readers.pop(ino).close()

    async def read(self, ino: int, offset: int, size: int) -> memoryview:
        """Bytes of an open file, fewer than *size* only at its end.  BlockUnavailable."""
        reader = self._readers[ino]
        begun = time.perf_counter()
        try:
            content = await reader.read(offset, size)
        except VbofsError:
            self._failed += 1
            raise
        self._latency.observe(time.perf_counter() - begun)
        self._reads += 1
        self._read_bytes += len(content)
        if self.recorded is not None:
            self.recorded.note(ino, reader.blob, offset, len(content))
        return content
