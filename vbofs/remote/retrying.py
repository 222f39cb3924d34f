"""An object store that asks again, with what is still missing, until a deadline.

Capped exponential back-off with full jitter (AWS, "Exponential Backoff And Jitter"): clients that
failed together do not come back together.  What is wrong for good is not asked twice: the error's
class says so.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import tenacity
import trio

from ..errors import RemoteError, VbofsError
from ..model import Blob, Extent, ObjectVersion
from .network import UNREACHABLE, Network
from .outcomes import Outcomes
from .protocol import Listed, ObjectStore, Page, Requests, Sink
from .resumable import Resumable
from .waits import current, waiting_for

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds: the first wait is at most this, and it doubles.
FIRST_WAIT = 0.1
LONGEST_WAIT = 10.0


class Retrying:
    """Wraps *store*; a request that fails is tried again for *timeout* seconds at the most.

    *network*: what is known of the way there, shared with others who go it; what becomes of each
    attempt is noted in *outcomes*.
    """

    def __init__(
        self,
        store: ObjectStore,
        timeout: float,
        network: Network | None = None,
        outcomes: Outcomes | None = None,
    ) -> None:
        self._store = store
        self.outcomes = outcomes or Outcomes()
        self._timeout = timeout
        self.network = network or Network(timeout)
        self.retries = 0

    def __repr__(self) -> str:
        return f"<Retrying {self._store!r} for {self._timeout:g} s>"

    async def fetch(self, blob: Blob, extent: Extent, sink: Sink) -> None:
        resumable = Resumable(sink)

        async def rest() -> None:
            missing = resumable.rest_of(extent)
            # What finds out whether the network is back is done by ourselves: another process may
            # hang, and nobody would hear of it before it is given up.
            resumable.is_urgent = self.network.away_since is not None
            if missing.size:
                await self._store.fetch(blob, missing, resumable)

        await self._until_deadline(rest, "GET", lambda: bool(resumable.poured))

    async def head(self, version: ObjectVersion) -> Listed:
        return await self._until_deadline(lambda: self._store.head(version), "HEAD")

    async def page(
        self, prefix: str, *, marker: Mapping[str, str] | None = None, shallow: bool = False
    ) -> Page:
        return await self._until_deadline(
            lambda: self._store.page(prefix, marker=marker, shallow=shallow), "LIST"
        )

    async def prepare(self, version: ObjectVersion, requests: int) -> None:
        if self.network.away_since is None:  # Or one at a time finds out whether it is back.
            await self._store.prepare(version, requests)

    def requests(self) -> Requests:
        return self._store.requests()

    def distrust(self, version: ObjectVersion) -> None:
        self._store.distrust(version)

    async def _until_deadline(
        self,
        attempt: Callable[[], Awaitable[T]],
        operation: str,
        has_begun: Callable[[], bool] = lambda: False,
    ) -> T:
        # tenacity's own clock is not trio's, and a test's trio has a clock of its own.
        deadline = trio.current_time() + self._timeout
        jitter = tenacity.wait_random_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT)

        def wait(state: tenacity.RetryCallState) -> float:
            nonlocal deadline
            if state.attempt_number == 1 and has_begun():
                # The time in which bytes came is not the time in which it failed.
                deadline = trio.current_time() + self._timeout
            # The next attempt waits for the network, not for itself.
            if _was_not_reached(state):
                return 0
            # Never past the half of what is left: a server that is back shortly before the
            # deadline is to be found back.
            return min(jitter(state), (deadline - trio.current_time()) / 2)

        def expired(state: tenacity.RetryCallState) -> bool:
            in_vain = self.network.is_lost and _was_not_reached(state)
            return in_vain or deadline - trio.current_time() <= 2 * FIRST_WAIT

        attempts = tenacity.AsyncRetrying(
            sleep=trio.sleep,
            wait=wait,
            stop=expired,
            retry=tenacity.retry_if_exception(_worth_retrying),
            before_sleep=self._count,
            reraise=True,
        )

        async def once() -> T:
            async with contextlib.AsyncExitStack() as turn:
                with waiting_for("network"):
                    await turn.enter_async_context(self.network.attempt(deadline))
                return await self._noted(attempt, operation)

        return await attempts(once)

    async def _noted(self, attempt: Callable[[], Awaitable[T]], operation: str) -> T:
        begun = trio.current_time()
        current().attempts += 1
        try:
            answer = await attempt()
        except VbofsError as error:
            self.outcomes.note(operation, trio.current_time() - begun, error)
            raise
        self.outcomes.note(operation, trio.current_time() - begun)
        return answer

    def _count(self, state: tenacity.RetryCallState) -> None:
        self.retries += 1
        error = state.outcome.exception() if state.outcome else None
        waits = current()
        waits.pauses += state.upcoming_sleep
        waits.error = str(error)
        log.info("trying again in %.1f s: %s", state.upcoming_sleep, error)


def _was_not_reached(state: tenacity.RetryCallState) -> bool:
    return state.outcome is not None and isinstance(state.outcome.exception(), UNREACHABLE)


def _worth_retrying(error: BaseException) -> bool:
    return isinstance(error, RemoteError) and error.retryable
