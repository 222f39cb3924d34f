"""Blobs put into a block store directly, for tests of what is done with them there."""

from __future__ import annotations

from tests.conftest import contents
from vbofs.blocks.extents import BLOCK_SIZE, block_count


def keep(store, memory, size, name="blob", blocks=None):
    """A blob of *size* bytes of which *blocks* (None: all) are in *store*, and its bytes."""
    content = contents(size, name)
    blob = memory.put(name, content)
    file = store.file(blob)
    for block in range(block_count(size)) if blocks is None else blocks:
        piece = memoryview(content)[block * BLOCK_SIZE : (block + 1) * BLOCK_SIZE]
        assert store.put(file, block, piece)
    return blob, content


def place(store, blob, suffix=""):
    """Where the blob lies on disk."""
    return store.folder / blob.ident[:2] / (blob.ident + suffix)


def flip(path, offset):
    """Change one byte of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 0xFF]))
