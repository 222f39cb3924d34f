"""The service with all that its settings may ask for, and root's commands on its cache."""

from __future__ import annotations

import json

import pytest

from tests.mount.waiting import eventually
from tests.systemd.conftest import FILE, SIZE

PATH = f"/mnt/one/v1.0.0/{FILE}"
EVERYTHING = {
    "site_cache": "http://127.0.0.1:9;DIRECT",
    "lower_cache": "/srv/lower",
    "metrics_port": "9464",
    "metrics_file": "/var/lib/vbofs-test/vbofs-one.prom",
    "record": "/var/lib/vbofs-test",
    "log_format": "json",
}
ASK = (
    "import urllib.request;"
    "print(urllib.request.urlopen('http://127.0.0.1:9464/metrics').read().decode())"
)


@pytest.fixture
def full(machine):
    """A service with everything on, and a second one that fills its lower cache."""
    machine.sh("install -d -o vbofs -g vbofs /var/lib/vbofs-test /srv/lower")
    machine.settings("fill", cache_dir="/srv/lower")
    machine.override("vbofs@fill.service", "[Service]", "UMask=0022")
    machine.sh(f"systemctl start vbofs@fill; cat /mnt/fill/v1.0.0/{FILE} >/dev/null")
    machine.settings("one", cache_dir="/var/cache/vbofs/one", **EVERYTHING)
    machine.sh("systemctl start vbofs@one")
    yield machine
    machine.sh("rm -rf /var/lib/vbofs-test /srv/lower")


def state(machine):
    (found,) = json.loads(machine.sh("vbofs status --json /mnt/one"))
    return found


def records(machine):
    return machine.sh("ls /var/lib/vbofs-test").split()


def test_the_wall_lets_everything_through_that_the_settings_ask_for(full, s3):
    before = len(s3.requests)
    assert full.count(PATH) == SIZE
    assert [r for r in s3.requests[before:] if r.operation == "GET"] == []
    assert state(full)["lower_cache"]["bytes"] == SIZE
    assert state(full)["record"]["bytes"] == SIZE
    asked = full.sh(f'python3 -c "{ASK}"')
    line = 'vbofs_lower_cache_read_bytes_total{dataset="visual-behavior-ophys",mount="/mnt/one"}'
    assert f"{line} {SIZE:.1e}".replace("e+0", "e+0") in asked
    eventually(lambda: "vbofs_up{" in full.sh("cat /var/lib/vbofs-test/vbofs-one.prom"))
    assert "other users" not in full.journal()


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
