"""Metrics of a real mount: on a port, in a file, and from vbofs status."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.mount.refusal import assert_refused
from tests.mount.waiting import eventually
from vbofs import errors, metrics

FILE = "behavior_sessions/one.nwb"
SIZE = 3 << 20


@pytest.fixture
def here(at_s3, published):
    published.release("1.0.0", {FILE: SIZE})
    return at_s3


def scraped(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return answer.read().decode()


def value(text, name, **labels):
    """The one sample of that name, whatever its mount."""
    (found,) = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return found


def test_prometheus_reads_what_was_read(here, port):
    mounted = here.mount("--metrics-port", str(port))
    assert len((mounted / f"v1.0.0/{FILE}").read_bytes()) == SIZE
    mounted.requests()  # Nothing is under way any more.
    text = scraped(port)
    assert value(text, "vbofs_read_bytes_total") == SIZE
    assert value(text, "vbofs_read_duration_seconds_count") == value(text, "vbofs_reads_total")
    assert (
        value(text, "vbofs_requests_total", operation="GET") == mounted.status()["requests"]["get"]
    )
    assert value(text, "vbofs_received_bytes_total") >= SIZE
    assert value(text, "vbofs_request_duration_seconds_count", operation="GET") > 0
    assert value(text, "vbofs_process_resident_memory_bytes") > 20e6
    assert value(text, "vbofs_remote_up") == 1
    assert value(text, "vbofs_cache_up") == 1
    # Being looked at costs no request.
    assert value(scraped(port), "vbofs_received_bytes_total") == value(
        text, "vbofs_received_bytes_total"
    )
    exposed = {m.exposed for m in metrics.TABLE if not m.name.startswith("vbofs_site_")}
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert exposed | set(metrics.PROCESS) <= names
    if shutil.which("promtool"):
        subprocess.run(["promtool", "check", "metrics"], input=text.encode(), check=True)


def test_a_port_that_is_taken_is_said_before_anything_is_mounted(here, port):
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        outcome = here.run("mount", "--metrics-port", str(port))
    words = f"127.0.0.1 port {port}", "Address already in use", "--metrics-port"
    assert_refused(here, outcome, errors.MetricsUnavailable, *words)


@pytest.mark.parametrize("number", ["0", "65536", "http"])
def test_a_port_that_is_none_is_said(here, number):
    outcome = here.run("mount", "--metrics-port", number)
    assert_refused(here, outcome, errors.SettingsInvalid, "--metrics-port")


def test_after_kill_9_and_after_a_lazy_unmount_the_next_mount_has_the_port(here, port):
    here.mount("--metrics-port", str(port)).kill()
    mounted = here.mount("--metrics-port", str(port))
    with (mounted / f"v1.0.0/{FILE}").open("rb"):
        os.kill(mounted.pid, 15)
        eventually(lambda: mounted.path not in here.mounts())
        again = here.mount("--metrics-port", str(port))
        pids = [s["pid"] for s in json.loads(here.run("status", "--json").out) if "pid" in s]
        assert again.pid in pids
        assert value(scraped(port), "vbofs_up") == 1
    eventually(lambda: here.processes() == [again.pid])


def test_the_file_is_there_while_it_is_mounted(here):
    path = here.root / "vbo.prom"
    mounted = here.mount("--metrics-file", str(path))
    eventually(path.exists)
    assert value(path.read_text(), "vbofs_up") == 1
    mounted.umount()
    assert not path.exists()


def test_a_file_in_the_mountpoint_is_refused(here):
    outcome = here.run("mount", "--metrics-file", str(here.home / "vbo/vbo.prom"))
    assert_refused(here, outcome, errors.SettingsInvalid, "--metrics-file", "in the mountpoint")


def test_status_prints_every_mount_for_cron(here):
    one, two = here.mount(), here.mount(at=here.home / "two")
    two.kill()
    text = here.run("status", "--prometheus").out
    assert value(text, "vbofs_up", mount=str(one.path)) == 1
    assert value(text, "vbofs_up", mount=str(two.path)) == 0


def test_a_mount_without_metrics_does_not_load_their_library(here):
    outcome = here.run("mount", PYTHONPROFILEIMPORTTIME="1")
    loaded = outcome.err + here.log()
    assert "pyfuse3" in loaded
    assert "prometheus_client" not in loaded
    assert "logging_journald" not in loaded


def test_the_log_can_be_json(here):
    here.mount("--log-format", "json").umount()
    events = [json.loads(line) for line in here.log().splitlines()]
    assert events[0]["level"] == "INFO"
    assert events[0]["mountpoint"] == str(here.home / "vbo")
    outcome = here.run("mount", "--log-format", "xml")
    assert outcome.status == errors.SettingsInvalid.exit_status
    assert "--log-format" in outcome.err
