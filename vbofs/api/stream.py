"""A file of a release as a Python file object, for programs without a mount."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from ..blocks.stream import BlobStream
from ..garbage import NO_COLLECTION
from .worker import Worker

if TYPE_CHECKING:
    from ..blocks.reader import BlobReader
    from ..daemon import Floors
    from ..model import Blob

#: Bytes: two blocks.  h5py asks for hundreds of bytes at a time; each question crosses threads.
BUFFER = 128 << 10


class WorkerStream(BlobStream):
    """The bytes of *blob* through the block store, like an open file of a mount."""

    def __init__(self, worker: Worker, blob: Blob) -> None:
        super().__init__(blob)
        self._worker = worker
        self._reader: BlobReader | None = None

    def bytes_at(self, offset: int, size: int) -> memoryview:
        """VbofsError if they cannot be had."""

        async def read(floors: Floors) -> memoryview:
            if self._reader is None:
                self._reader = floors.reader(self.blob)
            return await self._reader.read(offset, size)

        with NO_COLLECTION:
            return self._worker.run(read)

    def close(self) -> None:
        if self._reader is not None and not self.closed:
            self._worker.soon(self._reader.close)
            self._reader = None
        super().close()


def opened(worker: Worker, blob: Blob) -> io.BufferedReader:
    """*blob* as an open binary file."""
    return io.BufferedReader(WorkerStream(worker, blob), BUFFER)
