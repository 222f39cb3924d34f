"""A thread in which trio runs, for programs that do not: scripts, notebooks, other event loops.

One ``Worker`` holds the lower half of a mount (settings, sockets, block store) and does one call
after the other, or several from several threads.  Its thread is a daemon and ends with ``close``,
with its owner or with the program.  A process that was forked starts a thread of its own.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import trio

from ..config import Settings
from ..errors import VbofsError

if TYPE_CHECKING:
    from ..daemon import Floors

T = TypeVar("T")

#: Seconds that ``close`` waits for the thread.
PATIENCE = 5.0


class Worker:
    """Runs async work on the dataset of *settings*, which is opened at the first call."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._starting = threading.Lock()
        self._life: _Life | None = None

    def __repr__(self) -> str:
        return f"<Worker on {self.settings.dataset}>"

    def run(self, work: Callable[[Floors], Awaitable[T]]) -> T:
        """What *work* returns or raises.  ^C ends the work, and not only the wait for it."""
        with self._starting:
            if self._life is None or not self._life.is_here:
                self._life = _Life(self.settings)
        return self._life.run(work)

    def soon(self, work: Callable[[], None]) -> None:
        """Have *work* done in the thread some time, if there still is one.  Waits for nothing, so
        that it may be called while the program ends."""
        life = self._life
        if life is not None and life.is_here:
            life.soon(work)

    def close(self) -> None:
        """End the thread.  A later ``run`` starts another."""
        life, self._life = self._life, None
        if life is not None and life.is_here:
            life.end()


class _Life:
    """One run of trio, from the opening of the dataset until it is ended."""

    def __init__(self, settings: Settings) -> None:
        self._pid = os.getpid()
        self._opened: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(
            target=trio.run, args=(self._main, settings), name="vbofs", daemon=True
        )
        self._thread.start()
        self._opened.result()

    @property
    def is_here(self) -> bool:
        """Alive, and in this process."""
        return self._pid == os.getpid() and self._thread.is_alive()

    async def _main(self, settings: Settings) -> None:
        from ..daemon import library

        try:
            async with library(settings) as floors, trio.open_nursery() as nursery:
                self._floors, self._nursery = floors, nursery
                self._token = trio.lowlevel.current_trio_token()
                self._opened.set_result(None)
                await trio.sleep_forever()
        except BaseException as error:
            if self._opened.done():
                raise
            self._opened.set_exception(error)

    def run(self, work: Callable[[Floors], Awaitable[T]]) -> T:
        outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
        scope = trio.CancelScope()

        async def job() -> None:
            try:
                with scope:
                    outcome.set_result(await work(self._floors))
            except Exception as error:
                outcome.set_exception(error)
            finally:
                outcome.cancel()  # Does nothing once there is an outcome.

        try:
            self._token.run_sync_soon(lambda: self._nursery.start_soon(job))
            return outcome.result()
        except (trio.RunFinishedError, concurrent.futures.CancelledError) as error:
            raise VbofsError("the dataset has been closed") from error
        except KeyboardInterrupt:
            self._token.run_sync_soon(scope.cancel)
            raise

    def soon(self, work: Callable[[], None]) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(work)

    def end(self) -> None:
        self.soon(self._nursery.cancel_scope.cancel)
        self._thread.join(PATIENCE)
