"""Commands in odd places and at odd moments: two mounts at once, hanging daemons, names that are
no text, and interruptions."""

from __future__ import annotations

import json
import os
import re
import signal
import time

import pytest

from tests.mount.machine import VBOFS
from tests.mount.refusal import assert_refused
from tests.mount.waiting import eventually
from tests.s3.faults import Fault
from vbofs import errors
from vbofs.fuse.session import Session

PIPES = {"stdout": -1, "stderr": -1}


@pytest.fixture
def here(at_s3, published):
    published.release("1.0.0", {"behavior_sessions/one.nwb": 1000})
    return at_s3


def test_of_two_mounts_at_once_one_is_refused(here):
    both = [here.start(*VBOFS, "mount", **PIPES) for _ in range(2)]
    said = [one.communicate(timeout=60)[1] for one in both]
    assert sorted(one.returncode for one in both) == [0, errors.AlreadyMounted.exit_status], said
    assert len(here.mounts()) == 1
    here.expect("ERROR .*(just being mounted|mounted already)")
    assert [
        path.name for path in (here.runtime / "vbofs").iterdir() if path.suffix == ".lock"
    ] == []


def test_a_daemon_that_has_hung_for_a_while_can_be_unmounted(here):
    mounted = here.mount()
    here.be_impatient()
    os.kill(mounted.pid, signal.SIGSTOP)
    time.sleep(1.5)  # Until the kernel asks again what it knows of the root.
    assert here.run("umount", str(mounted.path)).status == 0
    assert here.mounts() == []
    os.kill(mounted.pid, signal.SIGCONT)


@pytest.mark.parametrize("name", [b"\xff", "日".encode() * 80])
def test_a_mountpoint_may_have_any_name(here, name):
    path = os.path.join(os.fsencode(here.home), name)
    assert here.execute(*VBOFS, "mount", path).status == 0
    listed = here.run("releases", "--json")
    assert json.loads(listed.out)[0]["mounted"] == [os.fsdecode(path)]
    assert here.execute(*VBOFS, "umount", path).status == 0


def test_names_are_not_taken_for_markup(here):
    path = here.home / "[" / "bold] :smile:"
    path.parent.mkdir()
    here.mount(at=path)
    listed = here.run("releases")
    assert (listed.status, listed.err) == (0, "")
    assert str(path) in listed.out


@pytest.mark.parametrize(
    ("option", "path"),
    [("--cache-dir", "vbo/cache"), ("--log-file", "vbo/log"), ("--cache-dir", "vbo")],
)
def test_a_daemon_does_not_keep_its_own_files_in_its_own_mount(here, option, path):
    outcome = here.run("mount", option, str(here.home / path))
    assert_refused(here, outcome, errors.SettingsInvalid, option, "lies in the mountpoint")


def test_other_programs_settings_for_aws_are_not_ours(here):
    assert here.run("releases", AWS_PROFILE="nobody").status == 0
    assert here.run("releases", AWS_ENDPOINT_URL_S3="http://127.0.0.1:1").status == 0


def test_an_interrupt_while_manifests_are_fetched_is_no_bug(here, s3):
    stalled = Fault(operation="GET", stall_at=0)
    s3.faults.append(stalled)
    asking = here.start(*VBOFS, "releases", **PIPES)
    eventually(lambda: stalled.fired)
    asking.send_signal(signal.SIGINT)
    out, err = asking.communicate(timeout=20)
    stalled.lift()
    assert (asking.returncode, out, err) == (130, b"", b"")


@pytest.mark.parametrize("words", [["nosuch"], ["mount", "--nosuch"], ["umount", "a", "b"]])
def test_a_wrong_command_line_is_one_line(here, words):
    outcome = here.run(*words)
    assert (outcome.status, outcome.out) == (2, "")
    assert re.fullmatch(r"vbofs: .* See: .* --help\n", outcome.err)


def test_an_object_of_impossible_size_is_no_bug(here, s3):
    def larger(listing: bytes) -> bytes:
        return re.sub(rb"<Size>\d+</Size>", b"<Size>36893488147419103232</Size>", listing)

    s3.faults.append(Fault(listing=larger))
    outcome = here.run("mount", VBOFS_TIMEOUT="1")
    assert_refused(here, outcome, errors.WrongResponse, "cannot be")


async def test_a_connection_that_the_kernel_aborts_is_the_end_and_no_bug(monkeypatch, tmp_path):
    async def aborted(**words):
        raise ExceptionGroup("", [ExceptionGroup("", [ConnectionAbortedError("abort")])])

    monkeypatch.setattr("pyfuse3.main", aborted)
    await Session(tmp_path).serve()


SIGNALLED = """
import os, signal
import pyfuse3

init = pyfuse3.init

def init_and_be_told(*words):
    init(*words)
    os.kill(os.getpid(), signal.{name})

pyfuse3.init = init_and_be_told
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_in_the_instant_in_which_the_mount_is_made_leaves_nothing(at_s3, published, name):
    published.release("1.0.0", {"behavior_sessions/one.nwb": 1000})
    (at_s3.root / "sitecustomize.py").write_text(SIGNALLED.format(name=name))
    at_s3.expect(r"WARNING .*the mount went before it answered")
    at_s3.run("mount", PYTHONPATH=str(at_s3.root))
    eventually(lambda: not at_s3.processes(), what="the end of the daemon")
    assert at_s3.mounts() == []
    assert f"{name}: unmounting" in at_s3.log()
    at_s3.mount().umount()
