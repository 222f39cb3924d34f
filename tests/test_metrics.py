"""Metrics: names that Prometheus likes, numbers that are the daemon's, and an exporter that harms
nobody."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from vbofs import errors, metrics
from vbofs.daemon import exporter, metrics_port
from vbofs.histogram import Histogram, HistogramStatistics

LATENCY = {"bounds": [0.1, 1.0], "counts": [3, 2, 1], "seconds": 7.5}
STATE = {
    "state": "mounted",
    "version": "0.1.0",
    "pid": os.getpid(),
    "since": 1.7e9,
    "mountpoint": "/mnt/vbo",
    "dataset": "visual-behavior-ophys",
    "releases": ["1.0.0", "1.0.1"],
    "left_out": {},
    "checked": 1.7e9,
    "cache": {"refusing": False, "used": 5, "limit": 10, "damaged": 1, "evicted": 2, "refused": 3},
    "requests": {"get": 7, "head": 1, "list": 2, "received": 99, "retried": 4},
    "remote": {
        "errors": {"EndpointDown": 3},
        "latency": {"GET": LATENCY},
        "succeeded_at": 1.7e9,
        "failing_since": 0.0,
    },
    "blocks": {
        "demanded": 1,
        "chased": 2,
        "read_ahead": 3,
        "prefetched": 9,
        "joined": 4,
        "failed": 5,
        "flying": 6,
        "queued": 7,
        "hits": 8,
    },
    "verifier": {"verified": 1, "mismatched": 2, "condemned": 3, "pending": 4},
    "readers": {
        "handles": 1,
        "files": 2,
        "reads": 3,
        "bytes": 4,
        "failed": 5,
        "latency": LATENCY,
    },
}
DEAD = {"state": "dead", "mountpoint": "/mnt/dead", "dataset": "visual-behavior-ophys"}

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed: apt install prometheus"
)


def samples(*states):
    """Every sample of the exposition: (name, labels less mount and dataset) → value."""
    found = {}
    for family in text_string_to_metric_families(metrics.exposition(states).decode()):
        for sample in family.samples:
            labels = {k: v for k, v in sample.labels.items() if k != "dataset"}
            found[sample.name, *sorted(labels.items())] = sample.value
    return found


def value(found, name, mount="/mnt/vbo", **labels):
    return found[(name, *sorted({"mount": mount, **labels}.items()))]


def test_each_number_of_the_state_has_its_name():
    found = samples(STATE)
    assert value(found, "vbofs_up") == 1
    assert value(found, "vbofs_build_info", version="0.1.0") == 1
    assert value(found, "vbofs_requests_total", operation="GET") == 7
    assert value(found, "vbofs_request_errors_total", kind="EndpointDown") == 3
    assert value(found, "vbofs_cache_hit_blocks_total", tier="disk") == 8
    assert value(found, "vbofs_requested_blocks_total", reason="read_ahead") == 3
    assert value(found, "vbofs_cache_evicted_bytes_total") == 2
    assert value(found, "vbofs_releases") == 2
    assert value(found, "vbofs_left_out_releases") == 0
    assert value(found, "vbofs_remote_up") == 1


def test_a_histogram_is_cumulative():
    found = samples(STATE)
    name = "vbofs_request_duration_seconds"
    counts = [value(found, f"{name}_bucket", operation="GET", le=le) for le in ("0.1", "1.0")]
    assert counts == [3, 5]
    assert value(found, f"{name}_bucket", operation="GET", le="+Inf") == 6
    assert value(found, f"{name}_count", operation="GET") == 6
    assert value(found, f"{name}_sum", operation="GET") == 7.5


def test_the_histograms_of_the_program_fit():
    histogram = Histogram((0.1,))
    histogram.observe(5)
    statistics = histogram.statistics()
    assert isinstance(statistics, HistogramStatistics)
    state = STATE | {"readers": {"latency": vars(statistics)}}
    assert value(samples(state), "vbofs_read_duration_seconds_count") == 1


def test_a_network_that_is_lost_is_said():
    state = STATE | {"remote": STATE["remote"] | {"failing_since": 1.7e9}}
    assert value(samples(state), "vbofs_remote_up") == 0


def test_a_dead_mount_is_down_and_says_nothing_else():
    found = samples(STATE, DEAD)
    assert value(found, "vbofs_up", "/mnt/dead") == 0
    assert [name for name, *labels in found if ("mount", "/mnt/dead") in labels] == ["vbofs_up"]
    assert value(found, "vbofs_up") == 1


@pytest.mark.parametrize("missing", [key for key in STATE if key not in ("mountpoint", "dataset")])
def test_an_older_daemons_state_lacks_samples_and_nothing_else(missing):
    whole, less = samples(STATE), samples({k: v for k, v in STATE.items() if k != missing})
    # Of a process, what the kernel says changes from one moment to the next.
    fixed = {k: v for k, v in less.items() if "process" not in k[0]}
    assert fixed.items() <= whole.items()


def test_memory_and_processor_time_are_the_daemons():
    found = samples(STATE)
    assert value(found, "vbofs_process_resident_memory_bytes") > 1e6
    assert {name for name, *_ in found if "process" in name} == set(metrics.PROCESS)


def test_a_mountpoint_of_any_bytes_is_a_label():
    assert value(samples(STATE | {"mountpoint": 'a\udcff"\n\\'}), "vbofs_up", 'a\\udcff"\n\\') == 1


def test_no_name_is_given_twice_and_each_has_a_meaning():
    names = [metric.exposed for metric in metrics.TABLE]
    assert len(set(names)) == len(names)
    assert all(metric.meaning.endswith(".") for metric in metrics.TABLE)


@needs_promtool
def test_promtool_finds_nothing_to_complain_about():
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=metrics.exposition([STATE, DEAD]),
        capture_output=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


# --- the exporter


def answering(state):
    async def status():
        return state

    return status


async def scraped(port, request=b"GET /metrics HTTP/1.0\r\n\r\n", host="127.0.0.1"):
    stream = await trio.open_tcp_stream(host, port)
    async with stream:
        await stream.send_all(request)
        answer = b""
        with trio.fail_after(10):
            async for piece in stream:
                answer += piece
    return answer


async def test_the_port_answers_with_what_is_counted_now(nursery, make_settings, port, monkeypatch):
    monkeypatch.setattr(metrics_port, "FRESH", 0.0)
    state = dict(STATE)
    with exporter.opened(make_settings(metrics_port=port)) as offered:
        nursery.start_soon(offered.run, answering(state))
        first = await scraped(port)
        state["readers"] = STATE["readers"] | {"reads": 4321}
        assert b" 4321.0" not in first
        assert b" 4321.0" in await scraped(port)
    assert first.startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"text/plain; version=0.0.4" in first


async def test_whoever_asks_without_end_gets_the_same_answer_for_a_moment(
    nursery, make_settings, port
):
    asked = 0

    async def status():
        nonlocal asked
        asked += 1
        return STATE

    with exporter.opened(make_settings(metrics_port=port)) as offered:
        nursery.start_soon(offered.run, status)
        begun = time.monotonic()
        answers = {(await scraped(port)).partition(b"\r\n\r\n")[2] for _ in range(20)}
        assert len(answers) == asked <= 2 + (time.monotonic() - begun) / metrics_port.FRESH


async def test_when_it_is_released_the_port_is_free_at_once(nursery, make_settings, port):
    settings = make_settings(metrics_port=port)
    for _ in range(3):
        with exporter.opened(settings) as offered:
            nursery.start_soon(offered.run, answering(STATE))
            assert b"vbofs_up" in await scraped(port)
            offered.release()


async def test_one_that_is_released_before_it_runs_stays_silent(nursery, make_settings, port):
    with exporter.opened(make_settings(metrics_port=port)) as offered:
        offered.release()
        await offered.run(answering(STATE))
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream("127.0.0.1", port)


async def test_nonsense_and_silence_harm_nobody(nursery, make_settings, port, monkeypatch):
    monkeypatch.setattr(metrics_port._Answer, "timeout", 0.05)
    with exporter.opened(make_settings(metrics_port=port)) as offered:
        nursery.start_soon(offered.run, answering(STATE))
        silent = await trio.open_tcp_stream("127.0.0.1", port)
        for request, status in {
            b"POST /metrics HTTP/1.0\r\n\r\n": b" 501 ",
            b"GET /elsewhere HTTP/1.0\r\n\r\n": b" 404 ",
            b"\xff\xfe\x00\r\n\r\n": b"",
            b"x" * 100_000: b"",
            b"GET /" + b"x" * 70_000: b" 414 ",
        }.items():
            try:
                assert status in await scraped(port, request)
            except trio.BrokenResourceError:
                assert not status.strip() or status == b" 414 "
        assert b"vbofs_up" in await scraped(port)
        await silent.aclose()


async def test_a_bug_in_a_count_is_logged_and_the_next_scrape_is_answered(
    nursery, make_settings, port, expects_log
):
    expects_log("metrics: a bug; the mount goes on", times=1)
    states = [{"nonsense": 1}, STATE]

    async def status():
        return states.pop(0)

    with exporter.opened(make_settings(metrics_port=port)) as offered:
        nursery.start_soon(offered.run, status)
        assert b" 500 " in await scraped(port)
        assert b"vbofs_up" in await scraped(port)


def test_a_port_that_is_taken_is_said(make_settings, port):
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        with (
            pytest.raises(errors.MetricsUnavailable, match=f"{port}: Address already in use"),
            exporter.opened(make_settings(metrics_port=port)),
        ):
            pass


@pytest.mark.parametrize("address", ["localhost", "nonsense", "203.0.113.1", "", "::g"])
def test_an_address_that_is_none_or_not_ours_is_said(make_settings, port, address):
    settings = make_settings(metrics_port=port, metrics_address=address)
    with (
        pytest.raises(errors.MetricsUnavailable, match=r"--metrics-(address|port): "),
        exporter.opened(settings),
    ):
        pass


async def test_the_other_loopback_will_do(nursery, make_settings, port):
    with exporter.opened(make_settings(metrics_port=port, metrics_address="::1")) as offered:
        nursery.start_soon(offered.run, answering(STATE))
        assert b"vbofs_up" in await scraped(port, host="::1")


# --- the file


async def until(condition):
    """Wait for what a thread does; the clock jumps meanwhile."""
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        await trio.sleep(1)


async def test_the_file_is_written_whole_and_again(
    autojump_clock, nursery, make_settings, tmp_path
):
    path = tmp_path / "vbo.prom"
    state = dict(STATE)
    with exporter.opened(make_settings(metrics_file=path, metrics_interval=30)) as offered:
        nursery.start_soon(offered.run, answering(state))
        await until(path.exists)
        assert b" 3.0\n" in path.read_bytes()
        state["readers"] = STATE["readers"] | {"reads": 4321}
        await until(lambda: b" 4321.0\n" in path.read_bytes())
        assert path.stat().st_mode & 0o777 == 0o644
        assert os.listdir(tmp_path) == ["vbo.prom"]
        offered.release()
        await until(lambda: not path.exists())


async def test_a_file_that_cannot_be_written_any_more_is_said_and_tried_again(
    autojump_clock, nursery, make_settings, tmp_path, expects_log, log_check
):
    expects_log("cannot be written")
    folder = tmp_path / "gone"
    folder.mkdir()
    with exporter.opened(make_settings(metrics_file=folder / "vbo.prom")) as offered:
        folder.rmdir()
        nursery.start_soon(offered.run, answering(STATE))
        await until(lambda: any(one.seen for one in log_check.expected))
        folder.mkdir()
        await until((folder / "vbo.prom").exists)


@pytest.mark.parametrize("name", ["vbo.txt", "missing/vbo.prom"])
def test_a_file_that_nobody_would_look_at_is_refused(make_settings, tmp_path, name):
    with (
        pytest.raises(errors.MetricsUnavailable, match="--metrics-file"),
        exporter.opened(make_settings(metrics_file=tmp_path / name)),
    ):
        pass
