"""Durations in buckets: which one each falls into, and what counting costs."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from vbofs.histogram import READ_BOUNDS, Histogram


def test_a_duration_counts_in_the_first_bucket_whose_bound_it_does_not_pass():
    histogram = Histogram((0.1, 1.0))
    for seconds in (0.0, 0.1, 0.100001, 1.0, 1.5, 1e9):
        histogram.observe(seconds)
    statistics = histogram.statistics()
    assert statistics.counts == (2, 2, 2)
    assert statistics.bounds == (0.1, 1.0)
    assert repr(histogram).startswith("<Histogram 6 in 1000000002.7")


@given(st.lists(st.floats(0, 1e4)))
def test_nothing_is_lost_and_the_sum_is_right(durations):
    histogram = Histogram(READ_BOUNDS)
    for seconds in durations:
        histogram.observe(seconds)
    statistics = histogram.statistics()
    assert sum(statistics.counts) == len(durations)
    assert abs(statistics.seconds - sum(durations)) < 1e-3
    for n, bound in enumerate(READ_BOUNDS):
        assert sum(statistics.counts[: n + 1]) == sum(seconds <= bound for seconds in durations)


def test_counting_a_read_costs_less_than_two_microseconds():
    histogram = Histogram(READ_BOUNDS)

    def once() -> float:
        begun = time.perf_counter()
        for _ in range(2000):
            start = time.perf_counter()
            histogram.observe(time.perf_counter() - start)
        return (time.perf_counter() - begun) / 2000

    assert min(once() for _ in range(20)) < 2e-6
