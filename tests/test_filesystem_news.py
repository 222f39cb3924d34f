"""News in the root directory: when somebody looks, never by a clock, never for long."""

from __future__ import annotations

import pytest
import trio

from tests.conftest import PROJECT, manifest_name
from tests.test_filesystem import FILES, listing, published, walk
from vbofs.catalog.tree import ROOT, Directory
from vbofs.errors import NoSuchName, RemoteError, UnknownRelease
from vbofs.filesystem import NEWS_PATIENCE

__all__ = ["published"]


# --- news


async def test_a_new_release_appears_when_somebody_looks(
    published, open_filesystem, autojump_clock
):
    filesystem = await open_filesystem()
    published.release("2.0.0", FILES)
    published.put("NEWS.md", b"")
    assert "v2.0.0" not in await listing(filesystem)
    await trio.sleep(601)
    assert {"v2.0.0", "v1.0.0", "NEWS.md"} <= set(await listing(filesystem))
    latest = await filesystem.lookup(ROOT, b"latest")
    assert filesystem.target(latest.ino) == b"v2.0.0"
    folder = await filesystem.lookup(ROOT, b"manifests")
    assert manifest_name("2.0.0") in await listing(filesystem, folder.ino)


async def test_the_inodes_that_are_known_outlive_the_news(
    published, open_filesystem, autojump_clock
):
    filesystem = await open_filesystem()
    latest = await filesystem.lookup(ROOT, b"latest")
    before = await walk(filesystem, "v1.0.1/sessions/1.nwb")
    published.release("2.0.0", FILES)
    await filesystem.refresh()
    assert await walk(filesystem, "v1.0.1/sessions/1.nwb") is before
    assert (await walk(filesystem, "v2.0.0/sessions/1.nwb")).ino == before.ino
    assert filesystem.target(latest.ino) == b"v1.0.1"  # Who holds the old link keeps its target.


async def test_a_name_that_is_missing_asks_for_news_but_not_every_time(
    published, memory, open_filesystem, autojump_clock
):
    filesystem = await open_filesystem()
    published.release("2.0.0", FILES)
    await trio.sleep(601)
    assert isinstance(await filesystem.lookup(ROOT, b"v2.0.0"), Directory)
    before = memory.requests()
    for _ in range(100):
        with pytest.raises(NoSuchName):
            await filesystem.lookup(ROOT, b".git")
    assert memory.requests() == before


async def test_an_idle_mount_asks_for_nothing(published, memory, open_filesystem, autojump_clock):
    await open_filesystem()
    before = memory.requests()
    await trio.sleep(1e6)
    assert memory.requests() == before


async def test_looking_at_the_root_waits_only_so_long_for_news(
    published, remote, open_filesystem, autojump_clock
):
    filesystem = await open_filesystem()
    published.release("2.0.0", FILES)
    await trio.sleep(601)
    remote.page_delay = 20
    start = trio.current_time()
    assert "v2.0.0" not in await listing(filesystem)
    assert trio.current_time() - start == pytest.approx(NEWS_PATIENCE)
    await trio.sleep(100)
    assert "v2.0.0" in await listing(filesystem)


async def test_news_that_fail_leave_the_root_as_it_is(
    published, remote, open_filesystem, autojump_clock, expects_log
):
    expects_log("cannot look for new releases: broken line")
    filesystem = await open_filesystem()
    await trio.sleep(601)
    remote.page_errors.append(RemoteError("broken line"))
    assert "v1.0.1" in await listing(filesystem)


async def test_a_release_withdrawn_before_anybody_looked_is_one_clean_error(
    published, memory, open_filesystem, autojump_clock
):
    filesystem = await open_filesystem()
    del memory._objects[f"{PROJECT}/manifests/{manifest_name('1.0.1')}"]
    await trio.sleep(601)
    folder = dict(await filesystem.entries(ROOT))[b"v1.0.1"]
    with pytest.raises(UnknownRelease):
        await filesystem.entries(folder.ino)
    assert "sessions" in await listing(filesystem, (await walk(filesystem, "v1.0.0")).ino)
