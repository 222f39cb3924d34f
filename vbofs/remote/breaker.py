"""When to ask something that may be away: not at all for a while after it failed, then once.

The usual circuit breaker.  Waits double and are jittered, so that the nodes of a site do not come
back to a cache that has just come back, all at once.  On trio's clock, for the trio thread only.
"""

from __future__ import annotations

import random

import trio

#: Seconds: the first wait is at most this, and it doubles.
FIRST_WAIT = 2.0
LONGEST_WAIT = 60.0


class Breaker:
    """Asks are let through while things go well; after a failure one at a time, now and then."""

    def __init__(self) -> None:
        self._failures = 0
        self._until = -1.0
        self._probing = False

    def __repr__(self) -> str:
        return f"<Breaker {'closed' if self.is_closed else f'open, {self._failures} in a row'}>"

    @property
    def is_closed(self) -> bool:
        """The last answer was good, or nobody has asked yet."""
        return not self._failures

    def admits(self) -> bool:
        """Whether to ask now.  Whoever is told yes says how it ended: ``succeeded``, ``failed``,
        or ``gave_up`` if he does not know."""
        if self.is_closed:
            return True
        if self._probing or trio.current_time() < self._until:
            return False
        self._probing = True
        return True

    def succeeded(self) -> bool:
        """The answer was good; True if it is the first good one after a bad one."""
        if not self._probing:
            return False  # Asked before the breaker opened: it says nothing about now.
        self._failures, self._probing = 0, False
        return True

    def failed(self) -> bool:
        """There was no good answer; True if this opened the breaker.

        Of many that were asked at once and failed together the first counts.
        """
        was_closed = self.is_closed
        if was_closed or self._probing:
            self._failures += 1
            longest = min(FIRST_WAIT * 2 ** (self._failures - 1), LONGEST_WAIT)
            self._until = trio.current_time() + random.uniform(longest / 2, longest)
            self._probing = False
        return was_closed

    def gave_up(self) -> None:
        """It was not asked after all."""
        self._probing = False

    def trip(self, seconds: float) -> None:
        """Whatever it answered: do not ask it for so long."""
        self._failures = max(1, self._failures)
        self._until = max(self._until, trio.current_time() + seconds)
        self._probing = False
