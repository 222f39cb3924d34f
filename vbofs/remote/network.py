"""Whether the bucket can be reached at all, as the last attempts found; known to all requests.

When nobody answers, two hundred requests that each try again are a storm, and each reader waits a
whole deadline to be told what the last one was told.  So while the network is away one attempt at
a time finds out, and the others wait for its outcome:

* for as long as they have time, as long as it has not been away longer than *patience*;
* until the next outcome, and then they fail, once it has.

An attempt is always somebody's own request, so an idle mount asks nothing.  Everything here happens
in the one trio thread; between two awaits the state is consistent.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
import time
from collections.abc import AsyncIterator

import trio

from ..errors import EndpointDown, NetworkUnreachable, RemoteError

log = logging.getLogger(__name__)

#: What says that nobody was reached; any other answer has come from somewhere.
UNREACHABLE = (NetworkUnreachable, EndpointDown)
#: Seconds between two attempts while the network is away: the first, doubling, and the longest,
#: each less up to a half of it by chance.  A network that is back is found within the longest.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 0.5
#: Seconds for which a request waits for news of a network that has long been away.
NEWS = 2.0
#: Seconds for which what was found last is news: hundreds who read are told at once, not in turn.
FRESH = 0.25


class Network:
    """The way to one endpoint.  It is lost when nobody was reached for *patience* seconds."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._error: RemoteError | None = None
        self._away_since = math.inf
        #: Since when nobody is reached, in seconds since 1970; None: the last attempt got through.
        self.away_since: float | None = None
        self._pause = FIRST_PAUSE
        self._next = 0.0
        self._told_at = -math.inf
        self._probing = False
        self._outcomes = 0
        self._news = trio.Event()

    def __repr__(self) -> str:
        return f"<Network {'is there' if self._error is None else f'away: {self._error}'}>"

    @property
    def is_lost(self) -> bool:
        """It has been away for so long that to wait for it would be in vain."""
        return trio.current_time() - self._away_since >= self._patience

    @contextlib.asynccontextmanager
    async def attempt(self, deadline: float) -> AsyncIterator[None]:
        """Wait until asking makes sense, and learn from the outcome of what is done in here.

        Raises what was found last if it makes no sense before *deadline*.
        """
        probe = await self._turn(deadline)
        try:
            yield
        except UNREACHABLE as error:
            self._is_away(error)
            raise
        except RemoteError:
            self._is_there()  # An answer that nobody likes is an answer.
            raise
        else:
            self._is_there()
        finally:
            if probe:
                self._probing = False
                self._tell()

    async def _turn(self, deadline: float) -> bool:
        """Return when the network is there, False, or when it is this request's turn, True."""
        outcomes, until = self._outcomes, trio.current_time() + NEWS
        while self._error is not None:
            now = trio.current_time()
            told = self._outcomes > outcomes or now - self._told_at < FRESH or now >= until
            if now >= deadline or (told and self.is_lost):
                raise type(self._error)(str(self._error))
            if not self._probing and now >= self._next:
                self._probing = True
                return True
            soon = math.inf if self._probing else self._next
            with trio.move_on_at(min(soon, deadline, max(until, now + FIRST_PAUSE))):
                await self._news.wait()
        return False

    def _is_away(self, error: RemoteError) -> None:
        now = trio.current_time()
        if self._error is None:
            log.info("the network is away: %s", error)
            self._away_since, self.away_since = now, time.time()
        self._error, self._told_at = error, now
        if now >= self._next:  # Those who failed together count once.
            self._outcomes += 1
            self._next = now + self._pause * random.uniform(0.5, 1)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _is_there(self) -> None:
        if self._error is not None:
            log.info("the network is back")
            self._error, self._pause = None, FIRST_PAUSE
            self._away_since, self.away_since = math.inf, None
            self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()
