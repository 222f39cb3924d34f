"""One life of the mount: from the directory that is made for it to the last reader that goes.

Signals are heeded from before there is a mount.  Whoever waits for it is told once it answers; the
control socket, the metrics and the recording begin and end with it.
"""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from .. import mounts, systemd
from ..control import server as control
from ..errors import MountpointDenied, VbofsError
from ..xattrs import Xattrs
from . import exporter
from .tower import Tower

if TYPE_CHECKING:
    from ..fuse.session import Session

log = logging.getLogger(__name__)

#: Seconds that the last readers of a service's mount get when it stops: a restart waits for them.
LAST_READERS = 5.0
#: What asks a daemon to go.  SIGHUP: a terminal that closes under ``vbofs mount --foreground``.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


async def serve_kernel(
    tower: Tower, nursery: trio.Nursery, ready: Callable[[str], None], channel: int | None
) -> None:
    """Mount *tower*, or take over *channel*, and answer until it is unmounted.

    *ready* gets a line for the user once the mount answers.
    """
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
