"""A network that goes away, stalls or trickles while programs copy: they end right, unattended."""

from __future__ import annotations

import errno
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.mount.reading import forget, opened
from tests.mount.waiting import eventually
from tests.s3 import Fault

FILE = "behavior_sessions/one.nwb"
OTHER = "behavior_sessions/two.nwb"
MIB = 1 << 20
SIZE = 12 * MIB + 321
#: Seconds for which a request is tried again; with 60 in a full run: SOAK_TIMEOUT=60.
TIMEOUT = float(os.environ.get("SOAK_TIMEOUT", "4"))
# A daemon that calls it a stall after a second: the constant is 15, and nobody has that time.
IMPATIENT = """
import vbofs.remote.s3_ranges

vbofs.remote.s3_ranges.READ_TIMEOUT = 1
"""


@pytest.fixture
def impatient(at_s3):
    """The machine of ``at_s3``, whose daemons notice a stall soon."""
    (at_s3.root / "sitecustomize.py").write_text(IMPATIENT)
    at_s3.env["PYTHONPATH"] = str(at_s3.root)
    return at_s3


def _sent(published, enough):
    return sum(one.sent for one in published.s3.requests if one.key.endswith(FILE)) > enough


def test_cp_ends_right_though_the_network_was_away_in_its_middle(at_s3, published, tmp_path):
    published.release("1.0.0", {FILE: SIZE})
    (tmp_path / "truth").write_bytes(published.truth("1.0.0", FILE))
    mounted = at_s3.mount(VBOFS_TIMEOUT=str(TIMEOUT))
    published.s3.total_rate = 8 * MIB
    copying = at_s3.start("cp", str(mounted / f"v1.0.0/{FILE}"), str(tmp_path / "copy"))
    eventually(lambda: _sent(published, SIZE // 4), what="a part of the copy")
    published.s3.down()
    threading.Event().wait(TIMEOUT - 1)
    assert copying.poll() is None
    published.s3.up()
    assert copying.wait(30) == 0
    assert at_s3.execute("cmp", str(tmp_path / "copy"), str(tmp_path / "truth")) == (0, "", "")
    assert mounted.status()["blocks"]["failed"] == 0


def test_cp_that_failed_for_a_network_gone_too_long_succeeds_when_it_is_run_again(
    at_s3, published, tmp_path
):
    published.release("1.0.0", {FILE: SIZE})
    mounted = at_s3.mount(VBOFS_TIMEOUT="1")
    at_s3.expect(r" WARNING .*one.nwb")
    published.s3.total_rate = 8 * MIB
    words = "cp", str(mounted / f"v1.0.0/{FILE}"), str(tmp_path / "copy")
    copying = at_s3.start(*words, stderr=-3)
    eventually(lambda: _sent(published, SIZE // 4), what="a part of the copy")
    published.s3.down()
    assert copying.wait(15) == 1
    published.s3.up()
    published.s3.total_rate = None
    published.s3.clear_log()
    threading.Event().wait(0.3)  # So long what was found last is news.
    assert at_s3.execute(*words) == (0, "", "")
    assert (tmp_path / "copy").read_bytes() == published.truth("1.0.0", FILE)
    assert not _sent(published, SIZE * 7 // 8)  # What had come was kept.


def test_answers_that_stall_or_trickle_are_given_up_for_better_ones(impatient, published):
    published.release("1.0.0", {FILE: SIZE, OTHER: SIZE})
    mounted = impatient.mount(VBOFS_TIMEOUT="20")
    faults = [
        Fault(operation="GET", key="_sessions/", every=3, times=2, **deeds)
        for deeds in (dict(stall_at=-1), dict(stall_at=700_000), dict(trickle=(100, 0.1)))
    ]
    published.s3.faults += faults
    before = time.monotonic()
    with ThreadPoolExecutor(2) as readers:
        bodies = readers.map(lambda one: (mounted / f"v1.0.0/{one}").read_bytes(), (FILE, OTHER))
        assert list(bodies) == [published.truth("1.0.0", one) for one in (FILE, OTHER)]
    assert all(fault.fired for fault in faults)
    assert mounted.status()["requests"]["retried"] >= 3
    assert time.monotonic() - before < 20


# --- a network that is lost


def _fails_in(fd, at):
    """How long a read of something that is not cached takes to fail, in seconds."""
    before = time.monotonic()
    with pytest.raises(OSError, match=r"unreachable|Input/output") as failed:
        os.pread(fd, 1000, at)
    assert failed.value.errno in (errno.ENETUNREACH, errno.EIO)
    return time.monotonic() - before


def test_without_a_network_what_is_cached_works_and_the_rest_fails_soon(at_s3, published):
    published.release("1.0.0", {FILE: SIZE, OTHER: MIB})
    mounted = at_s3.mount(VBOFS_TIMEOUT="2", VBOFS_REFRESH_INTERVAL="0")
    at_s3.expect(r" WARNING .*(one.nwb|new releases)")
    assert (mounted / f"v1.0.0/{OTHER}").read_bytes() == published.truth("1.0.0", OTHER)
    mounted.requests()
    assert "the network is lost" not in at_s3.run("status").out
    with opened(mounted / f"v1.0.0/{FILE}") as fd:
        published.s3.down()
        assert 1 < _fails_in(fd, 5 * MIB) < 5
        for nth in range(3):
            assert _fails_in(fd, 6 * MIB + nth * MIB // 2) < 2
        forget(mounted / f"v1.0.0/{OTHER}")
        assert (mounted / f"v1.0.0/{OTHER}").read_bytes() == published.truth("1.0.0", OTHER)
        assert "v1.0.0" in os.listdir(mounted.path)
        assert os.stat(mounted / f"v1.0.0/{FILE}").st_size == SIZE
        assert mounted.status()["network"]["away_since"] <= time.time()
        assert "the network is lost for" in at_s3.run("status").out
        published.s3.up()
        threading.Event().wait(0.3)  # So long what was found last is news.
        assert os.pread(fd, 1000, 5 * MIB) == published.truth("1.0.0", FILE)[5 * MIB :][:1000]
    assert mounted.status()["network"]["away_since"] is None
    assert "the network is lost" not in at_s3.run("status").out


def test_two_hundred_readers_without_a_network_ask_a_few_times_a_second(at_s3, published):
    published.release("1.0.0", {FILE: 100 * MIB})
    mounted = at_s3.mount(VBOFS_TIMEOUT="3")
    at_s3.expect(r" WARNING .*one.nwb")
    path = mounted / f"v1.0.0/{FILE}"
    assert path.stat().st_size
    mounted.requests()
    published.s3.down()
    before, begun = mounted.status()["requests"]["get"], time.monotonic()

    def read(nth):
        with opened(path) as fd, pytest.raises(OSError, match=r"unreachable|Input/output"):
            os.pread(fd, 10, nth * MIB // 2)
        return True

    with ThreadPoolExecutor(200) as readers:
        assert all(readers.map(read, range(200)))
    took = time.monotonic() - begun
    # All connections find out by themselves, once; from then on one asks for all.
    asked = mounted.status()["requests"]["get"] - before
    assert asked <= 32 + 10 + 5 * took
    assert took < 15
    published.s3.up()
    threading.Event().wait(0.3)
    with opened(path) as fd:
        assert os.pread(fd, 10, 0) == published.pin("1.0.0", FILE).read(0, 10)
