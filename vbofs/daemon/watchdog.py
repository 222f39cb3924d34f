"""Proof, for systemd's watchdog, that a read through the mount works; nothing of it runs unasked.

Each round renews the pulse, a file of the mount that lives in this daemon's memory, and has a
process of its own read it by its path: through the kernel, past the page cache, to this daemon's
event loop and back.  Bytes that are not this round's prove nothing.  No network is asked, so a
bucket that hangs does not end the mount.

Why a process, and not a thread: a thread that waits for an answer of its own process cannot be
killed once the kernel has passed the request on, and keeps /dev/fuse open, so that a daemon killed
in that moment would stay, and its mount with it.
"""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable
from pathlib import Path

import trio

from .. import systemd
from ..fuse.pulse import NAME, Pulse
from .tower import Tower

log = logging.getLogger(__name__)

#: Rounds in one period: one may fail before systemd acts.
ROUNDS = 3


class Watchdog:
    """Tells systemd every third of *period* that the mount answers, while it does.

    *is_full*: every handler is busy waiting for the network; then a look has to wait as well, and
    that proves nothing against the mount.
    """

    def __init__(
        self, period: float, pulse: Pulse, tower: Tower, *, is_full: Callable[[], bool]
    ) -> None:
        self._pause = period / ROUNDS
        self._pulse = pulse
        self._tower = tower
        self._path = Path(tower.settings.mountpoint, NAME.decode())
        self._is_full = is_full
        self._said = ""

    def __repr__(self) -> str:
        return f"<Watchdog {self._path} every {self._pause} s>"

    async def watch(self) -> None:
        """Until cancelled.  Never raises: this task's nursery is the mount's."""
        while True:
            try:
                await self._round()
            except Exception:
                log.exception("the watchdog: a bug; the mount goes on until systemd ends it")
            await trio.sleep(self._pause)

    async def _round(self) -> None:
        failure = await self._failure()
        if failure and not self._is_full():
            log.error("the mount does not answer its watchdog: %s", failure)
            return
        status = self._status() + ("; every reader waits for the bucket" if failure else "")
        news = [f"STATUS={status}"] if status != self._said else []
        self._said = status
        systemd.notify("WATCHDOG=1", *news)

    async def _failure(self) -> str:
        """Why the pulse could not be read; "" if it could."""
        expected = self._pulse.renew()
        command = ["head", "-c", "64", "--", str(self._path)]
        with trio.move_on_after(self._pause):
            try:
                done = await trio.run_process(
                    command, capture_stdout=True, stderr=subprocess.STDOUT, check=False
                )
            except OSError as error:
                return str(error)
            if done.stdout == expected:
                return ""
            return done.stdout.decode(errors="replace").strip() or "other bytes were read"
        return f"no answer in {self._pause:.0f} s"

    def _status(self) -> str:
        tower = self._tower
        readers, cache = tower.filesystem.statistics(), tower.store.statistics()
        received = tower.sources.retrying.requests().received
        return (
            f"{tower.settings.dataset} on {tower.settings.mountpoint}, latest"
            f" v{tower.dataset.latest}; {readers.files} files open,"
            f" {cache.used / 1e6:.0f} MB cached, {received / 1e6:.0f} MB fetched"
        )
