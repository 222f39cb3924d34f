"""A server that fails and lies while programs read: right bytes, or an error in time."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.mount.machine import is_mounted
from tests.mount.published import Published
from tests.mount.reading import forget, opened
from tests.mount.waiting import eventually
from tests.s3 import Fault, ProgrammableS3
from vbofs.demo import BUCKET

BAD = "behavior_sessions/bad.nwb"
GOOD = "behavior_sessions/good.nwb"
BUGGY = """
from vbofs.filesystem import Filesystem
from vbofs.remote.s3 import S3ObjectStore

read, lookup, fetch = Filesystem.read, Filesystem.lookup, S3ObjectStore.fetch

async def buggy_read(self, ino, offset, size):
    return {}[ino] if offset else await read(self, ino, offset, size)

async def buggy_lookup(self, parent, name):
    return {}[name] if name == b"unlucky" else await lookup(self, parent, name)

async def buggy_fetch(self, blob, extent, sink):
    return {}[extent] if "bad" in blob.version.key else await fetch(self, blob, extent, sink)

Filesystem.read, Filesystem.lookup, S3ObjectStore.fetch = buggy_read, buggy_lookup, buggy_fetch
"""
SIZE = 1_500_000
#: Seconds for which a request is tried again; where nothing passes, so many are enough.
TIMEOUT, BRIEF = 2, 1


@pytest.fixture(scope="module")
def server(machines):
    """One mount for all faults: a mount that one of them ends has failed the next tests too."""
    with ProgrammableS3() as s3:
        published = Published(s3)
        published.release("1.0.0", {})
        machine = machines(s3.url)
        mounted = machine.mount(VBOFS_TIMEOUT=str(TIMEOUT), VBOFS_REFRESH_INTERVAL="0")
        yield published, mounted
        s3.heal()
        s3.up()
        machine.clean()


@pytest.fixture(scope="module")
def brief(server, machines):
    """Another mount of the same, that gives up sooner."""
    published, _ = server
    machine = machines(published.url)
    yield published, machine.mount(VBOFS_TIMEOUT=str(BRIEF), VBOFS_REFRESH_INTERVAL="0")
    machine.clean()


@pytest.fixture
def live(server):
    """A fresh release with a file that the test does something to, and one that it does not."""
    with _alive(*server) as live:
        yield live


@pytest.fixture
def briefly(brief):
    """``live``, where the daemon gives up sooner."""
    with _alive(*brief) as live:
        yield live


@contextlib.contextmanager
def _alive(published, mounted):
    release = f"1.0.{len(published.s3.buckets[BUCKET].names())}"
    published.release(release, {BAD: SIZE, GOOD: SIZE})
    folder = mounted / f"v{release}"
    assert set(os.listdir(folder / "behavior_sessions")) == {"bad.nwb", "good.nwb"}
    pid = mounted.status()["pid"]
    yield Live(published, mounted, folder, release)
    published.s3.heal()
    assert is_mounted(mounted.path)
    assert (folder / GOOD).read_bytes() == published.truth(release, GOOD)
    assert mounted.status()["pid"] == pid


class Live:
    """The two files, and what happens to requests for the first."""

    def __init__(self, published, mounted, folder, release):
        self.published, self.mounted, self.s3 = published, mounted, published.s3
        self.bad, self.good = folder / BAD, folder / GOOD
        self.truth = published.truth(release, BAD)
        self.version_id = published.pin(release, BAD).version_id

    def befall(self, **deeds):
        """Do this to the ranges of the bad file."""
        fault = Fault(operation="GET", version_id=self.version_id, **deeds)
        self.s3.faults.append(fault)
        return fault

    def expect_failures(self):
        self.mounted.machine.expect(r" WARNING .*(behavior_sessions/bad.nwb|new releases)")


# --- what passes


@pytest.mark.parametrize(
    "deeds",
    [
        {"close_at": 1000},
        {"close_at": 0},
        {"close_at": -1},
        {"reset_at": 70_000},
        {"truncate_body": 5},
        {"status": 500},
        {"status": 503, "delay": 0.1},
        {"status": 429},
        {"html": True},
        {"raw": b"SSH-2.0-OpenSSH\r\n"},
        {"trickle": (20_000, 0.01)},
        {"content_length_lie": -7},
        {"content_length_lie": 7},
        {"content_range_shift": 131_072},
        {"headers": {"x-amz-version-id": "another"}},
        {"headers": {"ETag": '"another"'}},
        {"headers": {"Content-Range": None}},
        {"gzip": True},
        {"long_body": 1000},
        {"status": 206, "body": b"x" * 131_072},
    ],
    ids=str,
)
def test_what_goes_wrong_now_and_then_never_reaches_the_reader(live, deeds):
    fault = live.befall(every=2, times=3, **deeds)
    live.expect_failures()
    assert live.bad.read_bytes() == live.truth
    forget(live.bad)
    assert live.bad.read_bytes() == live.truth
    assert fault.fired


def test_readers_at_once_get_right_bytes_from_a_server_that_fails_every_third_time(live):
    live.befall(every=3, reset_at=40_000)
    with ThreadPoolExecutor(12) as readers:
        bodies = readers.map(lambda _: live.bad.read_bytes(), range(12))
        assert all(body == live.truth for body in bodies)


# --- what does not pass


@pytest.mark.parametrize(
    ("deeds", "expected"),
    [
        ({"status": 404}, {errno.EIO}),
        ({"code": "NoSuchVersion"}, {errno.EIO}),
        ({"status": 403}, {errno.EIO, errno.EACCES}),
        ({"status": 400}, {errno.EIO}),
        ({"status": 412}, {errno.EIO}),
        ({"status": 416}, {errno.EIO}),
        ({"status": 301}, {errno.EIO}),
    ],
    ids=str,
)
def test_what_is_wrong_for_good_fails_the_reader_at_once_and_nobody_else(live, deeds, expected):
    fault = live.befall(**deeds)
    live.expect_failures()
    before = time.monotonic()
    with pytest.raises(OSError, match=r"rror|denied") as failed:
        live.bad.read_bytes()
    assert failed.value.errno in expected
    assert time.monotonic() - before < TIMEOUT
    assert live.good.read_bytes()
    fault.lift()
    assert live.bad.read_bytes() == live.truth
    assert live.mounted.status()["blocks"]["failed"]


@pytest.mark.parametrize(
    "deeds",
    [
        {"headers": {"x-amz-version-id": "another"}},
        {"headers": {"Content-Range": "bytes 0-9/10"}},
        {"content_range_shift": 131_072},
        {"truncate_body": 5},
        {"whole": True},
    ],
    ids=str,
)
def test_a_server_that_always_lies_is_never_believed(briefly, deeds):
    briefly.befall(**deeds)
    briefly.expect_failures()
    before = time.monotonic()
    with pytest.raises(OSError, match="Input/output error"):
        briefly.bad.read_bytes()
    assert time.monotonic() - before < 3 * BRIEF + 1


def test_a_server_that_is_down_fails_readers_in_time_and_is_found_again(live):
    live.expect_failures()
    with opened(live.bad) as fd:
        assert os.pread(fd, 1000, 0) == live.truth[:1000]
        live.mounted.requests()
        live.s3.down()
        before = time.monotonic()
        with pytest.raises(OSError, match="Network is unreachable"):
            os.pread(fd, 1000, SIZE // 2)
        assert time.monotonic() - before < 3 * TIMEOUT
        forget(live.bad)
        assert os.pread(fd, 1000, 0) == live.truth[:1000]
        assert os.listdir(live.mounted.path)  # Nobody hangs who only looks.
        assert live.mounted.status()["last_error"]
        live.s3.up()
        threading.Event().wait(0.3)  # So long what was found last is news.
        assert os.pread(fd, 1000, SIZE // 2) == live.truth[SIZE // 2 :][:1000]


def test_a_server_that_comes_back_in_time_is_not_noticed(live):
    live.expect_failures()
    live.s3.down()
    with ThreadPoolExecutor(1) as readers:
        reading = readers.submit(live.bad.read_bytes)
        retried = live.mounted.status()["requests"]["retried"]
        eventually(lambda: live.mounted.status()["requests"]["retried"] > retried)
        live.s3.up()
        assert reading.result() == live.truth


def test_a_reader_that_is_killed_while_it_waits_ends_at_once_and_takes_nothing_along(live):
    fault = live.befall(stall_at=50_000, times=1)
    machine = live.mounted.machine
    readers = [machine.start("cat", str(live.bad), stdout=-3) for _ in range(2)]
    eventually(lambda: fault.fired)
    readers[0].kill()
    assert readers[0].wait(10) == -9
    fault.lift()
    assert readers[1].wait(20) == 0
    assert live.bad.read_bytes() == live.truth


def test_a_bug_in_the_daemon_costs_its_caller_eio_and_nobody_the_mount(at_s3, published):
    published.release("1.0.0", {BAD: SIZE, GOOD: SIZE})
    (at_s3.root / "sitecustomize.py").write_text(BUGGY)
    mounted = at_s3.mount(PYTHONPATH=str(at_s3.root))
    at_s3.expect(r"a bug; the (caller sees|readers see) EIO|Traceback|KeyError|Extent")
    with opened(mounted / f"v1.0.0/{GOOD}") as good, opened(mounted / f"v1.0.0/{BAD}") as bad:
        for fd, offset in ((good, SIZE // 2), (bad, 0)):
            with pytest.raises(OSError, match="Input/output error"):
                os.pread(fd, 1000, offset)
        with pytest.raises(OSError, match="Input/output error"):
            os.stat(mounted / "v1.0.0/unlucky")
        assert os.pread(good, 1000, 0) == published.truth("1.0.0", GOOD)[:1000]
    assert "KeyError" in at_s3.log()
    assert mounted.status()["blocks"]["failed"]
