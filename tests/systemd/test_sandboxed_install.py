"""``make install`` from a checkout, as the docs say, and ``make uninstall``: what they leave."""

from __future__ import annotations

import os
import shlex
import tempfile
from pathlib import Path

import pytest

from tests.mount.waiting import eventually
from tests.systemd.conftest import FILE, SIZE, Machine
from tests.systemd.sandbox import ROOT
from tests.systemd.test_packaged_deb import LOOKED_AT, NOISE

CHECKOUT = "/srv/checkout"
COPIED = ".ci Makefile pyproject.toml README.md LICENSE vbofs systemd"


@pytest.fixture
def clean(s3, published):
    """A machine without vbofs, with a checkout."""
    with tempfile.TemporaryDirectory(prefix="vbofs-install-") as name:
        made = Machine(Path(name))
        made.url = s3.url
        try:
            made.boot()
            made.sh(f"mkdir {CHECKOUT}; cd {ROOT}; cp -r {COPIED} {CHECKOUT}")
            made.sh(f"find {CHECKOUT} -name __pycache__ -prune -exec rm -r {{}} +")
            yield made
        finally:
            made.stop()


def make(machine, target):
    """It takes longer than a command may, so it goes on beside."""
    pip = [f"{key}={shlex.quote(word)}" for key, word in os.environ.items() if key[:4] == "PIP_"]
    words = " ".join(["env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *pip, "make", target])
    machine.beside(
        f"make-{target}",
        f"cd {CHECKOUT}; {words} >/tmp/{target} 2>&1; echo $? >/tmp/{target}.status",
    )
    eventually(lambda: machine.run("test", "-s", f"/tmp/{target}.status").status == 0, 240)
    assert machine.sh(f"cat /tmp/{target}.status") == "0", machine.sh(f"cat /tmp/{target}")


def everything(machine):
    return set(machine.sh(f"find {LOOKED_AT} {CHECKOUT} -xdev | grep -vE '{NOISE}'").splitlines())


@pytest.mark.timeout(600)
def test_a_checkout_is_installed_used_and_removed_and_stays_as_it_is(clean):
    before = everything(clean)
    make(clean, "install")
    assert [path for path in everything(clean) - before if path.startswith(CHECKOUT)] == []
    clean.sh("cp /usr/local/share/doc/vbofs/example.toml /etc/vbofs/vbo.toml")
    clean.sh(f"echo 'endpoint_url = \"{clean.url}\"' >>/etc/vbofs/vbo.toml")
    clean.sh("systemctl enable --now vbofs@vbo")
    assert clean.count(f"/mnt/vbo/latest/{FILE}") == SIZE
    make(clean, "uninstall")
    assert not clean.is_mounted("/mnt/vbo")
    said = clean.sh("cat /tmp/uninstall")
    assert "/var/cache/vbofs" in said
    assert "/etc/vbofs" in said
    left = everything(clean) - before
    kept = ("/var/cache/vbofs", "/etc/vbofs", "/var/log/vbofs")
    assert {path for path in left if not path.startswith(kept)} == set()
    assert clean.run("ls", "/run/vbofs-system").status != 0
