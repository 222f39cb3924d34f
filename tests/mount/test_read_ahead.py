"""The script that udev runs raises the read-ahead of a vbofs, and of nothing else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.mount.namespaces import run_apart

SCRIPT = Path(__file__).parents[2] / "systemd/read-ahead"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may raise a read-ahead")
def test_an_ordinary_users_mount_gets_it_and_another_does_not(at_s3, published):
    published.release("1.0.0", {"behavior_sessions/one.nwb": 1000})
    mounted = at_s3.mount()
    facts = os.stat(mounted.path)
    name = f"{os.major(facts.st_dev)}:{os.minor(facts.st_dev)}"
    tunable = Path(f"/sys/class/bdi/{name}/read_ahead_kb")
    tunable.write_text("128")
    subprocess.run([SCRIPT, name], check=True)
    assert tunable.read_text() == "1024\n"
    # Mounted otherwise, the same number is none of its business.
    script = f"mount -t tmpfs none /mnt; {SCRIPT} $(mountpoint -d /mnt); mountpoint -d /mnt"
    assert run_apart(at_s3, script).status == 0
