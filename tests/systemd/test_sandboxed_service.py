"""vbofs@.service under a real systemd: what an administrator sees of it."""

from __future__ import annotations

import re
import time

import pytest

from tests.mount.waiting import eventually
from tests.systemd.conftest import FILE, SIZE

UNIT = "vbofs@one.service"
PATH = f"/mnt/one/v1.0.0/{FILE}"


@pytest.fixture
def one(machine):
    """A service that runs."""
    machine.settings("one")
    machine.sh(f"systemctl start {UNIT}")
    return machine


def is_back(machine, pid):
    """Another daemon than *pid* serves."""
    return (
        machine.show(UNIT, "ActiveState") == "active"
        and machine.pid(UNIT) not in (0, pid)
        and machine.run("test", "-e", PATH).status == 0
    )


@pytest.mark.everyday
def test_start_returns_when_everybody_can_read_and_stop_leaves_nothing(one):
    assert one.sh(f"setpriv --reuid=65534 --clear-groups cat {PATH} | wc -c") == str(SIZE)
    assert one.sh(f"ps -o user= -p {one.pid(UNIT)}") == "vbofs"
    assert "latest v1.0.0" in eventually(
        lambda: "files open" in (said := one.show(UNIT, "StatusText")) and said
    )
    one.sh(f"systemctl stop {UNIT}")
    assert not one.is_mounted("/mnt/one")
    assert one.show(UNIT, "Result") == "success"
    assert one.sh("ls -A /mnt/one") == ""
    assert "WARNING" not in one.journal()
    assert "ERROR" not in one.journal()


def test_the_daemon_has_no_right_of_any_kind(one):
    status = one.sh(f"cat /proc/{one.pid(UNIT)}/status")
    rights = {
        line.split(":")[0]: line.split()[1] for line in status.splitlines() if "Cap" in line[:3]
    }
    assert set(rights.values()) == {"0" * 16}
    assert "NoNewPrivs:\t1" in status


def test_the_process_that_fetches_for_it_runs_behind_the_same_wall(one, published):
    large = "behavior_sessions/large.nwb"
    published.release("1.1.0", {large: 24_000_000})
    one.sh(f"systemctl reload {UNIT}")
    assert one.count(f"/mnt/one/v1.1.0/{large}") == 24_000_000
    status = one.sh(f"cat /proc/$(pgrep -P {one.pid(UNIT)})/status")
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert "WARNING" not in one.journal()
    one.sh(f"systemctl stop {UNIT}")
    assert one.run("pgrep", "-f", "vbofs.transfer").status == 1


def test_the_mounts_read_ahead_is_raised_though_the_daemon_may_not(one):
    device = one.sh("mountpoint -d /mnt/one")
    assert one.sh(f"cat /sys/class/bdi/{device}/read_ahead_kb") == "1024"


def test_the_wall_is_as_high_as_the_docs_say(one):
    said = one.sh(f"systemd-analyze security {UNIT}").splitlines()[-1]
    assert float(re.search(r": (\d+\.\d)", said)[1]) <= 1.5, said


def test_root_sees_it_in_status(one):
    assert "/mnt/one  visual-behavior-ophys  mounted" in one.sh("vbofs status")


def test_reload_looks_for_new_releases_and_disturbs_no_reader(one, published):
    pid = one.pid(UNIT)
    published.release("1.1.0", {FILE: SIZE})
    one.sh(f"exec 3<{PATH}; systemctl reload {UNIT}; cat <&3 >/dev/null; test -d /mnt/one/v1.1.0")
    assert one.pid(UNIT) == pid


@pytest.mark.everyday
def test_a_killed_daemon_is_back_with_its_mount(one):
    pid = one.pid(UNIT)
    one.sh(f"kill -9 {pid}")
    began = time.monotonic()
    eventually(lambda: is_back(one, pid), 30)
    print(f"restart after kill -9: {time.monotonic() - began:.1f} s")
    assert one.count(PATH) == SIZE
    assert one.sh("grep -c fuse.vbofs /proc/self/mountinfo") == "1"


def test_a_reader_that_was_open_gets_an_error_and_reads_on_when_it_opens_again(one):
    one.beside(
        "reader",
        f"""exec 3<{PATH}; head -c 1 <&3 >/tmp/first
        until [ -e /tmp/go ]; do sleep 0.05; done
        cat <&3 >/dev/null 2>/tmp/why; cat {PATH} | wc -c >/tmp/again""",
    )
    eventually(lambda: one.run("test", "-s", "/tmp/first").status == 0)
    pid = one.pid(UNIT)
    one.sh(f"kill -9 {pid}")
    eventually(lambda: is_back(one, pid), 30)
    one.sh("touch /tmp/go")
    eventually(lambda: one.run("test", "-s", "/tmp/again").status == 0)
    assert "Transport endpoint is not connected" in one.sh("cat /tmp/why")
    assert int(one.sh("cat /tmp/again")) == SIZE


def test_a_daemon_that_hangs_is_ended_by_the_watchdog_and_comes_back(one):
    one.override(UNIT, "[Service]", "WatchdogSec=3")
    one.sh(f"systemctl restart {UNIT}")
    pid = one.pid(UNIT)
    one.sh(f"kill -STOP {pid}")
    began = time.monotonic()
    eventually(lambda: is_back(one, pid), 40)
    print(f"watchdog of 3 s: back after {time.monotonic() - began:.1f} s")
    assert "Watchdog timeout" in one.journal()
    assert "Fatal Python error: Aborted" in one.journal(), "the stacks of the hung daemon"
    assert one.count(PATH) == SIZE


def test_a_bucket_that_hangs_does_not_trip_the_watchdog(one, s3):
    one.override(UNIT, "[Service]", "WatchdogSec=3")
    one.sh(f"systemctl restart {UNIT}")
    pid = one.pid(UNIT)
    s3.delay = 3600
    one.beside("reader", f"cat {PATH}")
    seen = set()

    def has_been_seen_again_and_again():
        seen.add(one.show(UNIT, "WatchdogTimestampMonotonic"))
        return len(seen) > 5

    eventually(has_been_seen_again_and_again, 20)
    assert one.show("reader", "ActiveState") == "active"
    assert one.pid(UNIT) == pid


def test_a_stop_gives_the_last_readers_a_while_and_no_more(one):
    one.beside("reader", f"exec 3<{PATH}; head -c 1 <&3 >/tmp/first; sleep 1000")
    eventually(lambda: one.run("test", "-s", "/tmp/first").status == 0)
    began = time.monotonic()
    one.sh(f"systemctl stop {UNIT}")
    assert 3 < time.monotonic() - began < 12
    assert one.show(UNIT, "Result") == "success"
    assert not one.is_mounted("/mnt/one")


def test_two_instances_share_a_cache_and_nothing_else(one, s3):
    one.count(PATH)
    one.settings("two")
    before = len(s3.requests)
    one.sh("systemctl start vbofs@two")
    assert one.count(f"/mnt/two/v1.0.0/{FILE}") == SIZE
    assert [r for r in s3.requests[before:] if r.operation == "GET" and r.key.endswith("nwb")] == []
    one.sh(f"systemctl stop {UNIT}")
    assert one.count(f"/mnt/two/v1.0.0/{FILE}") == SIZE


def test_an_upgrade_in_place_restarts_with_a_warm_cache(one, s3):
    one.count(PATH)
    before = len(s3.requests)
    one.install()
    one.sh(f"systemctl restart {UNIT}")
    assert one.count(PATH) == SIZE
    assert [r for r in s3.requests[before:] if r.operation == "GET"] == []


def test_wrong_settings_are_said_in_one_line_and_given_up(machine):
    machine.settings("one", cache_sizes="1G")
    machine.override(UNIT, "[Unit]", "StartLimitBurst=3")
    machine.run("systemctl", "start", UNIT)
    eventually(lambda: machine.show(UNIT, "ActiveState") == "failed", 60)
    assert "unknown key 'cache_sizes'; did you mean 'cache_size'?" in machine.journal()
    assert "Traceback" not in machine.journal()


def test_a_living_mount_of_somebody_else_is_left_alone(machine):
    machine.settings("one")
    machine.sh(f"mkdir /mnt/one; VBOFS_ENDPOINT_URL={machine.url} vbofs mount /mnt/one")
    assert machine.run("systemctl", "start", UNIT).status != 0
    assert machine.count(PATH) == SIZE
    assert "is mounted already" in machine.journal()
