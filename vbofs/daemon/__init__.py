"""The composition root: builds the tower, serves the kernel, and takes it down again.

Nothing else makes objects of two floors meet.  No global state: it all hangs on ``serve``'s stack.
"""

from __future__ import annotations

import contextlib
import logging
import resource
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import trio

from .. import mounts, systemd
from ..blocks.budget import Shares
from ..blocks.fetcher import Fetcher
from ..blocks.pursuit import Pursuit
from ..blocks.reader import BlobReader
from ..blocks.store import BlockStore, open_store
from ..config import Settings
from ..control import alone
from ..control import server as control
from ..dataset import Dataset
from ..dataset.places import Places
from ..errors import MountpointDenied, VbofsError
from ..filesystem import Filesystem
from ..metadata import Metadata
from ..model import Blob
from ..ownfiles import OwnFiles
from ..xattrs import Xattrs
from . import exporter
from .ahead import Ahead
from .recording import Recording
from .sources import listings, sources
from .tower import Tower

if TYPE_CHECKING:
    from ..fuse.session import Session

log = logging.getLogger(__name__)

#: Seconds that the last readers of a service's mount get when it stops: a restart waits for them.
LAST_READERS = 5.0
#: What asks a daemon to go.  SIGHUP: a terminal that closes under ``vbofs mount --foreground``.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: File systems whose server may go away.
DISTANT = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "9p", "afs"}
    | {"fuse.sshfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs"}
)
#: Descriptors for other things than blobs: sockets, the session, the log.
SPARE_DESCRIPTORS = 128


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

        await _serve(settings, answered, channel)


async def _serve(settings: Settings, ready: Callable[[str], None], channel: int | None) -> None:
    if channel is None:
        mounts.prepare(settings.mountpoint, allow_other=settings.allow_other)
    _warn_of_distant(settings.cache_dir)
    shares = Shares.of(settings.memory)
    store = open_store(
        settings.cache_dir,
        settings.cache_size,
        keep_free=settings.keep_free,
        open_files=min(_most_files(), shares.files),
    )
    with exporter.opened(settings) as exported:
        async with sources(settings) as remote:
            dataset = await Dataset.open(remote.listings, settings, remembers=True)
            async with trio.open_nursery() as nursery:
                remote.attend(nursery)
                fetcher = Fetcher(nursery, store, remote.blocks, settings.connections, shares)
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
                await _serve_kernel(tower, nursery, ready, channel)
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


async def _serve_kernel(
    tower: Tower, nursery: trio.Nursery, ready: Callable[[str], None], channel: int | None
) -> None:
    # pyfuse3 loads libfuse, which only those who mount need to have.
    from ..fuse import session
    from ..fuse.operations import Operations
    from ..fuse.pulse import Pulse
    from .watchdog import Watchdog

    settings = tower.settings
    period = systemd.watchdog_period()
    pulse = Pulse() if period else None
    operations = Operations(
        tower.filesystem, Xattrs(settings, tower.recording.places, tower.store), pulse
    )

    def is_full() -> bool:
        return operations.under_way >= session.MOST_TASKS - session.LEAST_TASKS

    watchdog = Watchdog(period, pulse, tower, is_full=is_full) if period and pulse else None

    async def announced(mounted: Session) -> None:
        if await _announce(mounted, tower, ready) and watchdog is not None:
            await watchdog.watch()

    mounting = session.mounted(
        operations,
        settings.mountpoint,
        name=settings.dataset,
        allow_other=settings.allow_other,
        channel=channel,
    )
    with contextlib.ExitStack() as made:
        # From before there is a mount: a signal that comes while it is made would leave a dead one.
        signals = made.enter_context(trio.open_signal_receiver(*SIGNALS))
        if channel is None:
            made.enter_context(_directory_made(settings.mountpoint))
        async with mounting as mounted, trio.open_nursery() as heeding:
            heeding.start_soon(_unmount_on_signal, signals, mounted, tower.exporter)
            await _attend(mounted, tower, nursery, announced)
            heeding.cancel_scope.cancel()


async def _attend(
    mounted: Session,
    tower: Tower,
    nursery: trio.Nursery,
    announced: Callable[[Session], Awaitable[None]],
) -> None:
    mountpoint = tower.settings.mountpoint
    await nursery.start(control.serve, mountpoint, tower.verbs())
    nursery.start_soon(tower.exporter.run, tower.status)
    tower.recording.forget = mounted.forget
    if tower.settings.record is not None:
        await tower.recording.start(str(tower.settings.record))
    nursery.start_soon(announced, mounted)
    try:
        await mounted.serve()
    finally:
        await tower.recording.finish()
    systemd.notify("STOPPING=1")
    log.info("unmounted %s", mountpoint)


async def _announce(mounted: Session, tower: Tower, ready: Callable[[str], None]) -> bool:
    """Say that the mount answers, once it does; False if it went before."""
    try:
        await mounted.answers()
    except OSError as error:  # Unmounted at once: ``serve`` is about to end.
        log.warning("the mount went before it answered: %s", error)
        return False
    settings, releases = tower.settings, list(tower.dataset.releases)
    line = (
        f"{settings.dataset} is mounted on {settings.mountpoint}:"
        f" {', '.join(f'v{release}' for release in releases)}; latest is v{releases[-1]}"
    )
    log.info("%s", line)
    systemd.notify("READY=1", f"STATUS={line}")
    ready(line)
    return True


async def _unmount_on_signal(
    signals: AsyncIterator[int], mounted: Session, exported: exporter.Exporter
) -> None:
    """A signal unmounts, lazily: names go at once, the daemon with its last reader."""
    mountpoint = mounted.mountpoint
    async for number in signals:
        log.info("%s: unmounting %s", signal.Signals(number).name, mountpoint)
        exported.release()
        if mounted.is_handed_over:
            await _end_handed_over(mounted)
            return
        try:
            await trio.to_thread.run_sync(lambda: mounts.unmount(mountpoint, lazy=True))
        except VbofsError as error:
            log.warning("%s", error)


async def _end_handed_over(mounted: Session) -> None:
    """Unmounting is for whoever mounted.  If he has, its last readers get a while; if he has not,
    nobody will come to it any more who could be answered."""
    mount = mounts.mounted_at(mounted.mountpoint)
    if mount is None or not mount.is_ours:
        await trio.sleep(LAST_READERS)
    mounted.end()


@contextlib.contextmanager
def _directory_made(mountpoint: Path) -> Iterator[None]:
    """A mountpoint that did not exist: made for the mount, removed if mounting fails."""
    try:
        mountpoint.mkdir()
        made = True
    except FileExistsError:
        made = False
    except OSError as error:
        raise MountpointDenied(f"{mountpoint} cannot be created: {error.strerror}") from error
    try:
        yield
    except BaseException:
        if made:
            with contextlib.suppress(OSError):
                mountpoint.rmdir()
        raise


def _warn_of_distant(folder: Path) -> None:
    """Say that *folder* is on a disk of another machine: docs/decisions/0006 has why it matters."""
    above = [mount for mount in mounts.mounts() if folder.is_relative_to(mount.path)]
    nearest = max(above, key=lambda mount: len(mount.path.parts), default=None)
    if nearest is not None and nearest.fstype in DISTANT:
        log.warning(
            "the cache %s is on a network file system (%s): if that hangs, so does the mount; name"
            " a disk of this machine with --cache-dir",
            folder,
            nearest.fstype,
        )


def _most_files() -> int:
    """How many blobs may be open at once, two descriptors each; takes all that the limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 8192) if hard != resource.RLIM_INFINITY else 8192
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return max(8, (soft - SPARE_DESCRIPTORS) // 4)
