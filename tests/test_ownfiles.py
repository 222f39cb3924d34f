"""Each user of a mount has a file of his own, where nobody else decides what is in it."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from vbofs.ownfiles import OwnFiles

NAME = "_manifest_last_used.txt"
NOBODY_AT_ALL = 987_654


def test_who_mounts_has_it_in_his_state_directory_which_is_made(home):
    path = OwnFiles(Path("/mnt/vbo")).path(os.geteuid(), NAME)
    assert path.parent == home / "state" / "vbofs"
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.write_text("it can be written")


def test_two_mounts_have_two_files_and_one_mount_always_the_same():
    one, other = OwnFiles(Path("/mnt/vbo")), OwnFiles(Path("/mnt/neuropixels"))
    assert one.path(os.geteuid(), NAME) == OwnFiles(Path("/mnt/vbo")).path(os.geteuid(), NAME)
    assert one.path(os.geteuid(), NAME) != other.path(os.geteuid(), NAME)


def test_two_names_are_two_files():
    own = OwnFiles(Path("/mnt/vbo"))
    assert own.path(os.geteuid(), "a") != own.path(os.geteuid(), "b")


def test_another_user_has_it_in_his_home(tmp_path, monkeypatch):
    his = os.stat("/").st_uid if os.geteuid() else 65534
    record = pwd.struct_passwd(("x", "x", his, his, "", "/" if os.geteuid() else str(tmp_path), ""))
    if not os.geteuid():
        os.chown(tmp_path, his, his)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: record)
    path = OwnFiles(Path("/mnt/vbo")).path(his, NAME)
    assert path.parent == Path(record.pw_dir)
    assert path.name.startswith(".vbofs-")


@pytest.mark.parametrize("home", ["/nonexistent", "/proc/self"])
def test_a_home_that_is_missing_or_another_s_is_not_used(home, monkeypatch):
    record = pwd.struct_passwd(("x", "x", NOBODY_AT_ALL, 0, "", home, ""))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: record)
    path = OwnFiles(Path("/mnt/vbo")).path(NOBODY_AT_ALL, NAME)
    assert path.parent == Path("/tmp")
    assert str(NOBODY_AT_ALL) in path.name


def test_who_has_no_home_but_is_logged_in_has_it_where_only_he_can_enter(tmp_path):
    own = OwnFiles(Path("/mnt/vbo"), runtime=tmp_path)
    folder = tmp_path / str(NOBODY_AT_ALL)
    folder.mkdir()
    assert own.path(NOBODY_AT_ALL, NAME).parent == Path("/tmp")  # It is another's.
    if os.geteuid() == 0:
        os.chown(folder, NOBODY_AT_ALL, -1)
        assert own.path(NOBODY_AT_ALL, NAME).parent == folder


def test_users_that_no_database_knows_have_files_apart_from_each_other():
    own = OwnFiles(Path("/mnt/vbo"))
    assert own.path(NOBODY_AT_ALL, NAME) != own.path(NOBODY_AT_ALL + 1, NAME)


def test_a_state_directory_that_cannot_be_made_costs_nothing_but_the_place(home):
    (home / "state").write_text("in the way")
    assert OwnFiles(Path("/mnt/vbo")).path(os.geteuid(), NAME).parent == Path("/tmp")
