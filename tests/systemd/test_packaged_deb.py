"""The Debian package: built, installed, used, removed and purged, on a copy of this machine."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.mount.waiting import eventually
from tests.systemd.conftest import FILE, SIZE, Machine
from tests.systemd.sandbox import ROOT

#: Where a package may leave something.
LOOKED_AT = "/etc /opt /usr /var/cache /var/lib/systemd /var/log /run"
#: What installing any package changes.
NOISE = (
    "dpkg|/var/log/journal|/run/|/var/cache/(man|ldconfig|debconf|apt)"
    "|/etc/(passwd|group|g?shadow|sub.id)-?$"
)


@pytest.fixture(scope="module")
def package():
    with tempfile.TemporaryDirectory(prefix="vbofs-deb-") as folder:
        command = ["sh", ROOT / "systemd/deb/build", folder]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=900)
        yield Path(done.stdout.splitlines()[-1])


@pytest.fixture
def debian(package, s3, published):
    """A machine with the package in /root, and nothing of vbofs."""
    with tempfile.TemporaryDirectory(prefix="vbofs-systemd-") as folder:
        made = Machine(Path(folder))
        made.url = s3.url
        try:
            made.boot(f"cp .old{package} root/vbofs.deb")
            yield made
        finally:
            made.stop()


def everything(machine: Machine) -> set[str]:
    found = machine.sh(f"find {LOOKED_AT} -xdev | grep -vE '{NOISE}'")
    return set(found.splitlines())


@pytest.mark.timeout(900)
def test_the_package_is_installed_used_upgraded_removed_and_purged(debian):
    before = everything(debian)
    debian.sh("dpkg -i /root/vbofs.deb")
    assert debian.sh("vbofs --version").startswith("vbofs, version ")
    assert debian.sh("man -w vbofs") == "/usr/share/man/man1/vbofs.1.gz"
    debian.settings("one")
    debian.sh("systemctl enable --now vbofs@one")
    assert debian.count(f"/mnt/one/latest/{FILE}") == SIZE

    words = f"-t vbofs visual-behavior-ophys /mnt/two -o endpoint_url={debian.url}"
    debian.sh(f"mkdir /mnt/two; mount {words}")
    assert debian.count(f"/mnt/two/latest/{FILE}") == SIZE
    debian.sh("umount /mnt/two")

    pid = debian.pid("vbofs@one")
    debian.sh("dpkg -i /root/vbofs.deb")
    eventually(lambda: debian.show("vbofs@one", "ActiveState") == "active")
    assert debian.pid("vbofs@one") != pid, "an upgrade restarts what runs"
    assert debian.count(f"/mnt/one/latest/{FILE}") == SIZE

    said = debian.sh("dpkg -r vbofs")
    assert "its cache is kept in /var/cache/vbofs" in said
    assert not debian.is_mounted("/mnt/one")
    left = everything(debian) - before
    kept = {path for path in left if path.startswith(("/var/cache/vbofs", "/etc/vbofs"))}
    logs = {path for path in left if path.startswith("/var/log/vbofs")}
    assert left == kept | logs
    assert "/etc/vbofs/one.toml" in left, "settings are the administrator's"

    debian.sh("dpkg -P vbofs")
    assert everything(debian) - before == set()
