"""A file of a release as a Python file object, for programs without a mount.

h5py holds its one lock while it waits for bytes of such a file, that is for the thread of trio.  So
that thread must never free an object of h5py's, which takes the lock: while somebody waits, no
cyclic garbage is collected.
"""

from __future__ import annotations

import gc
import io
import os
import threading
from typing import TYPE_CHECKING

from .worker import Worker

if TYPE_CHECKING:
    from ..blocks.reader import BlobReader
    from ..daemon import Floors
    from ..model import Blob

#: Bytes: a block.  h5py asks for hundreds of bytes at a time, and each question crosses threads.
BUFFER = 128 << 10


class BlobStream(io.RawIOBase):
    """The bytes of *blob* through the block store, like an open file of a mount.

    Not for two threads at once, as no file position is.
    """

    def __init__(self, worker: Worker, blob: Blob) -> None:
        super().__init__()
        self._worker = worker
        self._blob = blob
        self._at = 0
        self._reader: BlobReader | None = None

    def __repr__(self) -> str:
        return f"<BlobStream {self._blob.version.key}>"

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._blob.size}[whence]
        if base + offset < 0:
            raise ValueError(f"{base + offset} lies before the file's beginning")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill *buffer*; VbofsError if the bytes cannot be had."""
        with memoryview(buffer).cast("B") as room:

            async def read(floors: Floors) -> memoryview:
                if self._reader is None:
                    self._reader = floors.reader(self._blob)
                return await self._reader.read(self._at, len(room))

            with _NO_COLLECTION:
                content = self._worker.run(read)
            room[: len(content)] = content
        self._at += len(content)
        return len(content)

    def close(self) -> None:
        if self._reader is not None and not self.closed:
            self._worker.soon(self._reader.close)
            self._reader = None
        super().close()


class _NoCollection:
    """Keeps the garbage collector off from the first who enters until the last who leaves."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._was_enabled = False

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._was_enabled = gc.isenabled()
                gc.disable()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._was_enabled:
                gc.enable()


_NO_COLLECTION = _NoCollection()


def opened(worker: Worker, blob: Blob) -> io.BufferedReader:
    """*blob* as an open binary file."""
    return io.BufferedReader(BlobStream(worker, blob), BUFFER)
