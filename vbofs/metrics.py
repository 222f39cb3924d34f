"""What Prometheus reads, made from what ``vbofs status`` reads: the answer of the control socket.

There are no counters here: the floors count in plain numbers, and ``TABLE`` says which of them is
called what.  A state that lacks a number, being an older daemon's or that of a dead mount, gives no
sample.  prometheus_client is loaded only by who asks for an exposition.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial, reduce
from typing import Any, NamedTuple

State = Mapping[str, Any]
Samples = Iterable[tuple[str, Any]]

#: The one content type that every Prometheus since 2014 reads.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LABELS = ("mount", "dataset")


class Metric(NamedTuple):
    """*samples* gives, of a state, pairs of *label*'s value and a number, or a histogram."""

    name: str
    kind: str
    meaning: str
    samples: Callable[[State], Samples]
    label: str = ""

    @property
    def exposed(self) -> str:
        """The name in the exposition."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


def _found(state: Any, path: str) -> Any:
    """The value at a dotted *path*; None where there is none."""
    return reduce(
        lambda at, key: at.get(key) if isinstance(at, Mapping) else None, path.split("."), state
    )


def _one(path: str) -> Callable[[State], Samples]:
    return lambda state: [("", _found(state, path))]


def _by(**paths: str) -> Callable[[State], Samples]:
    return lambda state: [(name, _found(state, path)) for name, path in paths.items()]


def _each(path: str) -> Callable[[State], Samples]:
    return lambda state: (_found(state, path) or {}).items()


def _count(path: str) -> Callable[[State], Samples]:
    return lambda state: [("", None if (at := _found(state, path)) is None else len(at))]


def _truth(path: str, *, when: bool) -> Callable[[State], Samples]:
    """1 if what is at *path* is true or, with *when* False, if it is not."""
    return lambda state: [
        ("", None if (at := _found(state, path)) is None else float(bool(at) is when))
    ]


def _sites(field: str, shown: Callable[[Any], float] = float) -> Callable[[State], Samples]:
    return lambda state: [
        (one["url"], shown(one[field])) for one in state.get("site_caches") or [] if field in one
    ]


TABLE = (
    Metric("vbofs_up", "gauge", "1 if the mount's daemon answers, 0 if it is dead or hangs.",
           lambda state: [("", float(state.get("state", "mounted") == "mounted"))]),
    Metric("vbofs_build_info", "gauge", "1; the version of the daemon is a label.",
           lambda state: [(state["version"], 1)] if "version" in state else [], "version"),
    Metric("vbofs_start_time_seconds", "gauge", "When the daemon began, since 1970.",
           _one("since")),
    # --- reads
    Metric("vbofs_reads", "counter", "Reads of the kernel that were answered; those that its page"
           " cache answered never arrive.", _one("readers.reads")),
    Metric("vbofs_read_bytes", "counter", "Bytes that those reads returned.",
           _one("readers.bytes")),
    Metric("vbofs_read_errors", "counter", "Reads that ended with an error.",
           _one("readers.failed")),
    Metric("vbofs_read_duration_seconds", "histogram", "How long answered reads took.",
           _one("readers.latency")),
    Metric("vbofs_open_handles", "gauge", "Open file handles.", _one("readers.handles")),
    Metric("vbofs_open_files", "gauge", "Files that are open.", _one("readers.files")),
    # --- the remote
    Metric("vbofs_requests", "counter", "Requests sent to S3, by operation.",
           _by(GET="requests.get", HEAD="requests.head", LIST="requests.list"), "operation"),
    Metric("vbofs_received_bytes", "counter", "Bytes of bodies received from S3.",
           _one("requests.received")),
    Metric("vbofs_request_duration_seconds", "histogram", "How long attempts took, from asking to"
           " the last byte or the error, by operation.", _each("remote.latency"), "operation"),
    Metric("vbofs_request_errors", "counter", "Attempts that failed, by the kind of error.",
           _each("remote.errors"), "kind"),
    Metric("vbofs_retries", "counter", "Attempts that were made again.",
           _one("requests.retried")),
    Metric("vbofs_failed_requests", "counter", "Requests for blocks that were given up: their"
           " readers saw an error.", _one("blocks.failed")),
    Metric("vbofs_requests_in_flight", "gauge", "Requests for blocks under way.",
           _one("blocks.flying")),
    Metric("vbofs_queued_requests", "gauge", "Requests for blocks that wait for a connection.",
           _one("blocks.queued")),
    Metric("vbofs_remote_up", "gauge", "1 if the last attempt at S3 succeeded, 0 while they fail.",
           _truth("remote.failing_since", when=False)),
    Metric("vbofs_remote_success_timestamp_seconds", "gauge", "When an attempt at S3 succeeded"
           " last, since 1970.", _one("remote.succeeded_at")),
    # --- the cache
    Metric("vbofs_cache_hit_blocks", "counter", "Blocks that needed no request of their own: read"
           " from disk, or already in flight for somebody else.",
           _by(disk="blocks.hits", flight="blocks.joined"), "tier"),
    Metric("vbofs_requested_blocks", "counter", "Blocks asked of S3: a read waited, or they were"
           " fetched ahead of one.",
           _by(demand="blocks.demanded", chase="blocks.chased", read_ahead="blocks.read_ahead",
               prefetch="blocks.prefetched"), "reason"),
    Metric("vbofs_cache_up", "gauge", "1 if the cache disk takes blocks, 0 while it refuses them.",
           _truth("cache.refusing", when=False)),
    Metric("vbofs_cache_bytes", "gauge", "Bytes of disk that the cache takes.",
           _one("cache.used")),
    Metric("vbofs_cache_limit_bytes", "gauge", "Bytes of disk that the cache may take.",
           _one("cache.limit")),
    Metric("vbofs_cache_evicted_bytes", "counter", "Bytes evicted to make room.",
           _one("cache.evicted")),
    Metric("vbofs_cache_damaged_blocks", "counter", "Blocks on disk that were not what was written;"
           " they were fetched again.", _one("cache.damaged")),
    Metric("vbofs_cache_refused_blocks", "counter", "Blocks that the disk did not take.",
           _one("cache.refused")),
    # --- the site's caches, where there are any
    Metric("vbofs_site_cache_up", "gauge", "1 if the site's cache is asked, 0 while it is passed"
           " by.", _sites("away", lambda away: float(not away)), "cache"),
    Metric("vbofs_site_cache_requests", "counter", "Requests sent to the site's cache.",
           _sites("requests"), "cache"),
    Metric("vbofs_site_cache_received_bytes", "counter", "Bytes of bodies received from it.",
           _sites("received"), "cache"),
    Metric("vbofs_site_cache_failed_requests", "counter", "Requests that it failed.",
           _sites("failed"), "cache"),
    Metric("vbofs_site_cache_mismatched_files", "counter", "Files that were not as published though"
           " it gave bytes of them.", _sites("mismatched"), "cache"),
    # --- the lower cache, where there is one
    Metric("vbofs_lower_cache_up", "gauge", "1 if the lower cache is read, 0 while it is passed"
           " by.", _truth("lower_cache.away", when=False)),
    Metric("vbofs_lower_cache_read_blocks", "counter", "Blocks that were read out of it.",
           _one("lower_cache.blocks")),
    Metric("vbofs_lower_cache_read_bytes", "counter", "Bytes of those.",
           _one("lower_cache.bytes")),
    Metric("vbofs_lower_cache_damaged_reads", "counter", "Reads of it that met a block that was not"
           " what was written.", _one("lower_cache.damaged")),
    Metric("vbofs_lower_cache_failed_reads", "counter", "Reads of it that ended with an error, or"
           " took too long.", _one("lower_cache.failed")),
    # --- what was published
    Metric("vbofs_verified_files", "counter", "Whole files that matched their release's hash.",
           _one("verifier.verified")),
    Metric("vbofs_mismatched_files", "counter", "Whole files that did not; they were dropped.",
           _one("verifier.mismatched")),
    Metric("vbofs_condemned_files", "gauge", "Files that failed twice: reading them is an error.",
           _one("verifier.condemned")),
    Metric("vbofs_pending_files", "gauge", "Complete files that are still to be compared.",
           _one("verifier.pending")),
    Metric("vbofs_releases", "gauge", "Releases that are mounted.", _count("releases")),
    Metric("vbofs_left_out_releases", "gauge", "Releases whose manifest is wrong.",
           _count("left_out")),
    Metric("vbofs_releases_checked_timestamp_seconds", "gauge", "When the bucket was last asked"
           " for new releases, since 1970.", _one("checked")),
)  # fmt: skip

#: What prometheus_client's process collector adds, of the daemon's process.
PROCESS = (
    "vbofs_process_virtual_memory_bytes",
    "vbofs_process_resident_memory_bytes",
    "vbofs_process_start_time_seconds",
    "vbofs_process_cpu_seconds_total",
    "vbofs_process_open_fds",
    "vbofs_process_max_fds",
)


def exposition(states: Iterable[State]) -> bytes:
    """*states*, of one mount or of several, in Prometheus's text format."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(_Collector(list(states)))
    return generate_latest(registry)


class _Collector:
    def __init__(self, states: list[State]) -> None:
        self._states = states

    def collect(self) -> Iterator[Any]:
        yield from (_family(metric, self._states) for metric in TABLE)
        yield from _processes(self._states)


def _family(metric: Metric, states: list[State]) -> Any:
    from prometheus_client import core

    kinds = {
        "counter": core.CounterMetricFamily,
        "gauge": core.GaugeMetricFamily,
        "histogram": core.HistogramMetricFamily,
    }
    more = [metric.label] if metric.label else []
    family = kinds[metric.kind](metric.name, metric.meaning, labels=[*LABELS, *more])
    for state in states:
        for value, number in metric.samples(state):
            if number is not None:
                labels = [*_labels(state), *([_text(value)] if more else [])]
                _add(family, labels, number)
    return family


def _add(family: Any, labels: list[str], number: Any) -> None:
    if not isinstance(number, Mapping):
        family.add_metric(labels, number)
        return
    bounds = [*(str(float(bound)) for bound in number["bounds"]), "+Inf"]
    buckets = list(zip(bounds, itertools.accumulate(number["counts"]), strict=True))
    family.add_metric(labels, buckets, sum_value=number["seconds"])


def _processes(states: list[State]) -> Iterator[Any]:
    """The process collector's families, one sample for each daemon."""
    from prometheus_client import ProcessCollector
    from prometheus_client.metrics_core import Metric as Family

    families: dict[str, Family] = {}
    for state in states:
        if "pid" not in state:
            continue
        collector = ProcessCollector("vbofs", partial(int, state["pid"]), registry=None)
        labels = dict(zip(LABELS, _labels(state), strict=True))
        for family in collector.collect():
            kept = families.setdefault(
                family.name, Family(family.name, family.documentation, family.type)
            )
            for sample in family.samples:
                kept.add_sample(sample.name, labels, sample.value)
    yield from families.values()


def _labels(state: State) -> list[str]:
    return [_text(state["mountpoint"]), _text(state["dataset"])]


def _text(value: object) -> str:
    """A path may be no text, and an exposition is nothing else."""
    return str(value).encode(errors="backslashreplace").decode()
