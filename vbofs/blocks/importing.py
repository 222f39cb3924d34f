"""Ordinary files become warm blocks, if they are what some release published.

A file's name is believed in nothing.  It is read twice: first to be hashed whole, which says what
it is, and then to be kept block by block, each compared with what was hashed, for a file may change
in between.  So no block is ever marked present that was not part of a whole whose digest is known.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import CacheFull
from ..model import Blob, Extent
from .blobfile import BlobFile
from .extents import BLOCK_SIZE
from .store import BlockStore


class Identity(NamedTuple):
    """What a file is: hex blake2b-512 of the whole, and a digest of each block."""

    digest: str
    blocks: list[bytes]


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor of the ordinary file at *path*; OSError for anything else, and no waiting."""
    # O_NONBLOCK: a fifo in a directory that somebody hands us must not hold us up.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise FileNotFoundError(f"{path} is no ordinary file")
        yield fd
    finally:
        os.close(fd)


def identify(fd: int, sizes: Container[int], step: Callable[[int], None]) -> Identity | None:
    """What the file *fd* is; None if its size is none of *sizes*, so that it need not be read."""
    size = os.fstat(fd).st_size
    if size not in sizes:
        return None
    whole, blocks = hashlib.blake2b(), []
    for start in range(0, size, BLOCK_SIZE):
        piece = _piece(fd, Extent(start, min(start + BLOCK_SIZE, size)))
        whole.update(piece)
        blocks.append(_digest(piece))
        step(len(piece))
    return Identity(whole.hexdigest(), blocks)


def adopt(
    store: BlockStore, blob: Blob, fd: int, identity: Identity, step: Callable[[int], None]
) -> bool:
    """Keep the file *fd*, which was identified as *blob*; False: it has changed since.

    CacheFull: the cache takes no more.
    """
    file = store.file(blob)
    if file is None:
        raise CacheFull("the cache takes no more: its disk refuses")
    for block, digest in enumerate(identity.blocks):
        start = block * BLOCK_SIZE
        extent = Extent(start, min(start + BLOCK_SIZE, blob.size))
        piece = _piece(fd, extent)
        if _digest(piece) != digest:
            return False
        _keep(store, file, block, extent, piece)
        step(len(piece))
    with contextlib.suppress(OSError):
        if file.is_complete():  # Every block of it was compared, or written, just now.
            file.mark_verified()
    return True


def _keep(store: BlockStore, file: BlobFile, block: int, extent: Extent, piece: bytes) -> None:
    here = file.read(extent, use=False)
    if here is not None and bytes(here) == piece:
        return
    if not store.put(file, block, memoryview(piece)):
        raise CacheFull("the cache takes no more: its disk refuses, or there is no room")


def _piece(fd: int, extent: Extent) -> bytes:
    """*extent* of the file, or less where it has been cut short meanwhile."""
    return os.pread(fd, extent.size, extent.start)


def _digest(piece: bytes) -> bytes:
    return hashlib.blake2b(piece, digest_size=16).digest()
