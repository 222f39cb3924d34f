"""The watchdog of a mounted daemon: what stops it, and what must not."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from tests.mount.servicemanager import FILE, SIZE, ServiceManager, service
from tests.mount.waiting import eventually
from tests.s3 import Fault
from vbofs.daemon.watchdog import Watchdog
from vbofs.fuse.pulse import NAME, Pulse

#: A tenth of a second between two looks.
OFTEN = {"WATCHDOG_USEC": "300000"}


@pytest.fixture
def vbo(at_s3):
    return at_s3.home / "vbo"


def test_it_is_fed_as_long_as_the_mount_answers(at_s3, manager, vbo):
    with service(at_s3, manager, **OFTEN):
        manager.await_line("WATCHDOG=1", 3)
        assert len((vbo / "v1.0.0" / FILE).read_bytes()) == SIZE
        manager.await_line("STATUS=visual-behavior-ophys on")
    assert "STOPPING=1" in manager.hear()


def test_a_status_line_comes_only_when_it_is_another(at_s3, manager):
    with service(at_s3, manager, **OFTEN):
        manager.await_line("WATCHDOG=1", 5)
        statuses = [line for line in manager.hear() if line.startswith("STATUS=")]
    assert len(statuses) == len(set(statuses)) == 2


def test_a_daemon_that_is_stopped_is_silent_and_one_that_goes_on_speaks_again(at_s3, manager):
    with service(at_s3, manager, **OFTEN) as pid:
        manager.await_line("WATCHDOG=1", 2)
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: not manager.hear() or not _heard_more(manager), 10)
        os.kill(pid, signal.SIGCONT)
        manager.await_line("WATCHDOG=1", manager.lines.count("WATCHDOG=1") + 2)
    at_s3.expect("does not answer its watchdog: no answer")


def _heard_more(manager) -> bool:
    before = len(manager.hear())
    threading.Event().wait(0.4)
    return len(manager.hear()) > before


def test_a_bucket_that_hangs_does_not_stop_it(at_s3, manager, s3, vbo):
    with service(at_s3, manager, **OFTEN):
        assert (vbo / "v1.0.0" / FILE).stat().st_size == SIZE
        s3.faults.append(Fault(operation="GET", stall_at=1000))
        reader = at_s3.start("cat", str(vbo / "v1.0.0" / FILE), stdout=-3, stderr=-3)
        eventually(lambda: s3.requests[-1].key.endswith(FILE))
        manager.await_line("WATCHDOG=1", manager.lines.count("WATCHDOG=1") + 4)
        assert reader.poll() is None
        s3.heal()
        assert reader.wait(20) == 0


def test_a_daemon_killed_while_it_is_looked_at_is_gone_at_once(at_s3, manager, vbo):
    with service(at_s3, manager, **OFTEN) as pid:
        os.kill(pid, signal.SIGSTOP)  # A look, or several, wait for an answer that never comes.
        threading.Event().wait(0.3)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: at_s3.processes() == [pid] or not at_s3.processes(), 5)
    assert at_s3.run("umount").status == 0


def test_the_pulse_is_not_listed_and_is_there_for_the_watchdog_only(at_s3, manager, vbo):
    with service(at_s3, manager, **OFTEN):
        assert NAME.decode() not in os.listdir(vbo)
        pulse = vbo / NAME.decode()
        assert len(pulse.read_bytes()) == 32
        assert pulse.stat().st_mode & 0o777 == 0o400
        with pytest.raises(OSError, match="Read-only"):
            pulse.write_bytes(b"mine")
    mounted = at_s3.mount()
    assert not (mounted / NAME.decode()).exists()


# --- without a mount


class Tower:
    """A mount that does not answer."""

    def __init__(self, settings) -> None:
        self.settings = settings


@pytest.mark.parametrize("full", [False, True])
async def test_readers_that_all_wait_for_the_bucket_are_no_proof_against_the_mount(
    settings, tmp_path, monkeypatch, nursery, expects_log, full
):
    manager = ServiceManager(tmp_path)
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    watchdog = Watchdog(0.3, Pulse(), Tower(settings), is_full=lambda: full)
    monkeypatch.setattr(Watchdog, "_status", lambda self: "mounted")
    if not full:
        expects_log("does not answer its watchdog")
    await watchdog._round()
    heard = manager.hear()
    manager.close()
    assert ("WATCHDOG=1" in heard) == full
    assert ("STATUS=mounted; every reader waits for the bucket" in heard) == full
