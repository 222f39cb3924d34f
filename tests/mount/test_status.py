"""status and releases: what they say of what is mounted and published."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest

from tests.mount.machine import VBOFS
from tests.mount.waiting import eventually
from vbofs import errors
from vbofs._version import __version__

FILE = "behavior_sessions/one.nwb"
SIZE = 3 << 20


@pytest.fixture
def here(at_s3, published):
    """Three releases to be mounted."""
    for release in ("0.9.0", "1.0.0", "1.0.0-rc.1"):
        published.release(release, {FILE: SIZE})
    return at_s3


def test_status_shows_what_is_mounted_and_how_it_is_doing(here):
    mounted = here.mount()
    with (mounted / f"v1.0.0/{FILE}").open("rb") as file:
        file.read()
        status = json.loads(here.run("status", "--json", str(mounted.path)).out)
    wanted = {
        "state": "mounted",
        "version": __version__,
        "mountpoint": str(mounted.path),
        "dataset": "visual-behavior-ophys",
        "releases": ["0.9.0", "1.0.0-rc.1", "1.0.0"],
        "latest": "1.0.0",
        "built": ["1.0.0"],
        "left_out": {},
        "last_error": None,
    }
    assert {name: status[name] for name in wanted} == wanted
    assert status["readers"]["handles"] == 1
    assert status["readers"]["bytes"] == SIZE
    assert status["cache"]["used"] >= SIZE
    assert status["requests"]["retried"] == 0
    assert status["blocks"]["failed"] == 0
    text = here.run("status").out
    for word in (str(mounted.path), "mounted", "v0.9.0", f"pid {mounted.pid}", "GET", "3.1 MB"):
        assert word in text


def test_status_of_nothing_and_of_several(here):
    assert here.run("status", str(here.home)).status == errors.NotMounted.exit_status
    one, two = here.mount(), here.mount("--release", "v1.0.0", at=here.home / "two")
    states = json.loads(here.run("status", "--json").out)
    ours = {state["mountpoint"]: state.get("pid") for state in states}
    assert ours[str(one.path)] == one.pid
    assert ours[str(two.path)] == two.pid


def test_releases_tells_what_is_published_and_what_is_mounted(here, published):
    published.release("1.0.1", {FILE: 1000, "project_metadata/t.csv": b"a,b\n"})
    mounted = here.mount("--release", "v1.0.1,v0.9.0")
    rows = json.loads(here.run("releases", "--json").out)
    names = ["0.9.0", "1.0.0-rc.1", "1.0.0", "1.0.1"]
    assert [row["release"] for row in rows] == names
    assert [row["latest"] for row in rows] == [False, False, False, True]
    assert [bool(row["mounted"]) for row in rows] == [True, False, False, True]
    assert rows[-1]["mounted"] == [str(mounted.path)]
    assert (rows[-1]["files"], rows[-1]["bytes"]) == (2, 1004)
    assert [row["published"] for row in rows] == [1699583400] * 4
    text = here.run("releases").out
    assert "v1.0.1 (latest)" in text
    assert "2023-11-10" in text
    assert "1.0 kB" in text


def test_releases_can_be_cut_short_by_the_reader_of_its_pipe(here):
    outcome = here.execute("sh", "-c", f"{' '.join(VBOFS)} releases | true")
    assert (outcome.status, outcome.err) == (0, "")


def test_every_verb_has_help(here):
    assert here.run("--version").out == f"vbofs, version {__version__}\n"
    for verb in ("mount", "umount", "releases", "status"):
        assert f"vbofs {verb} [OPTIONS]" in here.run(verb, "--help").out


# --- what ails it


def _size_read(path):
    """None while it cannot be read: for a moment the news that nobody answers is passed on."""
    try:
        return len(path.read_bytes())
    except OSError:
        return None


def test_status_says_that_the_network_is_lost_and_that_it_is_back(here, published):
    mounted = here.mount(VBOFS_TIMEOUT="1")
    published.s3.down()
    with pytest.raises(OSError, match="Errno"):
        (mounted / f"v1.0.0/{FILE}").read_bytes()
    here.expect(" WARNING .*nothing answers at http")
    said = here.run("status").out
    assert "the network is lost for" in said
    assert "only what is cached can be read (nothing answers at http" in said
    assert "EndpointDown" in said
    published.s3.up()
    assert eventually(lambda: _size_read(mounted / f"v1.0.0/{FILE}")) == SIZE
    assert "lost" not in here.run("status").out


def test_status_of_a_dead_mount_names_the_cure(here):
    mounted = here.mount()
    mounted.kill()
    said = here.run("status").out
    assert f"{mounted.path}  visual-behavior-ophys  dead" in said
    assert f"its daemon has died; mend it with: vbofs umount {mounted.path}" in said


def test_in_a_pipe_status_has_no_colour_and_one_line_per_fact(here):
    mounted = here.mount(at=here.home / ("long" * 40))
    lines = here.run("status", str(mounted.path)).out.splitlines()
    assert lines[0] == f"{mounted.path}  visual-behavior-ophys  mounted"
    assert all(line.startswith("  ") for line in lines[1:])
    assert not any("\x1b" in line for line in lines)
    # Nor does a terminal of another century end it.
    assert "....." in here.run("status", str(mounted.path), PYTHONIOENCODING="latin-1").out


def test_watch_goes_on_with_rates_until_it_is_interrupted(here):
    mounted = here.mount()
    watching = here.start(
        *VBOFS, "status", "--watch", "--interval", "0.1", str(mounted.path), stdout=subprocess.PIPE
    )
    blocks = []
    with watching.stdout as out:
        for line in out:
            blocks.append(line.decode())
            if "reads/s" in blocks[-1]:
                break
        watching.send_signal(signal.SIGINT)
        out.read()
    assert watching.wait(10) == 130
    assert blocks[0] == f"{mounted.path}  visual-behavior-ophys  mounted\n"


def test_status_can_be_one_thing_at_a_time(here):
    outcome = here.run("status", "--json", "--watch")
    assert outcome.status == 2
    assert "exclude each other" in outcome.err


def test_a_newer_release_than_the_one_in_use_is_mentioned(at_sample):
    mounted = at_sample.mount()
    assert "is newer than" not in at_sample.run("status").out
    os.listdir(mounted / "v1.0.1")
    said = at_sample.run("status").out
    line = (
        "v1.1.0 is newer than v1.0.1, which is in use; what has changed: vbofs diff v1.0.1 v1.1.0"
    )
    assert f"  newer     {line}\n" in f"{said}\n"
    assert at_sample.log().count(line) == 1
    assert mounted.status()["newer"]["published"] == "1.1.0"
