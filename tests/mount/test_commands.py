"""mount, umount, status, releases: what they say, where settings come from, how mounts end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time

import pytest

from tests.mount.machine import VBOFS, is_mounted
from tests.mount.reading import opened
from tests.mount.waiting import eventually
from vbofs import errors

FILE = "behavior_sessions/one.nwb"
SIZE = 3 << 20
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


@pytest.fixture
def here(at_s3, published):
    """Three releases to be mounted."""
    for release in ("0.9.0", "1.0.0", "1.0.0-rc.1"):
        published.release(release, {FILE: SIZE})
    return at_s3


def gone(machine):
    """Nothing is mounted and nothing runs any more, soon."""
    return eventually(lambda: not machine.mounts() and not machine.processes())


# --- mount


def test_mount_makes_the_default_mountpoint_and_says_what_is_where(here):
    outcome = here.run("mount")
    vbo = here.home / "vbo"
    assert outcome == (
        0,
        f"visual-behavior-ophys is mounted on {vbo}: v0.9.0, v1.0.0-rc.1, v1.0.0;"
        " latest is v1.0.0\n",
        "",
    )
    assert os.listdir(vbo / "latest") == ["behavior_sessions"]
    assert here.run("umount") == (0, "", "")
    assert list(vbo.iterdir()) == []
    assert here.processes() == []


@pytest.mark.parametrize("name", ["my data ü", "a/b", "-v"])
def test_any_directory_can_be_the_mountpoint(here, name):
    place = here.root / "home" / name
    place.parent.mkdir(exist_ok=True)
    assert here.run("mount", "--", str(place)).status == 0
    assert (place / f"v1.0.0/{FILE}").stat().st_size == SIZE
    assert here.run("status", "--", str(place)).status == 0
    assert here.run("umount", "--", str(place)) == (0, "", "")


def test_relative_names_and_symbolic_links_name_the_same_mount(here):
    (here.root / "link").symlink_to("home")
    here.mount(at=here.home / "vbo")
    assert here.run("status", "link/vbo").status == 0
    assert here.run("umount", "home/../link/vbo") == (0, "", "")


def test_options_win_over_variables_and_variables_over_the_file(here):
    config = here.home / ".config/vbofs/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('cache-dir = "~/from-file"\nrelease = ["v1.0.0"]\n')
    variables = {"VBOFS_CACHE_DIR": "~/from-variable"}
    for words, more, expected in (
        ([], {}, "from-file"),
        ([], variables, "from-variable"),
        (["--cache-dir", "~/from-option"], variables, "from-option"),
    ):
        mounted = here.mount(*words, **more)
        status = mounted.status()
        assert status["cache"]["dir"] == str(here.home / expected)
        assert status["releases"] == ["1.0.0"]
        mounted.umount()


def test_only_the_releases_asked_for_are_shown(here):
    mounted = here.mount("--release", "v0.9.0,1.0.0-rc.1")
    releases = {name for name in os.listdir(mounted.path) if name.startswith("v")}
    assert releases == {"v0.9.0", "v1.0.0-rc.1"}
    assert os.readlink(mounted / "latest") == "v1.0.0-rc.1"
    mounted.umount()
    mounted = here.mount("--release", "latest")
    assert mounted.status()["releases"] == ["1.0.0"]


def test_the_daemon_holds_neither_pipe_nor_directory_of_its_parent(here):
    command = f"{' '.join(VBOFS)} mount 2>&1 | cat"
    outcome = here.execute("sh", "-c", command)
    assert (outcome.status, "is mounted on" in outcome.out) == (0, True)
    (pid,) = here.processes()
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.getsid(pid) == pid
    streams = {os.readlink(f"/proc/{pid}/fd/{n}") for n in (0, 1, 2)}
    assert streams == {"/dev/null", *map(str, here.home.glob(".local/state/vbofs/log/*.log"))}


def test_a_log_file_of_ones_own(here):
    here.mount("--log-file", str(here.root / "my.log"), "-vv")
    assert "is mounted on" in (here.root / "my.log").read_text()


# --- in the foreground


def test_in_the_foreground_it_logs_to_stderr_and_tells_systemd(here):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(here.root / "notify"))
        manager.settimeout(20)
        env = {"NOTIFY_SOCKET": str(here.root / "notify")}
        daemon = here.start(*VBOFS, "mount", "--foreground", env=env, **PIPES)
        assert manager.recv(4096).startswith(b"READY=1\nSTATUS=visual-behavior-ophys is mounted")
        assert (here.home / f"vbo/v1.0.0/{FILE}").stat().st_size == SIZE
        daemon.send_signal(signal.SIGTERM)
        out, said = daemon.communicate(timeout=20)
        assert manager.recv(4096) == b"STOPPING=1"
    assert (daemon.returncode, out) == (0, b"")
    assert b"INFO vbofs.daemon.kernel: SIGTERM: unmounting" in said
    assert not is_mounted(here.home / "vbo")


def test_in_the_foreground_a_refusal_is_one_line_and_its_status(here):
    outcome = here.run("mount", "--foreground", "--release", "v7.0.0")
    assert outcome.status == errors.UnknownRelease.exit_status
    assert outcome.err.startswith("vbofs: no release 7.0.0 in visual-behavior-ophys; there are")
    assert not (here.home / "vbo").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_unmounts(here, number):
    mounted = here.mount()
    os.kill(mounted.pid, number)
    gone(here)
    assert f"{number.name}: unmounting {mounted.path}" in here.log()


# --- the end of a mount


@pytest.mark.parametrize("end", ["umount", "SIGTERM"])
def test_a_busy_mount_loses_its_name_at_once_and_its_daemon_with_the_last_reader(
    here, published, end
):
    truth = published.truth("1.0.0", FILE)
    mounted = here.mount()
    with opened(mounted / f"v1.0.0/{FILE}") as fd:
        assert os.pread(fd, 1000, 0) == truth[:1000]
        if end == "umount":
            outcome = here.run("umount")
            assert (outcome.status, outcome.err) == (0, "")
            assert "busy" in outcome.out
        else:
            os.kill(mounted.pid, signal.SIGTERM)
        eventually(lambda: not is_mounted(mounted.path))
        assert os.pread(fd, SIZE, 2 << 20) == truth[2 << 20 :]  # Nothing of it was here.
        assert here.processes() == [mounted.pid]
        again = here.mount()
        assert again.pid != mounted.pid
        assert os.pread(fd, 1000, 1 << 20) == truth[1 << 20 :][:1000]
    eventually(lambda: mounted.pid not in here.processes())
    assert again.status()["pid"] == again.pid


def test_umount_clears_a_dead_mount(here):
    mounted = here.mount()
    mounted.kill()
    status = json.loads(here.run("status", str(mounted.path), "--json").out)
    assert (status["state"], status["mountpoint"]) == ("dead", str(mounted.path))
    assert f"mend it with: vbofs umount {mounted.path}" in here.run("status").out
    assert here.run("umount") == (0, "", "")
    assert os.listdir(mounted.path) == []


def test_umount_of_what_is_not_mounted_is_refused(here):
    for words in ([], [str(here.root)], ["/proc"]):
        outcome = here.run("umount", *words)
        assert (outcome.status, outcome.out) == (errors.NotMounted.exit_status, "")
        assert outcome.err.startswith("vbofs: no vbofs is mounted at ")


def test_unmount_is_another_spelling_of_umount(here):
    here.mount()
    assert here.run("unmount") == (0, "", "")


def test_a_hanging_mount_is_told_from_a_dead_one_and_can_be_taken_down(here):
    mounted = here.mount()
    here.be_impatient()
    os.kill(mounted.pid, signal.SIGSTOP)
    before = time.monotonic()
    asked = [
        here.start(*VBOFS, *words, **PIPES) for words in (["status", str(mounted.path)], ["mount"])
    ]
    (out, err), (_, refused) = [one.communicate(timeout=60) for one in asked]
    assert time.monotonic() - before < 12
    assert asked[0].returncode == 0, err
    assert b"hanging" in out
    assert asked[1].returncode == errors.DaemonSilent.exit_status
    assert refused.count(b"\n") == 1
    here.expect("ERROR .*its daemon does not answer")
    os.kill(mounted.pid, signal.SIGCONT)
    status = here.run("status", "--json", str(mounted.path), PYTHONPATH="")  # Patient again.
    assert json.loads(status.out)["state"] == "mounted"


# --- offline


def test_offline_serves_what_is_cached_and_refuses_the_rest_at_once(here, published):
    truth = published.truth("1.0.0", FILE)
    mounted = here.mount()
    with opened(mounted / f"v1.0.0/{FILE}") as fd:
        assert os.pread(fd, 1000, 0) == truth[:1000]
    mounted.requests()
    mounted.umount()
    published.release("0.1.0", {"behavior_sessions/two.nwb": 1000})
    here.mount().umount()
    published.s3.clear_log()
    published.s3.down()
    here.expect("WARNING .* read: .* is not cached, and vbofs runs with --offline")
    mounted = here.mount("--offline")
    before = time.monotonic()
    assert sorted(os.listdir(mounted / "v1.0.0/behavior_sessions")) == ["one.nwb"]
    assert (mounted / f"v1.0.0/{FILE}").stat().st_size == SIZE
    with opened(mounted / f"v1.0.0/{FILE}") as fd:
        assert os.pread(fd, 1000, 0) == truth[:1000]
        with pytest.raises(OSError, match="Network is unreachable"):
            os.pread(fd, 1000, SIZE // 2)
    with pytest.raises(OSError, match="Network is unreachable"):
        os.listdir(mounted / "v0.1.0")  # Nobody ever looked into it.
    assert time.monotonic() - before < 5
    assert published.s3.requests == []
    assert "offline" in here.run("status").out
    assert mounted.status()["offline"] is True
