"""mount(8), umount(8), /etc/fstab and systemd's automount, with mount.vbofs."""

from __future__ import annotations

import pytest

from tests.mount.waiting import eventually
from tests.systemd.conftest import FILE, SIZE

PLACE = "/mnt/fstab"
PATH = f"{PLACE}/latest/{FILE}"
DATASET = "visual-behavior-ophys"


@pytest.fixture
def vbo(machine):
    """The machine, with the mountpoint made, as mount(8) wants it."""
    machine.sh(f"mkdir -p {PLACE}")
    return machine


def options(machine, *more):
    return ",".join([f"endpoint_url={machine.url}", *more])


def test_mount_and_umount_work_as_for_any_file_system(vbo):
    words = options(vbo, "allow_other", "cache_dir=/var/cache/vbofs/own", "noexec")
    vbo.sh(f"mount -t vbofs {DATASET} {PLACE} -o {words}")
    assert vbo.sh(f"setpriv --reuid=65534 --clear-groups cat {PATH} | wc -c") == str(SIZE)
    line = vbo.sh(f"findmnt -n -o FSTYPE,SOURCE,OPTIONS {PLACE}").split()
    assert line[:2] == ["fuse.vbofs", DATASET]
    assert {"ro", "nosuid", "nodev", "noexec", "allow_other"} <= set(line[2].split(","))
    assert vbo.sh("ps -o user= -C vbofs || ps -o user= -p $(pgrep -f [f]use-fd)") == "vbofs"
    assert vbo.sh("ls -d /var/cache/vbofs/own/blobs")
    device = vbo.sh(f"mountpoint -d {PLACE}")
    assert vbo.sh(f"cat /sys/class/bdi/{device}/read_ahead_kb") == "1024"
    assert f"{PLACE}  {DATASET}  mounted" in vbo.sh("vbofs status")
    vbo.sh(f"umount {PLACE}")
    assert not vbo.is_mounted(PLACE)
    eventually(lambda: vbo.run("pgrep", "-f", "[f]use-fd").status == 1, what="the daemon's end")
    log = vbo.sh("cat /var/log/vbofs/*.log")
    assert "WARNING" not in log


def test_a_mount_that_fails_says_why_once_with_mounts_own_status(vbo):
    outcome = vbo.run(
        "mount", "-t", "vbofs", DATASET, PLACE, "-o", "endpoint_url=http://127.0.0.1:9,timeout=1"
    )
    assert outcome.status == 32
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith("mount.vbofs: nothing answers at http://127.0.0.1:9")
    assert not vbo.is_mounted(PLACE)
    assert vbo.run("pgrep", "-f", "[f]use-fd").status == 1


def test_mount_all_mounts_what_fstab_says_and_the_second_time_nothing(vbo):
    line = f"{DATASET} {PLACE} vbofs {options(vbo)},_netdev,nofail 0 0\n"
    vbo.write("/etc/fstab", line)
    vbo.sh("mount -a")
    assert vbo.count(PATH) == SIZE
    vbo.sh("mount -a")
    assert vbo.sh("grep -c fuse.vbofs /proc/self/mountinfo") == "1"
    vbo.sh(f"umount {PLACE}")


def test_an_automount_mounts_at_the_first_look_and_stops_cleanly(vbo):
    line = f"{DATASET} {PLACE} vbofs {options(vbo)},_netdev,nofail,x-systemd.automount 0 0\n"
    vbo.write("/etc/fstab", line)
    vbo.sh("systemctl daemon-reload; systemctl start mnt-fstab.automount")
    assert vbo.sh("pgrep -f [f]use-fd || true") == ""
    assert vbo.count(PATH) == SIZE
    assert vbo.show("mnt-fstab.mount", "ActiveState") == "active"
    vbo.sh("systemctl stop mnt-fstab.mount")
    assert vbo.count(PATH) == SIZE, "the next look mounts again"
    vbo.sh("systemctl stop mnt-fstab.automount")
    assert not vbo.is_mounted(PLACE)


def test_an_automount_whose_bucket_is_away_fails_the_look_and_tries_again(vbo):
    words = "endpoint_url=http://127.0.0.1:9,timeout=1"
    line = f"{DATASET} {PLACE} vbofs {words},_netdev,nofail,x-systemd.automount 0 0\n"
    vbo.write("/etc/fstab", line)
    vbo.sh("systemctl daemon-reload; systemctl start mnt-fstab.automount")
    assert vbo.run("ls", PATH).status != 0
    vbo.write("/etc/fstab", line.replace("http://127.0.0.1:9", vbo.url))
    vbo.sh("systemctl daemon-reload; systemctl reset-failed mnt-fstab.mount")
    assert vbo.count(PATH) == SIZE
