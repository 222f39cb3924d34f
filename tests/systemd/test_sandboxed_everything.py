"""The service with all that its settings may ask for, and root's commands on its cache."""

from __future__ import annotations

import json
import re
import socket
import urllib.request

import pytest

from tests.mount.waiting import eventually
from tests.systemd.conftest import FILE, SIZE

PATH = f"/mnt/one/v1.0.0/{FILE}"
EVERYTHING = {
    "site_cache": "http://127.0.0.1:9;DIRECT",
    "lower_cache": "/srv/lower",
    "metrics_file": "/var/lib/vbofs-test/vbofs-one.prom",
    "record": "/var/lib/vbofs-test",
    "log_format": "json",
}


@pytest.fixture
def port():
    """One that is free: the machine has the network of this one."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@pytest.fixture
def full(machine, port):
    """A service with everything on, and a second one that fills its lower cache."""
    machine.sh("install -d -o vbofs -g vbofs /var/lib/vbofs-test /srv/lower")
    machine.settings("fill", cache_dir="/srv/lower")
    machine.override("vbofs@fill.service", "[Service]", "UMask=0022")
    machine.sh(f"systemctl start vbofs@fill; cat /mnt/fill/v1.0.0/{FILE} >/dev/null")
    more = {"cache_dir": "/var/cache/vbofs/one", "metrics_port": str(port)}
    machine.settings("one", **more, **EVERYTHING)
    machine.sh("systemctl start vbofs@one")
    yield machine
    machine.sh("rm -rf /var/lib/vbofs-test /srv/lower")


def state(machine):
    return json.loads(machine.sh("vbofs status --json /mnt/one"))


def records(machine):
    return machine.sh("ls /var/lib/vbofs-test").split()


def test_the_wall_lets_everything_through_that_the_settings_ask_for(full, s3, port):
    before = len(s3.requests)
    assert full.count(PATH) == SIZE
    assert [r for r in s3.requests[before:] if r.operation == "GET"] == []
    assert state(full)["lower_cache"]["bytes"] == SIZE
    assert state(full)["record"]["bytes"] == SIZE
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        asked = answer.read().decode()
    (number,) = re.findall(r"\nvbofs_lower_cache_read_bytes_total{.*} (.*)", asked)
    assert float(number) == SIZE
    eventually(lambda: "vbofs_up{" in full.sh("cat /var/lib/vbofs-test/vbofs-one.prom"))


def test_it_comes_back_with_everything_and_begins_a_new_record(full):
    pid = full.pid("vbofs@one")
    full.sh(f"kill -9 {pid}")
    eventually(lambda: full.pid("vbofs@one") not in (0, pid), 20)
    eventually(lambda: full.show("vbofs@one", "ActiveState") == "active", 20)
    assert full.count(PATH) == SIZE
    assert sum(name.endswith(".json") for name in records(full)) == 2


def test_what_is_logged_as_json_has_its_priority_in_the_journal(full, published):
    # The lower cache has it not, and the site's cache does not answer.
    published.release("1.1.0", {FILE: 100_000})
    full.sh(f"systemctl reload vbofs@one; cat /mnt/one/v1.1.0/{FILE} >/dev/null")
    words = "-o cat -t vbofs -p warning VBOFS_MOUNTPOINT=/mnt/one"
    said = eventually(lambda: full.sh(f"journalctl --sync; journalctl --no-pager {words}"))
    assert "is passed by for a while" in json.loads(said.splitlines()[-1])["message"]


def test_roots_commands_work_in_the_services_cache_as_its_user(full):
    full.sh("systemctl stop vbofs@fill")
    said = full.sh(f"vbofs prefetch --yes --pin {PATH} 2>&1")
    assert "fetched by the mount /mnt/one" in said
    assert "1 whole file" in full.sh(f"vbofs verify {PATH}")
    assert "/var/cache/vbofs/one:" in full.sh("vbofs cache /mnt/one")
    assert "1 file unpinned" in full.sh(f"vbofs unpin {PATH}")
    assert "1 file evicted" in full.sh(f"vbofs evict {PATH}")
    assert "versionId=" in full.sh(f"vbofs urls {PATH}")
    assert "v1.0.0" in full.sh("vbofs releases --refresh --config /etc/vbofs/one.toml")
    assert full.sh("find /var/cache/vbofs ! -user vbofs") == ""
    assert full.count(PATH) == SIZE


def test_doctor_finds_a_service_well_that_is(full):
    said = full.sh("vbofs doctor --json /mnt/one || true")
    found = {one["check"]: one for one in json.loads(said.partition("\nvbofs:")[0])}
    assert found["cache"]["verdict"] == "ok"
    assert found["cache"]["text"] == "/var/cache/vbofs/one"
    assert found["endpoint"]["verdict"] == "ok"
    assert full.sh("find /var/cache/vbofs ! -user vbofs") == ""
