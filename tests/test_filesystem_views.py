"""Views in the tree: when they are built, what they cost, and what becomes of tables that fail."""

from __future__ import annotations

import pytest
import trio

from tests.conftest import PROJECT, contents
from tests.small_tables import FILES, SESSIONS, TABLES
from tests.test_filesystem import listing, read, walk
from vbofs.catalog.tree import Symlink
from vbofs.catalog.views import VIEWS
from vbofs.errors import NoSuchName, RemoteError, WrongResponse

TABLE = "project_metadata/behavior_session_table.csv"
LINK = "v1.0.0/by-mouse/457841/2019-09-20_OPHYS_1_images_A_VISp-150um_30.nwb"


@pytest.fixture
def published(publisher):
    publisher.release("1.0.0", FILES, TABLES)
    return publisher


async def test_a_link_in_a_view_leads_to_the_file_in_its_release(published, open_filesystem):
    filesystem = await open_filesystem()
    link = await walk(filesystem, LINK)
    assert isinstance(link, Symlink)
    assert filesystem.target(link.ino) == b"../../e/30.nwb"
    assert filesystem.attrs(link).size == len("../../e/30.nwb")


async def test_views_are_named_in_the_release_and_cost_nothing_until_looked_into(
    published, remote, open_filesystem
):
    filesystem = await open_filesystem()
    names = await listing(filesystem, (await walk(filesystem, "v1.0.0")).ino)
    assert set(VIEWS) < set(names)
    for view in VIEWS:
        filesystem.attrs(await walk(filesystem, f"v1.0.0/{view}"))
    await read(filesystem, "v1.0.0/e/30.nwb")
    assert not [key for key in remote.keys if key.endswith(".csv")]


async def test_a_view_looked_into_by_many_is_made_once_from_tables_that_are_kept(
    published, remote, open_filesystem
):
    filesystem = await open_filesystem()
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(walk, filesystem, LINK)
    fetched = len(remote.fetched)
    keys = [key for key in remote.keys if key.endswith(".csv")]
    assert sorted(keys) == sorted(set(keys)) != []
    for view in VIEWS:
        await listing(filesystem, (await walk(filesystem, f"v1.0.0/{view}")).ino)
    assert len(remote.fetched) == fetched


async def test_a_view_never_changes_and_what_is_not_in_it_never_will_be(published, open_filesystem):
    filesystem = await open_filesystem()
    folder = await walk(filesystem, "v1.0.0/by-mouse")
    assert filesystem.is_lasting(folder.ino)
    with pytest.raises(NoSuchName):
        await filesystem.lookup(folder.ino, b"999999")
    assert await listing(filesystem, folder.ino) == [".", "..", "412036", "457841"]


async def test_a_release_without_tables_has_no_views(publisher, open_filesystem):
    publisher.release("1.0.0", FILES, {})
    filesystem = await open_filesystem()
    assert await listing(filesystem, (await walk(filesystem, "v1.0.0")).ino) == [
        ".",
        "..",
        "e",
        "s",
    ]


async def test_a_view_hides_no_file_of_the_release(publisher, open_filesystem):
    publisher.release("1.0.0", {**FILES, "by-mouse/my.nwb": b"mine"}, TABLES)
    filesystem = await open_filesystem()
    assert await read(filesystem, "v1.0.0/by-mouse/my.nwb") == b"mine"
    assert await listing(filesystem, (await walk(filesystem, "v1.0.0/by-structure")).ino)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (b"", "v1.0.0/by-mouse is empty: the table behavior_session_table is empty"),
        (contents(100_000), "v1.0.0/by-mouse is empty: the table behavior_session_table is no CSV"),
        (b'behavior_session_id,file_id\n1,"' + b"x" * 200_000, "v1.0.0/by-mouse is empty: "),
    ],
)
async def test_a_view_of_a_bad_table_is_empty_and_says_why_once(
    publisher, open_filesystem, expects_log, table, why
):
    expects_log(why)
    publisher.release("1.0.0", FILES, {TABLE: table})
    filesystem = await open_filesystem()
    folder = await walk(filesystem, "v1.0.0/by-mouse")
    for _ in range(3):
        assert await listing(filesystem, folder.ino) == [".", ".."]


async def test_a_bad_table_takes_no_other_with_it(publisher, open_filesystem, expects_log):
    expects_log("v1.0.0: the table ophys_experiment_table is empty; it is left out")
    bad = {"project_metadata/ophys_experiment_table.csv": b""}
    publisher.release("1.0.0", FILES, {TABLE: SESSIONS, **bad})
    filesystem = await open_filesystem()
    folder = await walk(filesystem, "v1.0.0/by-mouse/457841")
    assert await listing(filesystem, folder.ino) == [".", "..", "TRAINING_0_1.nwb"]


async def test_a_table_that_is_too_large_is_not_read(
    publisher, remote, open_filesystem, expects_log, monkeypatch
):
    expects_log("bytes; 10 are allowed")
    monkeypatch.setattr("vbofs.metadata.LARGEST_VIEWED", 10)
    publisher.release("1.0.0", FILES, TABLES)
    filesystem = await open_filesystem()
    before = len(remote.fetched)
    folder = await walk(filesystem, "v1.0.0/by-mouse")
    assert await listing(filesystem, folder.ino) == [".", ".."]
    assert len(remote.fetched) == before


async def test_a_view_whose_tables_cannot_be_had_now_is_built_another_time(
    published, remote, open_filesystem
):
    filesystem = await open_filesystem()
    folder = await walk(filesystem, "v1.0.0/by-mouse")
    remote.failures.append((0, RemoteError("broken line")))
    with pytest.raises(RemoteError, match="broken line"):
        await listing(filesystem, folder.ino)
    assert await listing(filesystem, folder.ino) == [".", "..", "412036", "457841"]


async def test_a_table_with_other_bytes_than_its_release_pins_is_an_error(
    publisher, memory, remote, open_filesystem, allows_log
):
    allows_log("not those of its release|differs|condemned|dropped")
    publisher.release("1.0.0", FILES, {TABLE: SESSIONS})
    versions = memory._objects[f"{PROJECT}/{TABLE}"]
    [(version_id, (body, mtime))] = versions.items()
    versions[version_id] = (body.replace(b"457841", b"666666"), mtime)
    filesystem = await open_filesystem()
    folder = await walk(filesystem, "v1.0.0/by-mouse")
    with pytest.raises(WrongResponse, match="its bytes are not those of its release"):
        await listing(filesystem, folder.ino)
