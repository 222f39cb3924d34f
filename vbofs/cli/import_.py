"""``vbofs import``"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ..config import Settings
from ..errors import CacheTooSmall, EndpointDown, ImportImpossible, NetworkUnreachable
from ..model import Blob
from .chosen import Chosen, everything
from .meter import meter
from .options import dataset_options, settings_at
from .words import counted, size

if TYPE_CHECKING:
    from ..daemon import Floors

#: What can be had of a file that changed while it was read, or cannot be read: a line for each.
SHOWN = 5


@dataclass
class Tally:
    """Files by what became of them; *bytes* of those that were imported.

    *here*: files that were not looked into, as whatever has their size is cached and verified.
    """

    imported: int = 0
    bytes: int = 0
    here: int = 0
    other: int = 0
    unreadable: int = 0

    def line(self) -> str:
        told = f"{counted(self.imported, 'file')} imported and verified, {size(self.bytes)}"
        for number, what in (
            (self.here, "skipped: all that has their size is cached already"),
            (self.other, "of no release, ignored"),
            (self.unreadable, "not readable"),
        ):
            told += f"; {number:,} {what}" if number else ""
        return told


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@dataset_options
def command(directory: Path, **options: Any) -> None:
    """Take files that were downloaded before into the cache: a cache of AllenSDK, or any DIRECTORY.

    A file is known by its bytes, whatever its name: those with the size and the hash of a file in
    some release are copied into the cache, all others are ignored.  DIRECTORY stays as it is.
    """
    import trio

    settings = settings_at(None, options)
    root = Path(os.path.realpath(directory.expanduser()))
    if root.is_relative_to(settings.cache_dir) or settings.cache_dir.is_relative_to(root):
        raise ImportImpossible(f"{root} and the cache {settings.cache_dir} lie in each other")
    try:
        os.scandir(root).close()
    except OSError as error:
        raise ImportImpossible(f"{root} cannot be read: {error.strerror}") from error
    click.echo(trio.run(_work, settings, root).line())


async def _work(settings: Settings, root: Path) -> Tally:
    from ..daemon import library

    try:
        async with library(settings) as floors:
            return await _import(floors, root)
    except (EndpointDown, NetworkUnreachable):
        off = msgspec.structs.replace(settings, offline=True)
        async with library(off) as floors:
            return await _import(floors, root)


async def _import(floors: Floors, root: Path) -> Tally:
    from ..blocks.coverage import look

    files = await everything(floors)
    by_size: dict[int, list[Chosen]] = defaultdict(list)
    for file in files:
        if file.blob.digest:
            by_size[file.blob.size].append(file)
    tally = Tally()
    candidates = []
    for path in _files(root):
        alike = by_size.get(_size_of(path), [])
        if not alike:
            tally.other += 1
        elif all(look(floors.store.folder, file.blob).verified for file in alike):
            tally.here += 1
        else:
            candidates.append((path, {file.blob.digest: file.blob for file in alike}))
    _check_room(floors, candidates)
    _adopt_all(floors, candidates, tally)
    return tally


def _files(root: Path) -> Iterator[Path]:
    """Every file under *root*, and links to files: AllenSDK makes links where releases share
    one.  Directories are followed only where they stand, so that nothing is walked twice."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            yield Path(folder, name)


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _check_room(floors: Floors, candidates: list[tuple[Path, dict[str, Blob]]]) -> None:
    distinct = {digest: blob.size for _, blobs in candidates for digest, blob in blobs.items()}
    total = min(sum(distinct.values()), sum(_size_of(path) for path, _ in candidates))
    if total > floors.store.room.capacity():
        raise CacheTooSmall(
            f"{size(total)} do not fit into the cache, which has room for"
            f" {size(floors.store.room.capacity())}; import less, or set a larger VBOFS_CACHE_SIZE"
        )


def _adopt_all(
    floors: Floors, candidates: list[tuple[Path, dict[str, Blob]]], tally: Tally
) -> None:
    done = 0

    def step(more: int) -> None:
        nonlocal done
        done += more
        shown.show(done // 2, path.name)  # Each is read twice.

    told = 0
    with meter("import", sum(_size_of(path) for path, _ in candidates)) as shown:
        for path, blobs in candidates:
            try:
                _adopt(floors, path, blobs, tally, step)
            except OSError as error:
                tally.unreadable += 1
                told += 1
                if told <= SHOWN:
                    click.echo(f"  {path}: {error.strerror or error}", err=True)


def _adopt(floors: Floors, path: Path, blobs: dict[str, Blob], tally: Tally, step: Any) -> None:
    from ..blocks.coverage import look
    from ..blocks.importing import adopt, identify, opened

    with opened(path) as fd:
        identity = identify(fd, {blob.size for blob in blobs.values()}, step)
        blob = blobs.get(identity.digest) if identity else None
        if identity is None or blob is None:
            tally.other += 1
        elif look(floors.store.folder, blob).verified:
            tally.here += 1
        elif adopt(floors.store, blob, fd, identity, step):
            tally.imported += 1
            tally.bytes += blob.size
        else:
            raise OSError(f"{path} changed while it was read")
