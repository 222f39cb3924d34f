"""A cache on another machine's disk is said to be one."""

from __future__ import annotations

from pathlib import Path

import pytest

from vbofs.daemon.surroundings import warn_of_distant
from vbofs.mounts import Mount


@pytest.mark.parametrize(("fstype", "said"), [("nfs4", True), ("lustre", True), ("ext4", False)])
def test_a_cache_on_a_network_file_system_is_said_once(
    fstype, said, tmp_path, monkeypatch, expects_log
):
    if said:
        expects_log(f"is on a network file system ({fstype})", times=1)
    mounted = [Mount(Path("/"), "nfs4", "a:/"), Mount(tmp_path, fstype, "b:/")]
    monkeypatch.setattr("vbofs.mounts.mounts", lambda: mounted)
    warn_of_distant(tmp_path / "cache")
