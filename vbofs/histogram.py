"""How long things took, counted in fixed buckets.

One ``observe`` costs about a third of a microsecond, so that every read can afford it; the shape is
that of Prometheus's histograms, into which metrics.py turns it.  For one thread at a time.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

#: Seconds.  From a block that the page cache of the disk has to a read that waited a minute.
READ_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)
#: Seconds.  From a server on this machine to one that is given up.
REQUEST_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)


@dataclass(frozen=True)
class HistogramStatistics:
    """*counts* has one number per upper bound, that bucket's alone, and a last one for the rest."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    seconds: float


class Histogram:
    """Durations in seconds, by upper *bounds*, which must ascend."""

    __slots__ = ("_bounds", "_counts", "_seconds")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._seconds = 0.0

    def __repr__(self) -> str:
        return f"<Histogram {sum(self._counts)} in {self._seconds:.3f} s>"

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._seconds += seconds

    def statistics(self) -> HistogramStatistics:
        return HistogramStatistics(self._bounds, tuple(self._counts), self._seconds)
