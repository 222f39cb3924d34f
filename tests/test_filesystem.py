"""The file system: names, inodes and bytes, and when it asks the dataset for what it lacks."""

from __future__ import annotations

import stat

import pytest
import trio

from tests.conftest import PROJECT, contents, manifest_name
from vbofs.blocks.extents import BLOCK_SIZE
from vbofs.catalog.tree import ROOT, Directory
from vbofs.catalog.views import VIEWS
from vbofs.errors import NoSuchName, RemoteError

FILES = {"sessions/1.nwb": contents(3 * BLOCK_SIZE, 1), "sessions/2.nwb": b"two"}
CORRECTED = {**FILES, "sessions/2.nwb": b"two, corrected"}


@pytest.fixture
def published(publisher):
    publisher.release("1.0.0", FILES)
    publisher.release("1.0.1", CORRECTED)
    publisher.put("README.md", b"read me")
    return publisher


async def walk(filesystem, path):
    node = filesystem.node(ROOT)
    for name in path.split("/"):
        node = await filesystem.lookup(node.ino, name.encode())
    return node


async def listing(filesystem, ino=ROOT):
    return [name.decode() for name, _ in await filesystem.entries(ino)]


async def read(filesystem, path, offset=0, size=1 << 20):
    ino = (await walk(filesystem, path)).ino
    filesystem.open(ino)
    try:
        return bytes(await filesystem.read(ino, offset, size))
    finally:
        filesystem.close(ino)


# --- names


async def test_the_root_shows_releases_latest_manifests_and_what_lies_there(
    published, open_filesystem
):
    filesystem = await open_filesystem()
    expected = [".", "..", "README.md", "allensdk", "latest", "manifests", "v1.0.0", "v1.0.1"]
    assert await listing(filesystem) == expected
    assert filesystem.built == []


async def test_looking_into_a_release_builds_it_and_no_other(published, open_filesystem):
    filesystem = await open_filesystem()
    folder = await filesystem.lookup(ROOT, b"v1.0.1")
    expected = [".", "..", *sorted(VIEWS), "project_metadata", "sessions"]
    assert await listing(filesystem, folder.ino) == expected
    assert filesystem.built == ["1.0.1"]


async def test_the_dots_are_the_directory_and_the_one_above(published, open_filesystem):
    filesystem = await open_filesystem()
    folder = await walk(filesystem, "v1.0.0/sessions")
    above = await walk(filesystem, "v1.0.0")
    dots = dict(await filesystem.entries(folder.ino))
    assert (dots[b"."].ino, dots[b".."].ino) == (folder.ino, above.ino)
    assert dict(await filesystem.entries(ROOT))[b".."].ino == ROOT


@pytest.mark.parametrize("path", ["nobody", "v9.9.9", "v1.0.0/nobody", "v1.0.0/sessions/3.nwb"])
async def test_a_name_that_is_not_there_is_no_news(published, open_filesystem, path):
    with pytest.raises(NoSuchName):
        await walk(await open_filesystem(), path)


async def test_a_name_that_is_not_utf8_is_merely_not_there(published, open_filesystem):
    with pytest.raises(NoSuchName):
        await (await open_filesystem()).lookup(ROOT, b"\xff\xfe")


async def test_latest_points_at_the_highest_release(published, open_filesystem):
    filesystem = await open_filesystem()
    latest = await filesystem.lookup(ROOT, b"latest")
    assert filesystem.target(latest.ino) == b"v1.0.1"
    with pytest.raises(NoSuchName):
        filesystem.target(ROOT)


async def test_files_that_two_releases_share_are_one_inode(published, open_filesystem):
    filesystem = await open_filesystem()
    inodes = [
        (await walk(filesystem, f"{release}/sessions/{n}.nwb")).ino
        for n in (1, 2)
        for release in ("v1.0.0", "v1.0.1")
    ]
    assert inodes[0] == inodes[1]
    assert inodes[2] != inodes[3]


async def test_attributes_say_read_only(published, open_filesystem):
    filesystem = await open_filesystem()
    for path in ("v1.0.0", "v1.0.0/sessions", "v1.0.0/sessions/1.nwb", "manifests", "README.md"):
        attrs = filesystem.attrs(await walk(filesystem, path))
        assert not attrs.mode & 0o222
        assert attrs.mtime == 1_600_000_000
    assert attrs.size == 7
    assert stat.S_ISREG(attrs.mode)


async def test_a_manifest_is_a_file_with_its_own_bytes(published, memory, open_filesystem):
    filesystem = await open_filesystem()
    name = manifest_name("1.0.0")
    [(content, _)] = memory._objects[f"{PROJECT}/manifests/{name}"].values()
    assert await read(filesystem, f"manifests/{name}") == content
    folder = await filesystem.lookup(ROOT, b"manifests")
    assert await listing(filesystem, folder.ino) == [".", "..", name, manifest_name("1.0.1")]


async def test_only_the_root_and_the_manifests_ever_change(published, open_filesystem):
    filesystem = await open_filesystem()
    folders = [await walk(filesystem, path) for path in ("v1.0.0", "v1.0.0/sessions")]
    assert all(filesystem.is_lasting(folder.ino) for folder in folders)
    assert not filesystem.is_lasting(ROOT)
    assert not filesystem.is_lasting((await walk(filesystem, "manifests")).ino)


async def test_a_file_at_the_root_that_has_one_of_our_names_does_not_hide_it(
    published, open_filesystem
):
    for name in ("latest", "manifests", "v1.0.0"):
        published.put(name, b"an impostor")
    filesystem = await open_filesystem()
    assert isinstance(await filesystem.lookup(ROOT, b"v1.0.0"), Directory)
    assert isinstance(await filesystem.lookup(ROOT, b"manifests"), Directory)
    assert filesystem.target((await filesystem.lookup(ROOT, b"latest")).ino) == b"v1.0.1"


async def test_a_release_that_cannot_be_built_today_can_be_tomorrow(
    published, remote, open_filesystem
):
    filesystem = await open_filesystem()
    remote.page_errors.append(RemoteError("broken line"))
    with pytest.raises(RemoteError):
        await walk(filesystem, "v1.0.0/sessions")
    assert isinstance(await walk(filesystem, "v1.0.0/sessions"), Directory)


async def test_a_release_looked_into_by_many_is_built_once(published, memory, open_filesystem):
    filesystem = await open_filesystem()
    before = memory.requests().list
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(walk, filesystem, "v1.0.0/sessions/1.nwb")
    assert memory.requests().list - before == 1
    assert repr(filesystem) == f"<Filesystem {filesystem.tree!r}>"


# --- sizes


async def test_the_size_of_the_file_system_counts_each_object_once(published, open_filesystem):
    filesystem = await open_filesystem()
    first = await filesystem.size()
    assert filesystem.built == ["1.0.1"]
    await walk(filesystem, "v1.0.0/sessions")
    size, count = await filesystem.size()
    assert (size, count) == (first[0] + len(b"two"), first[1] + 1)


async def test_df_does_not_hang_on_a_slow_bucket(
    published, remote, open_filesystem, autojump_clock
):
    filesystem = await open_filesystem()
    remote.page_delay = 1000
    start = trio.current_time()
    await filesystem.size()
    assert trio.current_time() - start < 10


async def test_df_answers_when_the_bucket_does_not(published, remote, open_filesystem, expects_log):
    expects_log("the size of v1.0.1 is not known: broken line")
    filesystem = await open_filesystem()
    remote.page_errors.append(RemoteError("broken line"))
    assert (await filesystem.size())[1] == 3  # The manifests and README.md.


# --- bytes


async def test_files_read_as_what_was_published(published, open_filesystem):
    filesystem = await open_filesystem()
    for release, files in (("v1.0.0", FILES), ("v1.0.1", CORRECTED)):
        for path, body in files.items():
            assert await read(filesystem, f"{release}/{path}") == body


async def test_a_file_shared_by_two_releases_is_fetched_once(published, remote, open_filesystem):
    filesystem = await open_filesystem()
    await read(filesystem, "v1.0.0/sessions/1.nwb")
    remote.fetched.clear()
    assert await read(filesystem, "v1.0.1/sessions/1.nwb") == FILES["sessions/1.nwb"]
    assert remote.fetched == []


async def test_handles_are_counted_and_the_last_one_ends_the_read_ahead(
    published, fetcher, open_filesystem
):
    filesystem = await open_filesystem()
    ino = (await walk(filesystem, "v1.0.0/sessions/1.nwb")).ino
    for _ in range(3):
        filesystem.open(ino)
    assert (filesystem.statistics().handles, filesystem.statistics().files) == (3, 1)
    assert await filesystem.read(ino, 5, 7) == FILES["sessions/1.nwb"][5:12]
    for _ in range(3):
        filesystem.close(ino)
    statistics = filesystem.statistics()
    assert (statistics.handles, statistics.files) == (0, 0)
    assert (statistics.reads, statistics.bytes) == (1, 7)


async def test_a_directory_cannot_be_opened_as_a_file(published, open_filesystem):
    with pytest.raises(NoSuchName):
        (await open_filesystem()).open(ROOT)
