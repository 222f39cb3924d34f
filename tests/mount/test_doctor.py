"""vbofs doctor on machines that are well, and on machines that lack something."""

from __future__ import annotations

import json
import re

import pytest

from tests.mount.namespaces import NO_DEVICE, run_apart, run_as_nobody
from tests.s3 import Fault
from vbofs import errors

FILE = "behavior_sessions/one.nwb"


@pytest.fixture
def here(at_s3, published):
    published.release("1.0.0", {FILE: 3 << 20})
    return at_s3


def findings(outcome):
    """What was found, by check; several of one check are joined."""
    found = {}
    for one in json.loads(outcome.out):
        found.setdefault(one["check"], []).append(one)
    return found


def problems(outcome, home):
    """The problems that were found: (check, text, cure); but not of other tests' mounts."""
    assert "Traceback" not in outcome.err, outcome
    bad = [
        (check, one["text"], one["cure"])
        for check, several in findings(outcome).items()
        for one in several
        if one["verdict"] == "problem"
    ]
    assert (outcome.status == errors.ProblemsFound.exit_status) == bool(bad), outcome
    return [one for one in bad if one[0] != "mounts" or str(home) in one[1]]


def test_a_machine_that_is_well_has_no_problem(here):
    # A variable for other programs is none of ours.
    outcome = here.run("doctor", "--json", AWS_PROFILE="missing")
    assert problems(outcome, here.home) == []
    found = findings(outcome)
    assert "has v1.0.0; latest is v1.0.0" in found["bucket"][0]["text"]
    assert "MB/s over 4 connections (3.1 MB)" in found["throughput"][0]["text"]
    assert found["clock"][0]["text"] == "right"
    assert not here.cache.exists()
    assert here.mounts() == []


def test_with_a_mount_it_says_so_and_people_can_read_it(here):
    mounted = here.mount()
    outcome = here.run("doctor")
    assert f"ok      mounts       {mounted.path} answers\n" in outcome.out
    assert f"is mounted on {mounted.path}" in outcome.out


def test_without_the_device(here):
    outcome = run_apart(here, NO_DEVICE + "vbofs doctor --json")
    ((check, text, _),) = problems(outcome, here.home)
    assert check == "/dev/fuse"
    assert "modprobe fuse" in text


def test_an_ordinary_user_without_fusermount3(here):
    outcome = run_as_nobody(here, "PATH=/nowhere; vbofs doctor --json")
    ((check, _, cure),) = problems(outcome, here.home)
    assert (check, cure) == ("fusermount3", "sudo apt install fuse3")


def test_a_fusermount3_that_is_not_setuid(here):
    harmless = """
    cp "$(command -v fusermount3)" "$ROOT/fusermount3"; chmod 755 "$ROOT/fusermount3"
    """
    outcome = run_as_nobody(here, 'PATH="$ROOT:$PATH"; vbofs doctor --json', first=harmless)
    ((check, text, cure),) = problems(outcome, here.home)
    assert check == "fusermount3"
    assert "not setuid root" in text
    assert cure.endswith(f"chmod u+s {here.root}/fusermount3")


def test_allow_other_that_fuse_conf_does_not_permit(here):
    conf = 'echo > "$ROOT/conf"; mount --bind "$ROOT/conf" /etc/fuse.conf\n'
    outcome = run_as_nobody(here, "vbofs doctor --json --allow-other", first=conf)
    ((check, _, cure),) = problems(outcome, here.home)
    assert (check, cure) == (
        "other users",
        "echo user_allow_other | sudo tee -a /etc/fuse.conf",
    )


def test_an_endpoint_that_is_down(here, published):
    published.s3.down()
    ((check, text, cure),) = problems(here.run("doctor", "--json"), here.home)
    assert check == "endpoint"
    assert "Connection refused" in text
    assert cure == f"curl -v {published.url}"


def test_no_name_service(here):
    url = "http://nowhere.invalid"
    ((check, text, cure),) = problems(
        here.run("doctor", "--json", "--endpoint-url", url), here.home
    )
    assert check == "names"
    assert "nowhere.invalid is not known" in text
    assert cure.startswith("getent hosts nowhere.invalid")


def test_no_network_at_all(here):
    outcome = run_apart(here, "vbofs doctor --json", network=False)
    ((check, text, _),) = problems(outcome, here.home)
    assert check == "endpoint"
    assert "unreachable" in text


def test_a_clock_that_is_wrong(here, published):
    published.s3.faults.append(Fault(headers={"Date": "Mon, 01 Jan 2024 00:00:00 GMT"}))
    ((check, text, cure),) = problems(here.run("doctor", "--json"), here.home)
    assert check == "clock"
    assert "ahead of the endpoint's" in text
    assert cure == "sudo timedatectl set-ntp true"


def test_a_manifest_that_is_wrong_is_a_warning(here, published):
    published.manifest("2.0.0", b"nonsense")
    outcome = here.run("doctor", "--json")
    assert problems(outcome, here.home) == []
    flawed, good = findings(outcome)["bucket"]
    assert "v2.0.0 is left out" in flawed["text"]
    assert "latest is v1.0.0" in good["text"]


def test_a_cache_disk_that_is_full(here):
    script = f"""
    mkdir -p {here.cache}
    mount -t tmpfs -o size=2m,mode=700 none {here.cache}
    head -c 3m /dev/zero > {here.cache}/rest 2>/dev/null || true
    vbofs doctor --json
    """
    outcome = run_apart(here, script)
    found = problems(outcome, here.home)
    assert {check for check, *_ in found} <= {"cache", "cache disk"}
    assert any("nothing can be cached" in text for _, text, _ in found)
    assert findings(outcome)["disk kind"][0]["verdict"] == "warning"


def test_a_cache_that_is_somebody_elses(here):
    outcome = run_as_nobody(
        here, f"vbofs doctor --json --cache-dir {here.root}/theirs", first='mkdir "$ROOT/theirs"\n'
    )
    ((check, text, _),) = problems(outcome, here.home)
    assert check == "cache"
    assert "another user" in text


def test_a_dead_mount_and_the_cure_that_is_named(here):
    mounted = here.mount()
    mounted.kill()
    ((check, text, cure),) = problems(
        here.run("doctor", "--json", str(here.home / "other")), here.home
    )
    assert check == "mounts"
    assert text == f"{mounted.path}: its daemon has died"
    assert cure == f"vbofs umount {mounted.path}"
    assert here.run(*cure.split()[1:]).status == 0
    assert problems(here.run("doctor", "--json"), here.home) == []


def test_a_kernel_that_reads_little_ahead_and_the_cure_that_is_named(here):
    here.mount()
    # Its device's number is the kernel's to give, so the namespace finds it by itself.
    script = """
    device=$(stat -c %Hd:%Ld "$HOME/vbo")
    echo 128 > /sys/class/bdi/$device/read_ahead_kb
    vbofs doctor --json
    """
    said = findings(run_apart(here, script))["read-ahead"]
    (mine,) = [one for one in said if str(here.home) in one["text"]]
    assert mine["verdict"] == "warning"
    assert mine["cure"].startswith("echo 1024 | sudo tee /sys/class/bdi/")


def test_a_configuration_that_is_wrong(here):
    config = here.home / ".config/vbofs/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('cache_sise = "1G"\n')
    outcome = here.run("doctor", "--json", "--offline")
    found = problems(outcome, here.home)
    assert found[0][0] == "settings"
    assert "did you mean 'cache_size'?" in found[0][1]
    assert "Traceback" not in outcome.err


def test_a_proxy_that_leads_nowhere_and_its_password(here):
    outcome = here.run("doctor", http_proxy="http://ada:hunter2@127.0.0.1:9")
    assert outcome.status == errors.ProblemsFound.exit_status
    assert "127.0.0.1 port 9 cannot be reached" in outcome.out
    assert "http_proxy=http://***@127.0.0.1:9" in outcome.out
    assert "hunter2" not in outcome.out + outcome.err
    assert re.fullmatch(r"vbofs: \d+ problems? found, and \d+ warnings?\n", outcome.err)


def test_the_report_is_written_whatever_was_found(here, published):
    here.mount()
    published.s3.down()
    path = here.root / "report.tar.gz"
    outcome = here.run("doctor", "--bundle", str(path))
    assert outcome.status == errors.ProblemsFound.exit_status
    listed = here.execute("tar", "tzf", str(path)).out
    for name in ("findings.json", "status-", "log-", "settings.json"):
        assert f"vbofs-doctor/{name}" in listed
    again = here.run("doctor", "--bundle", str(path))
    assert again.status == errors.BundleUnwritable.exit_status
    assert "exists already" in again.err
    published.s3.up()
