"""A daemon that is handed a mount: root mounts, somebody without any right answers."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.mount.machine import VBOFS, is_mounted
from tests.mount.servicemanager import FILE, SIZE, service
from tests.mount.waiting import eventually
from vbofs import errors

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root hands a mount over")


@pytest.fixture
def config(at_s3):
    path = at_s3.root / "one.toml"
    path.write_text(f'mountpoint = "{at_s3.root}/one"\n')
    return path


def root_does(machine, manager, verb, config, *words):
    words = "service", verb, "--config", str(config), *words
    return machine.run(*words, NOTIFY_SOCKET=manager.address)


@pytest.fixture
def attached(at_s3, manager, config):
    """The mountpoint, mounted, with nobody there yet to answer."""
    outcome = root_does(at_s3, manager, "attach", config, "--user", "nobody")
    assert outcome == (0, "", ""), outcome
    assert manager.hear()[-2:] == ["FDSTORE=1", "FDNAME=fuse"]
    yield at_s3.root / "one"
    root_does(at_s3, manager, "detach", config)


def handed(machine, manager, config):
    """The daemon, with the descriptor that the manager keeps; the manager lets go of it."""
    words = "--config", str(config), "--fuse-fd", str(manager.channel)
    started = service(machine, manager, *words, pass_fds=(manager.channel,))
    return started


def let_go(manager):
    os.close(manager.channel)
    manager.channel = -1


def test_everybody_reads_what_is_handed_over_and_root_unmounts(at_s3, manager, config, attached):
    with handed(at_s3, manager, config):
        let_go(manager)
        assert "FDSTOREREMOVE=1" in manager.hear()
        whole = at_s3.execute(
            "setpriv", "--reuid=65533", "wc", "-c", str(attached / "latest" / FILE)
        )
        assert whole.out.startswith(f"{SIZE} ")
        assert root_does(at_s3, manager, "refresh", config) == (0, "", "")
        assert root_does(at_s3, manager, "detach", config) == (0, "", "")
        assert not is_mounted(attached)
    assert "WARNING" not in at_s3.log()


def test_a_signal_alone_ends_the_daemon_and_the_dead_mount_is_cleared(
    at_s3, manager, config, attached
):
    with handed(at_s3, manager, config):
        let_go(manager)
    assert is_mounted(attached)
    assert root_does(at_s3, manager, "detach", config, "--dead") == (0, "", "")
    assert not is_mounted(attached)


def test_a_mount_that_answers_is_not_taken_for_a_dead_one(at_s3, manager, config, attached):
    with handed(at_s3, manager, config):
        let_go(manager)
        assert root_does(at_s3, manager, "detach", config, "--dead") == (0, "", "")
        assert (attached / "latest").exists()
        root_does(at_s3, manager, "detach", config)


def test_a_killed_daemon_leaves_nothing_that_hinders_the_next(at_s3, manager, config, attached):
    with handed(at_s3, manager, config) as pid:
        let_go(manager)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not Path(f"/proc/{pid}/fd/0").exists())
    outcome = root_does(at_s3, manager, "attach", config, "--user", "nobody")
    assert outcome == (0, "", "")
    manager.lines.clear()
    manager.hear()
    with handed(at_s3, manager, config):
        let_go(manager)
        assert (attached / "latest").exists()


@pytest.mark.parametrize(
    ("channel", "words"), [("77", "no open descriptor"), ("0", "not /dev/fuse")]
)
def test_what_is_no_channel_is_refused(at_s3, manager, channel, words):
    outcome = at_s3.run("mount", "--fuse-fd", channel)
    assert outcome.status == errors.ChannelInvalid.exit_status
    assert words in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_user_that_is_not_there_is_refused_before_anything_is_mounted(at_s3, manager, config):
    outcome = root_does(at_s3, manager, "attach", config, "--user", "vbofs-nobody-has-this")
    assert outcome.status == errors.UserUnknown.exit_status
    assert "systemd-sysusers" in outcome.err
    assert at_s3.mounts() == []


def test_settings_without_a_mountpoint_are_refused(at_s3, manager, config):
    config.write_text('cache_size = "1G"\n')
    outcome = root_does(at_s3, manager, "attach", config, "--user", "nobody")
    assert outcome.status == errors.SettingsInvalid.exit_status
    assert 'write mountpoint = "/mnt/vbo"' in outcome.err


def test_an_ordinary_user_who_calls_mount_vbofs_is_told_what_to_do(at_s3):
    command = [VBOFS[0], "-c", "from vbofs.cli.fstab import main; main()"]
    words = ["visual-behavior-ophys", str(at_s3.root)]
    outcome = at_s3.execute("setpriv", "--reuid=65533", *command, *words)
    if "Permission denied" in outcome.err or "No module" in outcome.err:
        pytest.skip("this checkout is closed to other users")
    assert outcome == (1, "", "mount.vbofs: only root can do that; others have: vbofs mount\n")
