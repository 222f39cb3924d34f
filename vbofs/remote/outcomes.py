"""What became of the attempts at the remote: how long they took, and which errors they ended with.

From this, and not by asking, the daemon knows whether it has a network.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from ..errors import RemoteError, VbofsError
from ..histogram import REQUEST_BOUNDS, Histogram, HistogramStatistics


@dataclass(frozen=True)
class OutcomeStatistics:
    """*errors* by the name of their class, *latency* by operation (GET, HEAD, LIST).

    Times are seconds since 1970, or 0: *succeeded_at*, of the last attempt that did;
    *failing_since*, of the first one since then that failed in a way that may pass, *failing* its
    words.
    """

    errors: dict[str, int]
    latency: dict[str, HistogramStatistics]
    succeeded_at: float
    failing_since: float
    failing: str


class Outcomes:
    """Shared by all that ask one remote."""

    def __init__(self) -> None:
        self._errors: Counter[str] = Counter()
        self._latency = {name: Histogram(REQUEST_BOUNDS) for name in ("GET", "HEAD", "LIST")}
        self._succeeded_at = self._failing_since = 0.0
        self._failing = ""

    def __repr__(self) -> str:
        return f"<Outcomes {self._latency} {dict(self._errors)}>"

    def note(self, operation: str, seconds: float, error: VbofsError | None = None) -> None:
        """An attempt has ended, with *error* or well."""
        self._latency[operation].observe(seconds)
        if error is None:
            self._succeeded_at, self._failing_since = time.time(), 0.0
            self._failing = ""
            return
        self._errors[type(error).__name__.lstrip("_")] += 1
        if isinstance(error, RemoteError) and error.retryable:
            self._failing_since = self._failing_since or time.time()
            self._failing = str(error)

    def statistics(self) -> OutcomeStatistics:
        return OutcomeStatistics(
            dict(self._errors),
            {name: one.statistics() for name, one in self._latency.items()},
            self._succeeded_at,
            self._failing_since,
            self._failing,
        )
