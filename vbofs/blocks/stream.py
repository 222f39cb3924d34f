"""A blob as a Python file object, for libraries that read files and know nothing of tasks.

h5py holds its one lock while it waits for bytes of such a file, that is for the thread of trio.  So
that thread must never free an object of h5py's, which takes the lock: while somebody waits no
cyclic garbage is collected, and no exception carries such an object out of h5py's thread.
"""

from __future__ import annotations

import io
import os

from ..model import Blob


class BlobStream(io.RawIOBase):
    """The bytes of *blob*, as ``bytes_at`` of a subclass gets them.

    Not for two threads at once, as no file position is.
    """

    def __init__(self, blob: Blob) -> None:
        super().__init__()
        self.blob = blob
        self._at = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.blob.version.key}>"

    def bytes_at(self, offset: int, size: int) -> memoryview:
        """*size* bytes from *offset* on, fewer only at the end.  It blocks."""
        raise NotImplementedError

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.blob.size}[whence]
        if start + offset < 0:
            raise ValueError(f"{start + offset} lies before the file's beginning")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill *buffer*; what ``bytes_at`` raises if the bytes cannot be had."""
        with memoryview(buffer).cast("B") as room:
            content = self.bytes_at(self._at, len(room))
            room[: len(content)] = content
        self._at += len(content)
        return len(content)
