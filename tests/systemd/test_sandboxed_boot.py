"""Booting with the network away: what was kept is there at once, what was not comes with it."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pytest

from tests.mount.published import Published
from tests.mount.waiting import eventually
from tests.s3 import ProgrammableS3
from tests.systemd.conftest import FILE, SIZE, VBOFS, Machine

# A name that only /etc/hosts could know, and does not yet.
PORT = 8333
URL = f"http://bucket.test:{PORT}"
FIRST = f"""
chroot . {VBOFS} install >/dev/null
mkdir -p etc/vbofs etc/systemd/system/multi-user.target.wants
for name in warm cold; do
    ln -s /usr/local/lib/systemd/system/vbofs@.service \
        etc/systemd/system/multi-user.target.wants/vbofs@$name.service
    printf 'mountpoint = "/mnt/%s"\\nendpoint_url = "{URL}"\\n' $name >etc/vbofs/$name.toml
done
echo 'cache_dir = "/var/cache/vbofs/cold"' >>etc/vbofs/cold.toml
"""
KEPT = "cp -r .old/%s/. var/cache/vbofs; chroot . chown -R vbofs: /var/cache/vbofs\n"


@pytest.fixture
def bucket():
    """A server that is not started: the test does, in the machine's network."""
    made = ProgrammableS3(port=PORT)
    published = Published(made)
    published.release("1.0.0", {FILE: SIZE})
    yield published
    made.__exit__(None, None, None)


@pytest.fixture
def machines():
    """Machines with a network of their own, that knows nobody."""
    with tempfile.TemporaryDirectory(prefix="vbofs-boot-") as name:
        made = [Machine(Path(name, kind), own_network=True) for kind in ("first", "second")]
        yield made
        for machine in made:
            machine.stop()


def arrive(machine, bucket):
    """The network comes."""
    machine.in_network(bucket.s3.__enter__)
    machine.sh("echo 127.0.0.1 bucket.test >>/etc/hosts")


def test_boot_with_the_network_away(machines, bucket, tmp_path):
    first, second = machines
    began = time.monotonic()
    first.boot(FIRST)
    assert time.monotonic() - began < 40
    # Nothing is kept, so nothing can be shown; it is tried again until the network is there.
    assert not first.is_mounted("/mnt/cold")
    arrive(first, bucket)
    eventually(lambda: first.show("vbofs@cold", "ActiveState") == "active", 30)
    assert first.count(f"/mnt/cold/latest/{FILE}") == SIZE
    first.sh("systemctl stop vbofs@cold")

    kept = tmp_path / "kept"
    first.copy_out("/var/cache/vbofs/cold", kept)
    first.stop()
    bucket.s3.__exit__(None, None, None)

    second.boot(FIRST + KEPT % kept)
    assert second.show("vbofs@warm", "ActiveState") == "active"
    assert second.count(f"/mnt/warm/latest/{FILE}") == SIZE
    assert "showing the releases known since" in second.journal()
    assert not second.is_mounted("/mnt/cold")
