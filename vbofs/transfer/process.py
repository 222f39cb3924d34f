"""The daemon's end: starts the process when it is first wanted, and notices when it is no help.

Everything here happens in the one trio thread.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import msgspec
import trio

from ..errors import RemoteError
from ..remote.carrying import Landing, Order, Place, Way
from ..remote.waits import waiting_for
from .messages import LARGEST, Ask, Cancel, Ended, Fetch, Kept, Ping, Report, Request

log = logging.getLogger(__name__)

#: Seconds without a word after which the process is asked whether it lives, and after which it is
#: taken to hang.  Both together are a small part of ``--timeout``: who waits meanwhile is to have
#: time left for what the network may do to him.
PATIENCE = 2.0
#: Seconds without work after which it is ended, and its memory given back.
IDLE = 300.0
#: Seconds in which a process that is killed should be gone.
LAST_WORD = 2.0
#: Seconds before one that has ended is followed by another.
RESTART = 10.0


class Transfers:
    """A ``Carrier``, once it is attended to."""

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None
        self._worker: _Worker | None = None
        self._next_start = 0.0

    def __repr__(self) -> str:
        return f"<Transfers {self._worker!r}>"

    def attend(self, nursery: trio.Nursery) -> None:
        """Have *nursery* run the process, from when it is first wanted."""
        # With one processor there is nothing to share out.  Where Python is embedded, in MATLAB for
        # one, sys.executable is somebody else's program.
        is_python = os.path.basename(sys.executable).startswith("python")
        if is_python and len(os.sched_getaffinity(0)) > 1:
            self._nursery = nursery

    def is_ready(self) -> bool:
        worker = self._worker
        if worker is None and self._nursery and trio.current_time() >= self._next_start:
            self._worker = worker = _Worker()
            self._nursery.start_soon(self._run, worker)
        return worker is not None and worker.is_ready

    async def carry(
        self, way: Way, order: Order, place: Place, landing: Landing, note: Callable[[int], None]
    ) -> None:
        if self._worker is not None and self._worker.is_ready:
            await self._worker.carry(way, order, place, landing, note)

    async def _run(self, worker: _Worker) -> None:
        pause = RESTART
        try:
            if await worker.run():
                pause = 0.0
            else:
                log.warning("the transfer process has ended; the daemon fetches by itself")
        except OSError as error:
            log.warning("no process for transfers: %s; the daemon fetches by itself", error)
        except Exception:  # This task's nursery is the mount's.
            log.exception("the transfer process: a bug; the daemon fetches by itself")
        finally:
            self._worker = None
            self._next_start = trio.current_time() + pause


class _Carried:
    """One fetch that the process is at."""

    def __init__(self, order: Order) -> None:
        self.kept = order.extent.start
        self.ended: Ended | None = None
        self.is_over = False
        self.news = trio.Event()

    def hear(self, kept: int, ended: Ended | None, *, is_over: bool) -> None:
        self.kept = max(self.kept, kept)
        self.ended, self.is_over = ended, is_over
        self.news.set()
        self.news = trio.Event()


class _Worker:
    """One life of the process."""

    process: subprocess.Popen[bytes] | None = None

    def __init__(self) -> None:
        #: It has said that it listens.
        self.ready = trio.Event()
        self._serials = itertools.count()
        self._carried: dict[int, _Carried] = {}
        self._channel: socket.socket | None = None
        self._heard_at = 0.0
        self._decoder = msgspec.msgpack.Decoder(Report)

    def __repr__(self) -> str:
        return (
            f"<_Worker {'ready' if self.is_ready else 'not ready'}, {len(self._carried)} fetches>"
        )

    @property
    def is_ready(self) -> bool:
        return self.ready.is_set() and self._channel is not None

    async def run(self) -> bool:
        """Start it, hear what it says, and end it when nobody has wanted it for long, True; or
        return when it has ended by itself, False."""
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._channel.setblocking(False)
            with theirs:
                self.process = _started(theirs)
            return await self._listen(self._channel)
        finally:
            self._lose()
            if self.process is not None:
                await _ended(self.process)

    def _lose(self) -> None:
        """It is no more: let everybody know."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        for carried in self._carried.values():
            carried.hear(0, None, is_over=True)

    async def _listen(self, channel: socket.socket) -> bool:
        """Hear it until it has nothing to do, True, or has ended, False."""
        while True:
            with trio.move_on_after(IDLE) as long:
                await trio.lowlevel.wait_readable(channel)
            if long.cancelled_caught and not self._carried:
                return True
            for said in _datagrams(channel):
                if not said:
                    return False
                self._heard_at = trio.current_time()
                self._heed(self._decoder.decode(said))

    def _heed(self, report: Report) -> None:
        self.ready.set()
        if isinstance(report, Kept | Ended):
            carried = self._carried.get(report.serial)
            if carried is not None:
                ended = report if isinstance(report, Ended) else None
                carried.hear(report.stop, ended, is_over=ended is not None)

    def _say(self, request: Request, *places: int) -> None:
        if self._channel is None:
            return
        try:
            socket.send_fds(self._channel, [msgspec.msgpack.encode(request)], places)
        except OSError:
            # It is gone, or has not listened for hundreds of messages.
            self._give_up()

    def _give_up(self) -> None:
        """Have ``_listen`` see the end, and send nothing more."""
        if self._channel is not None:
            with contextlib.suppress(OSError):
                self._channel.shutdown(socket.SHUT_RDWR)

    async def carry(
        self, way: Way, order: Order, place: Place, landing: Landing, note: Callable[[int], None]
    ) -> None:
        serial = next(self._serials)
        carried = self._carried[serial] = _Carried(order)
        try:
            self._say(Fetch(serial, way, order), place.map, place.data)
            landing.elsewhere(lambda stop: self._say(Ask(serial, stop)))
            at = order.extent.start
            with waiting_for("server"):
                await self._news(carried)
            while True:
                if carried.kept > at:
                    landing.kept(carried.kept - at)
                    at = carried.kept
                if carried.is_over:
                    break
                await self._news(carried)
        finally:
            landing.elsewhere(None)
            del self._carried[serial]
            if not carried.is_over:
                self._say(Cancel(serial))
        if carried.ended is not None:
            note(carried.ended.received)
            await _conclude(carried.ended, landing)

    async def _news(self, carried: _Carried) -> None:
        """Return when something was said of *carried*, or nothing ever will be."""
        while not carried.is_over:
            news, asked_at = carried.news, trio.current_time()
            with trio.move_on_after(PATIENCE):
                await news.wait()
                return
            self._say(Ping())
            with trio.move_on_after(PATIENCE):
                await news.wait()
                return
            if self._heard_at < asked_at:
                log.warning("the transfer process hangs; it is ended")
                self._give_up()
                await news.wait()


def _started(channel: socket.socket) -> subprocess.Popen[bytes]:
    """The process, at the other end of *channel*.  OSError: it cannot be."""
    number = channel.fileno()
    return subprocess.Popen(
        [sys.executable, "-P", "-m", __package__, str(number)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[number],
        # Threads with heaps of their own take memory that nobody gets back.
        env={**os.environ, "MALLOC_ARENA_MAX": "2"},
        start_new_session=True,  # ^C in a terminal is for the daemon.
    )


async def _ended(process: subprocess.Popen[bytes]) -> None:
    """Kill it, whatever it is at: what it has not kept does not count."""
    process.kill()
    with trio.CancelScope(shield=True, deadline=trio.current_time() + LAST_WORD):
        # In a thread, and not for long: on a disk that hangs even this does.
        await trio.to_thread.run_sync(process.wait, abandon_on_cancel=True)


def _datagrams(channel: socket.socket) -> Iterator[bytes]:
    """What has been said and not heard yet; empty at the end."""
    while True:
        try:
            said = channel.recv(LARGEST)
        except BlockingIOError:
            return
        except ConnectionError:
            said = b""
        yield said
        if not said:
            return


async def _conclude(ended: Ended, landing: Landing) -> None:
    if ended.errno:
        error = OSError(ended.errno, os.strerror(ended.errno))
        await trio.to_thread.run_sync(landing.refused, error, abandon_on_cancel=True)
    elif ended.error:
        raise _error_called(ended.error)(ended.words)


def _error_called(name: str) -> type[RemoteError]:
    """The class of that name; those that are not for everybody's eyes, too."""
    classes = [RemoteError]
    for one in classes:
        classes += one.__subclasses__()
    return next((one for one in classes if one.__name__ == name), RemoteError)
