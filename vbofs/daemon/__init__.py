"""The composition root: builds the tower, serves the kernel, and takes it down again.

Nothing else makes objects of two floors meet.  No global state: it all hangs on ``serve``'s stack.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import trio

from .. import garbage, mounts
from ..blocks.budget import Shares
from ..blocks.fetcher import Fetcher
from ..blocks.pursuit import Pursuit
from ..blocks.reader import BlobReader
from ..blocks.store import BlockStore, open_store
from ..config import Settings
from ..control import alone
from ..dataset import Dataset
from ..dataset.places import Places
from ..filesystem import Filesystem
from ..metadata import Metadata
from ..model import Blob
from ..ownfiles import OwnFiles
from . import exporter, heaps
from .ahead import Ahead
from .kernel import serve_kernel
from .recording import Recording
from .sources import listings, sources
from .surroundings import most_files, warn_of_distant
from .tower import Tower


async def serve(
    settings: Settings, ready: Callable[[str], None], channel: int | None = None
) -> None:
    """Mount, answer until unmounted, and leave nothing behind.  *ready* gets a line for the user.

    *channel*: the descriptor of a /dev/fuse that somebody has mounted already (handover.py).

    Any error before *ready* leaves nothing mounted and no directory made.
    """
    with contextlib.ExitStack() as starting:
        starting.enter_context(alone(settings.mountpoint))

        def answered(line: str) -> None:
            starting.close()
            ready(line)
            garbage.begin()

        await _serve(settings, answered, channel)


async def _serve(settings: Settings, ready: Callable[[str], None], channel: int | None) -> None:
    if channel is None:
        mounts.prepare(settings.mountpoint, allow_other=settings.allow_other)
    warn_of_distant(settings.cache_dir)
    heaps.share()
    shares = Shares.of(settings.memory)
    store = open_store(
        settings.cache_dir,
        settings.cache_size,
        keep_free=settings.keep_free,
        open_files=min(most_files(), shares.files),
    )
    with exporter.opened(settings) as exported:
        async with sources(settings) as remote:
            dataset = await Dataset.open(remote.listings, settings, remembers=True)
            async with trio.open_nursery() as nursery:
                remote.attend(nursery)
                fetcher = Fetcher(nursery, store, remote.blocks, settings.connections, shares)
                nursery.start_soon(heaps.tend, fetcher, shares.free)
                filesystem = Filesystem(
                    dataset,
                    store,
                    fetcher,
                    nursery,
                    chase=settings.hdf5_chase,
                    own=OwnFiles(settings.mountpoint),
                )
                tower = Tower(
                    settings=settings,
                    dataset=dataset,
                    store=store,
                    fetcher=fetcher,
                    filesystem=filesystem,
                    sources=remote,
                    exporter=exported,
                    ahead=Ahead(settings, dataset, store, fetcher, nursery),
                    recording=Recording(settings, Places(dataset), filesystem, nursery),
                )
                await serve_kernel(tower, nursery, ready, channel)
                nursery.cancel_scope.cancel()  # Read-ahead has no one left to read for.


@contextlib.asynccontextmanager
async def catalogue(settings: Settings) -> AsyncIterator[Dataset]:
    """The lower half of the tower, for commands that ask about releases and read no file."""
    open_store(settings.cache_dir, settings.cache_size)
    with listings(settings) as remote:
        yield await Dataset.open(remote, settings)


class Floors(NamedTuple):
    """The lower half of the tower: everything but the file system and the kernel."""

    dataset: Dataset
    store: BlockStore
    fetcher: Fetcher
    metadata: Metadata
    nursery: trio.Nursery

    def reader(self, blob: Blob) -> BlobReader:
        """An open file's way to *blob*, with the HDF5 chase that a mount would give it."""
        chase = Pursuit(blob, self.store, self.fetcher, self.nursery, {})
        return BlobReader(blob, self.store, self.fetcher, chase)


@contextlib.asynccontextmanager
async def library(settings: Settings) -> AsyncIterator[Floors]:
    """The lower half of the tower, for commands that read what is in files, without a mount.

    It shares the cache with every mount.  At the end, what is under way is dropped.
    """
    store = open_store(settings.cache_dir, settings.cache_size, keep_free=settings.keep_free)
    async with sources(settings) as remote:
        dataset = await Dataset.open(remote.listings, settings)
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            remote.attend(nursery)
            fetcher = Fetcher(nursery, store, remote.blocks, settings.connections)
            try:
                metadata = Metadata(dataset, store, fetcher)
                yield Floors(dataset, store, fetcher, metadata, nursery)
            except Exception as error:
                failure = error  # The nursery would wrap it in a group.
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
