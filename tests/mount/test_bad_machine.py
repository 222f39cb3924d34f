"""Bad mountpoints, machines without FUSE, ordinary users: one line and an exit status each."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from tests.mount.machine import is_mounted
from tests.mount.namespaces import NO_DEVICE, run_apart, run_as_nobody
from tests.mount.refusal import assert_refused
from tests.mount.waiting import eventually
from vbofs import errors

FILE = "behavior_sessions/one.nwb"

# A file system of somebody else's, which serves until it is killed.
OTHER = """
import sys, pyfuse3, trio
pyfuse3.init(pyfuse3.Operations(), sys.argv[1], {"fsname=other", "subtype=other"})
trio.run(pyfuse3.main)
"""


@pytest.fixture
def vbo(at_s3, published):
    """A dataset is there to be mounted: what is refused is refused for another reason."""
    published.release("1.0.0", {FILE: 200_000})
    return at_s3.home / "vbo"


# --- the mountpoint


def test_a_mountpoint_without_a_parent_is_refused(at_s3, vbo):
    outcome = at_s3.run("mount", str(vbo / "deeper"))
    assert_refused(at_s3, outcome, errors.MountpointMissing, f"{vbo}/deeper", "create it")


def test_a_file_as_mountpoint_is_refused(at_s3, vbo):
    vbo.write_text("mine")
    outcome = at_s3.run("mount")
    assert_refused(at_s3, outcome, errors.MountpointNotADirectory, str(vbo), made=True)
    assert vbo.read_text() == "mine"


def test_a_mountpoint_under_a_file_is_refused(at_s3, vbo):
    (at_s3.home / "file").write_text("mine")
    outcome = at_s3.run("mount", str(at_s3.home / "file/vbo"))
    assert_refused(at_s3, outcome, errors.MountpointNotADirectory, "file/vbo")


def test_a_directory_with_something_in_it_is_refused_and_says_what(at_s3, vbo):
    vbo.mkdir()
    (vbo / "thesis.tex").write_text("mine")
    outcome = at_s3.run("mount")
    assert_refused(at_s3, outcome, errors.MountpointNotEmpty, "'thesis.tex'", made=True)
    assert os.listdir(vbo) == ["thesis.tex"]


def test_a_mountpoint_whose_name_is_too_long_is_refused(at_s3, vbo):
    outcome = at_s3.run("mount", str(at_s3.home / ("x" * 300)))
    assert_refused(at_s3, outcome, errors.MountpointStale, "File name too long")


def test_a_second_mount_on_one_place_is_refused_and_the_first_goes_on(at_s3, vbo):
    mounted = at_s3.mount()
    outcome = at_s3.run("mount")
    assert (outcome.status, outcome.out) == (errors.AlreadyMounted.exit_status, "")
    assert outcome.err == (
        f"vbofs: {vbo} is mounted already: visual-behavior-ophys (fuse.vbofs);"
        f" unmount it with: vbofs umount {vbo}\n"
    )
    at_s3.expect(r" ERROR .* is mounted already")
    assert len((mounted / f"v1.0.0/{FILE}").read_bytes()) == 200_000


def test_a_mount_of_another_file_system_is_refused_alive_and_dead(at_s3, vbo):
    vbo.mkdir()
    other = at_s3.start(sys.executable, "-c", OTHER, str(vbo))
    try:
        eventually(lambda: is_mounted(vbo))
        at_s3.expect(r" ERROR .*(mounted already|dead mount)")
        living = at_s3.run("mount")
        other.kill()
        other.wait()
        dead = at_s3.run("mount")
        umount = at_s3.run("umount")
    finally:
        other.send_signal(signal.SIGKILL)
        at_s3.execute("fusermount3", "-u", "-z", str(vbo))
    assert_refused(at_s3, living, errors.AlreadyMounted, "other (fuse.other)", made=True)
    assert_refused(at_s3, dead, errors.MountpointStale, f"fusermount3 -u -z {vbo}", made=True)
    assert_refused(at_s3, umount, errors.NotMounted, str(vbo), made=True)


def test_a_dead_vbofs_is_cleared_away_by_mounting_again(at_s3, vbo):
    at_s3.mount().kill()
    with pytest.raises(OSError, match=r"connection abort|not connected"):
        os.listdir(vbo)
    mounted = at_s3.mount()
    assert len((mounted / f"v1.0.0/{FILE}").read_bytes()) == 200_000
    assert at_s3.mounts() == [vbo]


# --- FUSE on this machine


def test_without_the_device_it_says_how_to_get_it(at_s3, vbo):
    outcome = run_apart(at_s3, NO_DEVICE + "vbofs mount")
    assert_refused(at_s3, outcome, errors.FuseUnavailable, "/dev/fuse is missing", "modprobe fuse")


def test_a_device_that_is_closed_to_the_user_is_refused(at_s3, vbo):
    closed = 'mknod -m 600 "$ROOT/closed" c 10 229; mount --bind "$ROOT/closed" /dev/fuse'
    outcome = run_as_nobody(at_s3, "vbofs mount", first=closed, device=False)
    assert_refused(at_s3, outcome, errors.FuseUnavailable, "/dev/fuse", "Permission denied")


def test_an_ordinary_user_without_fusermount3_is_told_what_to_install(at_s3, vbo):
    outcome = run_as_nobody(at_s3, "PATH=/nowhere; vbofs mount")
    assert_refused(at_s3, outcome, errors.FusermountMissing, "apt install fuse3")


def test_allow_other_is_refused_to_an_ordinary_user_unless_fuse_conf_permits_it(at_s3, vbo):
    conf = 'echo "#user_allow_other" > "$ROOT/conf"; mount --bind "$ROOT/conf" /etc/fuse.conf'
    outcome = run_as_nobody(at_s3, "vbofs mount --allow-other", first=conf)
    words = "user_allow_other", "/etc/fuse.conf"
    assert_refused(at_s3, outcome, errors.AllowOtherDenied, *words)


def test_what_fusermount3_says_is_passed_on_in_one_line(at_s3, vbo):
    conf = 'echo "mount_max = 0" > "$ROOT/conf"; mount --bind "$ROOT/conf" /etc/fuse.conf'
    outcome = run_as_nobody(at_s3, "vbofs mount", first=conf)
    assert_refused(at_s3, outcome, errors.MountFailed, "fusermount3", "too many FUSE filesystems")


# --- ordinary users


def test_an_ordinary_user_mounts_reads_and_unmounts(at_s3, published, vbo):
    (at_s3.root / "truth").write_bytes(published.truth("1.0.0", FILE))
    script = f"""
    vbofs mount
    cmp ~/vbo/v1.0.0/{FILE} "$ROOT/truth"
    stat -c '%u %g %a %n' ~/vbo/latest/{FILE}
    touch ~/vbo/new 2>&1 || true
    vbofs status
    vbofs umount
    ls -A ~/vbo
    """
    outcome = run_as_nobody(at_s3, script)
    assert (outcome.status, outcome.err) == (0, ""), outcome
    assert f"65534 65534 444 {vbo}/latest/{FILE}" in outcome.out
    assert "Read-only file system" in outcome.out
    assert "0 requests failed" in outcome.out.splitlines()[-1]


def test_an_ordinary_user_may_allow_others_where_fuse_conf_permits_it(at_s3, vbo):
    conf = 'echo user_allow_other > "$ROOT/conf"; mount --bind "$ROOT/conf" /etc/fuse.conf\n'
    script = "vbofs mount --allow-other; grep -o allow_other /proc/mounts; vbofs umount"
    outcome = run_as_nobody(at_s3, script, first=conf)
    assert (outcome.status, outcome.err) == (0, ""), outcome
    assert outcome.out.endswith("\nallow_other\n")


def test_with_allow_other_anybody_may_read(at_s3, vbo):
    script = f"""
    vbofs mount --allow-other > /dev/null
    setpriv --reuid=65533 --clear-groups wc -c ~/vbo/v1.0.0/{FILE}
    vbofs umount
    """
    outcome = run_apart(at_s3, script)
    assert (outcome.status, outcome.err) == (0, ""), outcome
    assert outcome.out.startswith("200000 ")


def test_without_allow_other_nobody_else_may_look(at_s3, vbo):
    both = """
    vbofs mount > /dev/null
    setpriv --reuid=65533 --clear-groups ls ~/vbo 2>&1 || true
    vbofs umount
    """
    outcome = run_apart(at_s3, both)
    assert (outcome.status, outcome.err) == (0, ""), outcome
    assert "Permission denied" in outcome.out


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("theirs", ["theirs cannot be written"]),
        ("theirs/vbo", ["theirs is not yours to write"]),
    ],
)
def test_a_mountpoint_that_is_not_the_users_to_write_is_refused(at_s3, vbo, place, words):
    outcome = run_as_nobody(at_s3, f'vbofs mount "$ROOT/{place}"', first='mkdir "$ROOT/theirs"\n')
    assert_refused(at_s3, outcome, errors.MountpointDenied, *words)
