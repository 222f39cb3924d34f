"""vbofs.service of one person: mounted without root, watched, and brought back."""

from __future__ import annotations

import pytest

from tests.mount.waiting import eventually
from tests.systemd.conftest import FILE, SIZE

UID = 4711
PATH = f"/home/lab/vbo/latest/{FILE}"


@pytest.fixture
def lab(machine):
    """An ordinary user, whose own systemd runs."""
    machine.sh(
        f"""id lab 2>/dev/null || useradd -m -u {UID} lab
        mkdir -p /home/lab/.config/vbofs /run/user/{UID}
        echo 'endpoint_url = "{machine.url}"' >/home/lab/.config/vbofs/config.toml
        chown -R lab: /home/lab /run/user/{UID}; chmod 700 /run/user/{UID}
        systemctl start user@{UID}"""
    )
    yield machine
    machine.sh(f"systemctl stop user@{UID}; rm -rf /home/lab/.cache /home/lab/vbo")


def as_lab(machine, script):
    env = f"HOME=/home/lab XDG_RUNTIME_DIR=/run/user/{UID} PATH=$PATH"
    return machine.sh(
        f"cd /home/lab; exec setpriv --reuid={UID} --regid={UID} --clear-groups"
        f" env -i {env} sh -euc '{script}'"
    )


def test_one_persons_mount_starts_comes_back_and_stops(lab):
    as_lab(lab, "systemctl --user start vbofs")
    assert as_lab(lab, f"cat {PATH} | wc -c") == str(SIZE)
    assert lab.run("ls", "/home/lab/vbo").status != 0, "nobody else may look, root neither"
    pid = int(as_lab(lab, "systemctl --user show --value -p MainPID vbofs"))
    lab.sh(f"kill -9 {pid}")
    look = "systemctl --user show --value -p MainPID,ActiveState vbofs"

    def is_back():
        state = as_lab(lab, look).split()
        return "active" in state and {str(pid), "0"}.isdisjoint(state)

    eventually(is_back, 20)
    assert as_lab(lab, f"cat {PATH} | wc -c") == str(SIZE)
    as_lab(lab, "systemctl --user reload vbofs")
    as_lab(lab, "systemctl --user stop vbofs")
    assert lab.sh("grep -c fuse.vbofs /proc/self/mountinfo || true") == "0"
