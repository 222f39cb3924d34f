"""A booted machine with vbofs installed, and a dataset on a server that it reaches.

These tests need root and systemd's programs (not a running systemd): where those are missing they
are skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.mount.published import Published
from tests.systemd.sandbox import ROOT, Sandbox

HERE = Path(__file__).parent
VBOFS = Path(sys.prefix, "bin/vbofs")
FILE = "behavior_sessions/one.nwb"
SIZE = 3_000_000
#: What lies there on this machine is not there in the sandbox, or not for a service in it.
COVERED = ("/run", "/tmp", "/var/tmp")


def _why_not() -> str:
    """Why no systemd can be booted here; "" if one can."""
    if os.geteuid() != 0:
        return "only root can boot a systemd in namespaces"
    if not Path("/lib/systemd/systemd").exists() or shutil.which("dbus-daemon") is None:
        return "systemd, systemd-sysv and dbus are not installed"
    if not Path("/dev/fuse").exists():
        return "/dev/fuse is missing"
    for place in (ROOT, Path(sys.prefix), Path(sys.base_prefix)):
        if any(place.is_relative_to(covered) for covered in COVERED):
            return f"{place} is not seen by services, which have a /tmp of their own"
    tried = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount", "--cgroup", "--net", "true"], check=False
    )
    return "" if tried.returncode == 0 else "namespaces cannot be made here"


WHY_NOT = _why_not()


def _skipped(item: pytest.Item) -> str:
    """Why *item* is left out; "" if it is not."""
    if "deb" in item.path.name and not os.environ.get("RUN_DEB_TEST"):
        return "make test-deb runs it: building the package takes a minute"
    everyday = item.get_closest_marker("everyday") or "deb" in item.path.name
    if not (everyday or os.environ.get("RUN_SYSTEMD_TESTS")):
        return "make test-systemd runs it"
    return WHY_NOT


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents and (reason := _skipped(item)):
            item.add_marker(pytest.mark.skip(reason=reason))


class Machine(Sandbox):
    """A sandbox with vbofs installed, whose mounts ask *url*."""

    url = ""

    def install(self) -> None:
        self.sh(f"{VBOFS} install")

    def settings(self, name: str, **more: str) -> None:
        """Write /etc/vbofs/NAME.toml, for a mount at /mnt/NAME."""
        keys = {"mountpoint": f"/mnt/{name}", "endpoint_url": self.url, **more}
        text = "".join(f'{key} = "{value}"\n' for key, value in keys.items())
        self.write(f"/etc/vbofs/{name}.toml", text)

    def override(self, unit: str, *lines: str) -> None:
        """A drop-in of the unit, as an administrator writes it."""
        text = "\n".join([*lines, ""])
        self.write(f"/etc/systemd/system/{unit}.d/test.conf", text)
        self.sh("systemctl daemon-reload")

    def pid(self, unit: str) -> int:
        return int(self.show(unit, "MainPID"))

    def count(self, path: str) -> int:
        """The bytes that reading *path* gives; wc alone would ask for its size."""
        return int(self.sh(f"cat {path} | wc -c"))

    def is_mounted(self, path: str) -> bool:
        return self.run("mountpoint", "-q", path).status == 0

    def clear(self) -> None:
        """As it was after installing."""
        self.sh(
            """systemctl stop 'vbofs@*' 'reader*' 'mnt-*.automount' 'mnt-*.mount' || true
            systemctl reset-failed
            rm -rf /etc/vbofs/* /etc/systemd/system/*vbo* /var/cache/vbofs/* /mnt/* /tmp/*
            : >/etc/fstab; systemctl daemon-reload"""
        )
        self.turn_page()


@pytest.fixture(scope="session")
def booted():
    """One machine for all tests, for booting takes a second."""
    with tempfile.TemporaryDirectory(prefix="vbofs-systemd-") as name:
        made = Machine(Path(name))
        try:
            made.boot()
            made.install()
            yield made
        finally:
            made.stop()


@pytest.fixture
def published(s3):
    made = Published(s3)
    made.release("1.0.0", {FILE: SIZE})
    return made


@pytest.fixture
def machine(booted, s3, published):
    """The machine, whose mounts find the dataset."""
    booted.url = s3.url
    yield booted
    booted.clear()
