"""Root in another user's cache acts as that user, and is root again afterwards."""

from __future__ import annotations

import os

import pytest

from vbofs import behalf, control

NOBODY = 65534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def theirs(ground):
    """A directory of another user, who can reach it."""
    folder = ground / "theirs"
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY, 0)
    return folder


@pytest.fixture
def ground(tmp_path_factory):
    made = tmp_path_factory.mktemp("ground")
    for place in (made, *made.parents[:-1]):
        place.chmod(place.stat().st_mode | 0o011)
    return made


def identity():
    return os.geteuid(), os.getegid(), sorted(os.getgroups()), os.environ.get("XDG_RUNTIME_DIR")


def test_what_root_makes_there_is_the_owners(theirs):
    before = identity()
    with behalf.owner_of(theirs):
        (theirs / "file").write_text("")
        assert os.getgroups() == []
    facts = (theirs / "file").stat()
    # Not the directory's group, which its owner may choose.
    assert (facts.st_uid, facts.st_gid) == (NOBODY, NOBODY)
    assert identity() == before


def test_a_link_that_the_owner_planted_leads_root_nowhere(theirs, ground):
    secret = ground / "secret"
    secret.write_text("")
    secret.chmod(0o600)
    (theirs / "link").symlink_to(secret)
    with behalf.owner_of(theirs), pytest.raises(PermissionError):
        (theirs / "link").read_text()


def test_an_error_ends_it_too(theirs):
    before = identity()
    with pytest.raises(ZeroDivisionError), behalf.owner_of(theirs):
        raise ZeroDivisionError
    assert identity() == before


def test_the_owners_daemons_are_found(theirs, ground, monkeypatch):
    system = ground / "system"
    system.mkdir()
    monkeypatch.setattr(control, "SYSTEM_RUNTIME_DIR", system)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/0")
    with behalf.owner_of(theirs):
        assert "XDG_RUNTIME_DIR" not in os.environ
    os.chown(system, NOBODY, NOBODY)
    with behalf.owner_of(theirs):
        assert os.environ["XDG_RUNTIME_DIR"] == str(system)
    assert os.environ["XDG_RUNTIME_DIR"] == "/run/user/0"


@pytest.mark.parametrize("name", ["mine", "missing"])
def test_in_its_own_root_stays_root(ground, name):
    (ground / "mine").mkdir()
    before = identity()
    with behalf.owner_of(ground / name):
        assert identity() == before
