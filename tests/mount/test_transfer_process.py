"""The daemon's second process, as programs and administrators see it: not at all."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest

from tests.mount.family import children
from tests.mount.waiting import eventually

FILE = "behavior_sessions/one.nwb"
MIB = 1 << 20
SIZE = 48 * MIB + 321


@pytest.fixture
def copying(at_s3, published, tmp_path):
    """A mount, a copy of a large file that is under way, and the process that fetches for it."""
    published.release("1.0.0", {FILE: SIZE})
    (tmp_path / "truth").write_bytes(published.truth("1.0.0", FILE))
    mounted = at_s3.mount()
    published.s3.total_rate = 24 * MIB
    copying = at_s3.start("cp", str(mounted / f"v1.0.0/{FILE}"), str(tmp_path / "copy"))
    (fetching,) = eventually(lambda: children(mounted.pid), what="the transfer process")
    eventually(lambda: published.s3.bytes_sent > SIZE // 3, what="a third of the copy")
    yield mounted, copying, fetching
    with contextlib.suppress(ProcessLookupError):
        os.kill(fetching, signal.SIGCONT)


def _is_right(machine, copying, folder):
    assert copying.wait(60) == 0
    assert machine.execute("cmp", str(folder / "copy"), str(folder / "truth")) == (0, "", "")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_copy_ends_right_whatever_becomes_of_it(at_s3, copying, tmp_path, number):
    at_s3.expect("the transfer process has ended")
    at_s3.expect("the transfer process hangs")
    _, program, fetching = copying
    os.kill(fetching, number)
    _is_right(at_s3, program, tmp_path)


def test_it_fetches_and_nothing_is_fetched_twice(at_s3, published, copying, tmp_path):
    mounted, program, fetching = copying
    _is_right(at_s3, program, tmp_path)
    assert children(mounted.pid) == [fetching]
    assert published.s3.bytes_sent < SIZE + MIB


def test_it_ends_with_the_mount(at_s3, copying, tmp_path):
    mounted, program, _ = copying
    _is_right(at_s3, program, tmp_path)
    mounted.umount()
    eventually(lambda: not at_s3.processes(), what="the end of all processes")


def test_it_ends_when_the_daemon_is_killed(at_s3, copying):
    mounted, program, fetching = copying
    mounted.kill()
    eventually(lambda: fetching not in at_s3.processes(), what="its end")
    assert program.wait(60) != 0


def test_a_mount_from_which_nobody_copies_has_one_process(at_s3, published):
    published.release("1.0.0", {FILE: SIZE})
    mounted = at_s3.mount()
    (mounted / f"v1.0.0/{FILE}").open("rb").close()
    assert not children(mounted.pid)
