"""Looking at a mount as programs do: by path, by descriptor, past the page cache."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor with no buffer of its own: what is read is what was asked for."""
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def walked(root: Path) -> set[str]:
    """Every file under *root*, relative to it; links to files are none."""
    return {
        os.path.relpath(path, root)
        for folder, _, names in os.walk(root)
        for path in (os.path.join(folder, name) for name in names)
        if not os.path.islink(path)
    }


def forget(path: Path) -> None:
    """Have the kernel forget the pages of a file, so that the daemon is asked again."""
    with opened(path) as fd:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
