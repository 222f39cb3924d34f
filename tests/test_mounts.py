"""Mounts as the kernel lists them, and what is said before one is made.  Real mounts of tmpfs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vbofs import mounts
from vbofs.errors import (
    AlreadyMounted,
    FuseUnavailable,
    MountFailed,
    MountpointMissing,
    MountpointNotADirectory,
    MountpointNotEmpty,
)

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
LINE = r"36 35 98:0 / /mnt\040a\134b\011c rw,noatime master:1 shared:2 - fuse.vbofs vbo\040x rw"


def escaped(name):
    """As the kernel has it: blank, tab, line feed and backslash only."""
    return "".join(f"\\{ord(c):03o}" if c in " \t\n\\" else c for c in name)


@pytest.fixture
def tmpfs(tmp_path):
    """``tmpfs(name)``: a mount at a directory of that name."""
    made = []

    def make(name, source="tmpfs"):
        path = tmp_path / name
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", source, str(path)], check=True)
        made.append(path)
        return path

    yield make
    for path in reversed(made):
        subprocess.run(["umount", "-l", str(path)], check=False, capture_output=True)


@pytest.fixture
def fuse_device(tmp_path, monkeypatch):
    """A device that opens, whatever this machine has."""
    device = tmp_path / "fuse"
    device.write_text("")
    monkeypatch.setattr(mounts, "FUSE_DEVICE", device)
    monkeypatch.setattr(mounts, "is_channel", lambda descriptor: True)
    return device


@pytest.mark.parametrize("name", ["/dev/null", "file"])
def test_what_opens_and_is_no_fuse_device_is_said(name, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(mounts, "FUSE_DEVICE", tmp_path / name)
    with pytest.raises(FuseUnavailable, match="is not FUSE's device; put it right with: rm"):
        mounts.check_device()


# --- reading the kernel's list


def test_a_line_of_the_kernel_is_understood():
    mount = mounts._parsed(LINE)
    assert mount[:3] == (Path("/mnt a\\b\tc"), "fuse.vbofs", "vbo x")
    assert mount.is_ours


@given(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1))
def test_any_name_comes_back_from_its_escapes(name):
    assert mounts._unescaped(escaped(name)) == name


def test_optional_fields_may_be_missing():
    assert mounts._parsed("1 2 0:1 / / rw - tmpfs none rw").fstype == "tmpfs"


def test_the_root_is_always_mounted():
    assert mounts.mounted_at(Path("/")) is not None
    assert not any(mount.is_ours and mount.path == Path("/") for mount in mounts.mounts())


NAMES = ["plain", "with blank", "tab\there", "line\nfeed", "back\\slash", "\\040", "ü", "a,b=c"]
ODD = [
    "page\x0cfeed",
    "\x1c",
    "next\x85line",
    "line\u2028separator",
    "carriage\rreturn",
    "a\udcffb",
]


@root_only
@pytest.mark.parametrize("name", NAMES + ODD, ids=ascii)
def test_a_mount_of_any_name_is_found(tmpfs, name):
    path = tmpfs(name)
    mount = mounts.mounted_at(path)
    assert mount == (path, "tmpfs", "tmpfs", path.stat().st_dev)


@root_only
def test_the_topmost_of_two_mounts_is_the_one_that_counts(tmpfs, tmp_path):
    path = tmpfs("m", "first")
    subprocess.run(["mount", "-t", "tmpfs", "second", str(path)], check=True)
    assert mounts.mounted_at(path).source == "second"
    subprocess.run(["umount", str(path)], check=True)
    assert mounts.mounted_at(path).source == "first"


@root_only
def test_a_mount_is_taken_down_and_a_second_time_is_an_error(tmpfs):
    path = tmpfs("m")
    mounts.unmount(path, lazy=True)
    assert mounts.mounted_at(path) is None
    with pytest.raises(MountFailed, match=f"cannot unmount {path}: .") as caught:
        mounts.unmount(path)
    assert "\n" not in str(caught.value)


def test_a_living_directory_is_not_dead(tmp_path):
    assert mounts.is_dead(tmp_path) is False
    assert mounts.is_dead(tmp_path / "nobody") is False


# --- before mounting


def prepare(path, *, allow_other=False):
    mounts.prepare(path, allow_other=allow_other)


def test_an_empty_or_a_new_directory_will_do_and_nothing_is_made(tmp_path, fuse_device):
    (tmp_path / "empty").mkdir()
    prepare(tmp_path / "empty")
    prepare(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_directory_whose_parent_is_missing_is_said(tmp_path, fuse_device):
    with pytest.raises(MountpointMissing, match="create it first"):
        prepare(tmp_path / "nobody" / "new")


def test_a_file_in_the_place_or_above_it_is_said(tmp_path, fuse_device):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(MountpointNotADirectory, match="is not a directory"):
            prepare(path)


@pytest.mark.parametrize("name", ["a file", ".hidden"])
def test_a_directory_that_is_not_empty_is_said_with_what_is_in_it(tmp_path, fuse_device, name):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / name).write_text("")
    with pytest.raises(MountpointNotEmpty, match=name):
        prepare(tmp_path / "full")


@root_only
def test_another_file_system_mounted_there_may_be_mounted_over(tmpfs, fuse_device):
    prepare(tmpfs("m"))


def test_a_living_fuse_mount_is_not_mounted_over(tmp_path, fuse_device):
    mount = mounts.Mount(tmp_path, "fuse.vbofs", "visual-behavior-ophys")
    with pytest.raises(AlreadyMounted, match=f"unmount it with: vbofs umount {tmp_path}"):
        mounts._clear_dead(mount)
    with pytest.raises(AlreadyMounted, match=f"unmount it with: umount {tmp_path}"):
        mounts._clear_dead(mount._replace(fstype="fuse.sshfs"))


def test_a_machine_without_fuse_is_told_what_to_do(tmp_path, fuse_device):
    fuse_device.unlink()
    with pytest.raises(FuseUnavailable, match=r"modprobe fuse.*--device /dev/fuse"):
        prepare(tmp_path / "new")


def test_a_device_that_does_not_open_is_said(tmp_path, fuse_device):
    fuse_device.unlink()
    fuse_device.mkdir()
    with pytest.raises(FuseUnavailable, match="cannot be opened: Is a directory"):
        prepare(tmp_path / "new")


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("user_allow_other", True),
        ("# user_allow_other\n", False),
        ("mount_max = 5\n  user_allow_other  \n", True),
        ("", False),
    ],
)
def test_others_are_allowed_if_fuse_conf_says_so(tmp_path, monkeypatch, text, allowed):
    conf = tmp_path / "fuse.conf"
    monkeypatch.setattr(mounts, "FUSE_CONF", conf)
    assert mounts.others_allowed() is False
    conf.write_text(text)
    assert mounts.others_allowed() is allowed
