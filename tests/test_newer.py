"""A release newer than the one in use is mentioned: where somebody looks, and once in the log."""

from __future__ import annotations

import logging

import pytest

from vbofs.catalog.tree import ROOT

FILE = {"a/one.nwb": b"1"}


@pytest.fixture
def published(publisher):
    for release in ("1.0.1", "1.9.0", "1.10.0"):
        publisher.release(release, FILE)
    return publisher


@pytest.fixture
def said(caplog):
    """What the log says of newer releases."""
    caplog.set_level(logging.INFO, logger="vbofs")
    return lambda: [r.getMessage() for r in caplog.records if " is newer than " in r.getMessage()]


async def look_into(filesystem, release):
    node = await filesystem.lookup(ROOT, f"v{release}".encode())
    await filesystem.entries(node.ino)


def found(filesystem):
    newer = filesystem.newer.than(filesystem.built)
    return newer and tuple(newer)


async def test_while_nobody_uses_any_release_there_is_nothing_to_say(
    published, open_filesystem, said
):
    filesystem = await open_filesystem()
    assert (found(filesystem), said()) == (None, [])


async def test_who_uses_an_older_release_is_told_once(published, open_filesystem, said):
    filesystem = await open_filesystem()
    await look_into(filesystem, "1.0.1")
    await look_into(filesystem, "1.0.1")
    assert found(filesystem) == ("1.0.1", "1.10.0")
    assert said() == [
        "v1.10.0 is newer than v1.0.1, which is in use; what has changed: vbofs diff v1.0.1 v1.10.0"
    ]
    await look_into(filesystem, "1.9.0")
    assert found(filesystem) == ("1.9.0", "1.10.0")


async def test_who_uses_the_newest_release_too_is_told_nothing(published, open_filesystem, said):
    filesystem = await open_filesystem()
    await look_into(filesystem, "1.10.0")
    await look_into(filesystem, "1.0.1")
    assert (found(filesystem), said()) == (None, [])


async def test_a_mount_of_an_older_release_alone_is_told_at_once(
    published, open_filesystem, make_settings, said
):
    filesystem = await open_filesystem(settings=make_settings(release="1.0.1,1.9.0"))
    assert found(filesystem) == ("1.9.0", "1.10.0")
    assert len(said()) == 1


async def test_a_release_that_is_published_while_another_is_in_use_is_told(
    published, open_filesystem, said
):
    filesystem = await open_filesystem()
    await look_into(filesystem, "1.10.0")
    published.release("2.0.0", FILE)
    await filesystem.refresh()
    assert found(filesystem) == ("1.10.0", "2.0.0")
    await filesystem.refresh()
    assert len(said()) == 1


async def test_a_release_whose_manifest_is_bad_is_not_recommended(
    published, open_filesystem, expects_log, said
):
    published.manifest("2.0.0", b"{}")
    expects_log("the manifest of v2.0.0 is left out")
    filesystem = await open_filesystem()
    await look_into(filesystem, "1.10.0")
    assert (found(filesystem), said()) == (None, [])
