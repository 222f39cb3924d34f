"""How much of the disk blocks may take, and which are given up first.

The grain is a part (8 MiB) of a blob that this daemon has open, and else a whole blob.  Recency of
parts is remembered by their ``BlobFile``; that of other blobs is the time of their map, which
every daemon stamps now and then while it reads.  Room is found by asking the disk, for other
daemons write there too.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from .blobfile import BlobFile
from .blobmap import STAMP_OFFSET
from .extents import BLOCK_SIZE, BLOCKS_PER_PART, PART_SIZE, block_count, clipped


class Candidate(NamedTuple):
    """Something to give up: *part* of the open *file*, or the whole blob at *path*."""

    used_at: float
    room: int
    path: Path
    part: int = -1
    file: BlobFile | None = None

    def drop(self) -> int:
        """Give the room back; its bytes, 0 if the disk refuses.

        Others may be reading: see blobfile.py on why that harms nobody.
        """
        try:
            if self.file is not None:
                _drop_part(self.file, self.part)
            else:
                empty(self.path)
        except OSError:
            return 0
        return self.room


def disk_usage(folder: Path) -> int:
    """Bytes of disk that the blobs under *folder* take."""
    return sum(facts.st_blocks * 512 for _, facts in _blobs(folder))


def usage_of(folder: Path, idents: Container[str]) -> int:
    """Bytes of disk that those of the blobs under *folder* take that are among *idents*."""
    return sum(facts.st_blocks * 512 for path, facts in _blobs(folder) if path.name in idents)


def disk_free(folder: Path) -> int:
    """Bytes that an ordinary user may still write on the disk under *folder*."""
    facts = os.statvfs(folder)
    return facts.f_bavail * facts.f_frsize


def candidates(
    folder: Path, files: Mapping[str, BlobFile], pinned: Container[str] = ()
) -> list[Candidate]:
    """All that takes room under *folder*, used longest ago first; *files* are open here.

    What is *pinned* comes after all the rest.
    """
    found: list[Candidate] = []
    for path, facts in _blobs(folder):
        file = files.get(path.name)
        if not facts.st_blocks:
            continue
        if file is None:
            used_at = max(facts.st_mtime, _time_of(path.with_name(path.name + ".map")))
            found.append(Candidate(used_at, facts.st_blocks * 512, path))
        else:
            found += _parts(path, file)
    return sorted(found, key=lambda one: (one.path.name in pinned, one.used_at))


def _parts(path: Path, file: BlobFile) -> Iterator[Candidate]:
    for part in range(-(-file.blob.size // PART_SIZE)):
        blocks = _blocks_of(file, part)
        room = (len(blocks) - len(file.missing(blocks))) * BLOCK_SIZE
        if room:
            yield Candidate(file.used_at.get(part, file.opened_at), room, path, part, file)


def _blocks_of(file: BlobFile, part: int) -> range:
    start = part * BLOCKS_PER_PART
    return range(start, min(start + BLOCKS_PER_PART, block_count(file.blob.size)))


def _drop_part(file: BlobFile, part: int) -> None:
    file.forget(_blocks_of(file, part))
    file.used_at.pop(part, None)
    file.punch(clipped(part * PART_SIZE, PART_SIZE, file.blob.size))


def empty(path: Path) -> None:
    """Forget the whole blob at *path*, map first.  Without a map its bytes are nobody's."""
    for place, kept in ((path.with_name(path.name + ".map"), STAMP_OFFSET), (path, 0)):
        with contextlib.suppress(FileNotFoundError, IsADirectoryError), open(place, "r+b") as file:
            size = os.fstat(file.fileno()).st_size
            os.ftruncate(file.fileno(), kept)
            os.ftruncate(file.fileno(), size)


def _blobs(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for path in folder.glob("??/*"):
        if "." not in path.name:
            with contextlib.suppress(OSError):  # Gone since it was listed.
                yield path, path.stat()


def _time_of(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
