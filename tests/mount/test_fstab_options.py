"""``mount.vbofs``: which options it takes, and how it says no; mounting is tested under systemd."""

from __future__ import annotations

import os

import pytest

from tests.mount.machine import VBOFS
from vbofs.cli.fstab import _flags, _is_theirs, _split
from vbofs.handover import MS_NOEXEC

DATASET = "visual-behavior-ophys"
HELPER = (VBOFS[0], "-c", "from vbofs.cli.fstab import main; main()")
#: What mount(8) passes on for a line with "defaults".
USUAL = "rw,noauto,nofail,_netdev,x-systemd.automount,user=me"


def helper(machine, *words, **env):
    return machine.execute(*HELPER, *words, **env)


@pytest.mark.parametrize(
    "word", ["ro", "rw", "_netdev", "nofail", "fail", "auto", "noauto", "nodev"]
)
def test_what_mount_has_for_itself_is_no_setting(word):
    assert _is_theirs(word)
    assert dict(_split(f"{word},x-systemd.automount,offline")) == {"offline": ""}


def test_keys_are_those_of_the_settings_in_either_spelling():
    given = dict(_split("cache-dir=/data,cache_size=1G,,noexec"))
    assert given == {"cache_dir": "/data", "cache_size": "1G", "noexec": ""}
    assert _flags(given) == MS_NOEXEC
    assert "noexec" not in given


@pytest.mark.skipif(os.geteuid() != 0, reason="root is told more")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("cache_sice=1G", "unknown option 'cache_sice'"),
        ("mountpoint=/etc", "unknown option 'mountpoint'"),
        ("cache_size=much", "cache_size: 'much' is not a size"),
        ("remount,ro", "cannot be remounted"),
        ("release=one", "release: 'one' is not a release"),
        ("endpoint_url=ftp://x", "endpoint-url"),
        ("config=/nowhere.toml", "/nowhere.toml: there is no such configuration file"),
    ],
)
def test_a_wrong_option_is_one_line_and_status_1(at_s3, options, words):
    outcome = helper(at_s3, DATASET, str(at_s3.root / "mnt"), "-o", options)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith("mount.vbofs: ")
    assert words in outcome.err


@pytest.mark.skipif(os.geteuid() != 0, reason="root is told more")
def test_a_fake_mount_checks_and_mounts_nothing(at_s3):
    place = str(at_s3.root / "mnt")
    assert helper(at_s3, DATASET, place, "-f", "-v", "-o", USUAL) == (0, "", "")
    assert helper(at_s3, DATASET, place, "-f", "-s", "-o", "surely_unknown=1") == (0, "", "")
    assert at_s3.mounts() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="root is told more")
def test_a_user_that_is_not_there_is_status_32(at_s3):
    outcome = helper(at_s3, DATASET, str(at_s3.root / "mnt"), "-o", "setuid=nobody-has-this")
    assert outcome.status == 32
    assert "there is no user 'nobody-has-this'" in outcome.err


def test_an_unknown_dataset_is_refused(at_s3):
    outcome = helper(at_s3, "visual-behaviour", str(at_s3.root / "mnt"))
    assert outcome.status == 1
    assert "unknown dataset 'visual-behaviour'" in outcome.err


def test_variables_of_the_caller_do_not_reach_the_daemon(at_s3):
    """A variable that would be an error, were it looked at."""
    words = [DATASET, str(at_s3.root / "mnt"), "-f"]
    outcome = helper(at_s3, *words, VBOFS_CACHE_SIZE="much")
    wanted = (0, "", "") if os.geteuid() == 0 else (1, "")
    assert outcome[: len(wanted)] == wanted
