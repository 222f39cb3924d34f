"""The lower cache: what is sound in it is taken, what is not is fetched, and nothing is written."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

import pytest
import trio

from tests.conftest import contents
from vbofs.blocks import lower as lower_module
from vbofs.blocks.blobfile import BlobFile
from vbofs.blocks.blobmap import HEADER_SIZE
from vbofs.blocks.extents import BLOCK_SIZE, PART_SIZE, block_count, span
from vbofs.blocks.lower import LowerCache, open_lower_cache
from vbofs.blocks.store import open_store
from vbofs.errors import LowerCacheUnusable, RemoteError, SettingsInvalid
from vbofs.model import Extent
from vbofs.remote.protocol import Collected

SIZE = 5 * BLOCK_SIZE + 1000
MINE = frozenset({0, os.geteuid()})
NOBODY = 65534


@pytest.fixture
def folder(tmp_path):
    """An empty cache, as another daemon makes it."""
    open_store(tmp_path / "lower", 1 << 30)
    return tmp_path / "lower"


@pytest.fixture
def blob(put):
    return put(SIZE)[0]


CONTENT = contents(SIZE, "visual-behavior-ophys/file")


@pytest.fixture
def path(folder, blob):
    """Where the lower cache keeps the blob."""
    return folder / "blobs" / blob.ident[:2] / blob.ident


@pytest.fixture
def fill(path, blob):
    """``fill(blocks)``: another daemon keeps these blocks."""

    def put_in(blocks):
        file = BlobFile(path, blob)
        for block in blocks:
            extent = span(range(block, block + 1), SIZE)
            file.put(block, memoryview(CONTENT)[extent.start : extent.stop])
        return file

    return put_in


@pytest.fixture
def lower(remote, folder):
    return LowerCache(remote, folder, MINE)


async def fetch(store, blob, extent=None):
    extent = extent or Extent(0, SIZE)
    sink = Collected(extent.size)
    await store.fetch(blob, extent, sink)
    return sink.getvalue()


def taken(folder: Path):
    """Every file of *folder* with what an observer sees of it."""
    return {
        path: (path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


async def test_what_is_there_is_not_asked_of_the_remote(lower, remote, blob, fill, folder):
    fill(range(6))
    before = taken(folder)
    assert await fetch(lower, blob) == CONTENT
    assert (
        await fetch(lower, blob, Extent(BLOCK_SIZE, 2 * BLOCK_SIZE))
        == (CONTENT[BLOCK_SIZE : 2 * BLOCK_SIZE])
    )
    assert remote.fetched == []
    assert taken(folder) == before
    said = lower.statistics()
    assert (said.blocks, said.bytes, said.away) == (7, SIZE + BLOCK_SIZE, False)


async def test_the_remote_gives_what_follows_the_last_block_that_is_there(
    lower, remote, blob, fill
):
    fill([0, 1, 2, 4])
    assert await fetch(lower, blob) == CONTENT
    assert remote.fetched == [(3 * BLOCK_SIZE, SIZE)]


async def test_a_whole_part_is_taken_in_pieces(lower, remote, put, folder):
    size = PART_SIZE - 5
    blob, content = put(size, "visual-behavior-ophys/part")
    file = BlobFile(folder / "blobs" / blob.ident[:2] / blob.ident, blob)
    for block in range(block_count(size) - 1):
        extent = span(range(block, block + 1), size)
        file.put(block, memoryview(content)[extent.start : extent.stop])
    assert await fetch(lower, blob, Extent(0, size)) == content
    assert remote.fetched == [(PART_SIZE - BLOCK_SIZE, size)]
    assert lower.statistics().blocks == block_count(size) - 1


async def test_an_empty_lower_cache_changes_nothing(lower, remote, blob):
    assert await fetch(lower, blob) == CONTENT
    assert remote.fetched == [(0, SIZE)]
    assert lower.statistics().damaged == 0


def flip(path, offset):
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "a bit of the data": lambda path: flip(path, 2 * BLOCK_SIZE + 7),
    "a bit of a checksum": lambda path: flip(path.with_name(path.name + ".map"), HEADER_SIZE + 16),
    "data cut short": lambda path: os.truncate(path, 2 * BLOCK_SIZE + 9),
    "data gone": lambda path: os.truncate(path, 0),
    "a map cut short": lambda path: os.truncate(
        path.with_name(path.name + ".map"), HEADER_SIZE + 16
    ),
    "an empty map": lambda path: os.truncate(path.with_name(path.name + ".map"), 0),
    "a map of another blob": lambda path: flip(path.with_name(path.name + ".map"), 30),
    "a map of nonsense": lambda path: path.with_name(path.name + ".map").write_bytes(
        os.urandom(HEADER_SIZE + 8 * 6)
    ),
    "a map for a huge blob": lambda path: path.with_name(path.name + ".map").write_bytes(
        struct.pack("<8sIIQ16s", b"vbofsmap", 1, 1, 1 << 60, b"x" * 16) + b"\xff" * 4096
    ),
    "checksums with no data": lambda path: path.write_bytes(b"\0" * SIZE),
    "no data file": lambda path: path.unlink(),
    "no map file": lambda path: path.with_name(path.name + ".map").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
async def test_damage_is_a_miss(lower, remote, blob, fill, path, damage):
    fill(range(6))
    damage(path)
    assert await fetch(lower, blob) == CONTENT
    assert remote.fetched
    assert remote.fetched[0][0] in (0, 2 * BLOCK_SIZE)
    assert not lower.statistics().away


async def test_a_block_whose_map_came_before_its_data_is_a_miss(lower, remote, blob, fill, path):
    """Over NFS another node may see the two in any order."""
    fill(range(6))
    with path.open("r+b") as file:
        file.seek(BLOCK_SIZE)
        file.write(b"\0" * BLOCK_SIZE)
    assert await fetch(lower, blob) == CONTENT
    assert remote.fetched == [(BLOCK_SIZE, SIZE)]
    assert lower.statistics().damaged == 1


async def test_a_writer_may_be_at_work_meanwhile(lower, remote, blob, path):
    file = BlobFile(path, blob)
    stop = False

    def write():
        while not stop:
            for block in range(block_count(SIZE)):
                extent = span(range(block, block + 1), SIZE)
                file.put(block, memoryview(CONTENT)[extent.start : extent.stop])
            file.forget(range(1, 4))
            file.punch(Extent(0, SIZE))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, write)
        for _ in range(60):
            assert await fetch(lower, blob) == CONTENT
        stop = True
    assert lower.statistics().failed == 0


async def test_links_pipes_and_directories_in_it_are_not_followed(
    lower, remote, blob, fill, path, tmp_path, expects_log
):
    fill(range(6))
    map_path = path.with_name(path.name + ".map")
    shutil.move(path, tmp_path / "elsewhere")
    expects_log("has files that are left out", times=1)
    for make in (
        lambda: path.symlink_to(tmp_path / "elsewhere"),
        lambda: os.mkfifo(path),
        lambda: path.mkdir(),
    ):
        make()
        assert await fetch(lower, blob) == CONTENT
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    assert remote.fetched == [(0, SIZE)] * 3
    map_path.unlink()
    map_path.symlink_to(tmp_path / "elsewhere")
    assert await fetch(lower, blob) == CONTENT


async def test_what_others_can_write_is_not_read(lower, remote, blob, fill, path, expects_log):
    fill(range(6))
    expects_log("can be written by others", times=1)
    for mode in (0o664, 0o646):
        path.chmod(mode)
        assert await fetch(lower, blob) == CONTENT
    assert remote.fetched == [(0, SIZE)] * 2
    path.chmod(0o644)
    assert await fetch(lower, blob) == CONTENT
    assert len(remote.fetched) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_files_of_strangers_are_not_read_unless_their_owner_is_named(
    remote, blob, fill, path, folder, expects_log
):
    fill(range(6))
    os.chown(path, NOBODY, NOBODY)
    expects_log("belongs to user 65534", times=1)
    assert await fetch(LowerCache(remote, folder, MINE), blob) == CONTENT
    assert remote.fetched == [(0, SIZE)]
    assert await fetch(LowerCache(remote, folder, MINE | {NOBODY}), blob) == CONTENT
    assert remote.fetched == [(0, SIZE)]


async def test_what_nothing_vouches_for_is_not_taken(lower, remote, blob, fill):
    fill(range(6))
    undigested = type(blob)(blob.version, blob.size, blob.etag, blob.mtime)
    assert await fetch(lower, undigested) == CONTENT
    assert remote.fetched == [(0, SIZE)]
    lower.distrust(blob.version)
    assert await fetch(lower, blob) == CONTENT
    assert remote.fetched == [(0, SIZE)] * 2
    assert remote.distrusted == [blob.version]


async def test_an_error_of_the_remote_is_the_reader_s(lower, remote, blob, fill):
    fill([0])
    remote.failures.append((0, RemoteError("away")))
    with pytest.raises(RemoteError, match="away"):
        await fetch(lower, blob)


# --- storage that hangs: a pipe in place of a file keeps open(2) waiting, as dead NFS does


@pytest.fixture
def hang(folder):
    """A lower cache that hangs; called, it comes back."""
    place = folder / "format"
    said = place.read_bytes()
    place.unlink()
    os.mkfifo(place)

    def come_back():
        with open(place, "wb") as pipe:
            pipe.write(said)

    return come_back


async def test_storage_that_hangs_is_passed_by_until_it_is_back(
    lower, remote, blob, fill, hang, monkeypatch, expects_log
):
    fill(range(6))
    monkeypatch.setattr(lower_module, "LIMIT", 0.05)
    expects_log("is passed by for a while: it took longer than 0.05 s", times=1)
    assert await fetch(lower, blob) == CONTENT
    assert lower.statistics().away
    with trio.fail_after(1):  # Nobody is sent after the one that hangs.
        for _ in range(50):
            assert await fetch(lower, blob) == CONTENT
    assert len(remote.fetched) == 51
    assert lower._limiter.borrowed_tokens == 1
    hang()
    while lower._hangs:
        await trio.sleep(0.01)
    lower._breaker._until = 0.0
    assert await fetch(lower, blob) == CONTENT
    assert len(remote.fetched) == 51
    assert not lower.statistics().away


async def test_storage_that_hangs_at_the_start_keeps_no_mount_waiting(
    lower, hang, monkeypatch, expects_log
):
    monkeypatch.setattr(lower_module, "LIMIT", 0.05)
    expects_log("it took longer than")
    with trio.fail_after(2):
        await lower.open()
    assert lower.statistics().away
    hang()


async def test_a_reader_that_goes_away_leaves_it_as_it_was(lower, blob, hang):
    with trio.move_on_after(0.05):
        await fetch(lower, blob)
    hang()
    while lower._hangs:
        await trio.sleep(0.01)
    assert lower._breaker.is_closed


async def test_more_readers_than_threads_leave_it_as_it_was(
    lower, remote, blob, fill, hang, monkeypatch, expects_log
):
    """Those that never got a thread do not count as reads that have not come back."""
    fill(range(6))
    monkeypatch.setattr(lower_module, "LIMIT", 0.1)
    lower._limiter.total_tokens = 2
    expects_log("is passed by for a while", times=1)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(fetch, lower, blob)
    assert len(lower._given_up) == 2
    hang()  # Both threads come back.
    while lower._hangs:
        await trio.sleep(0.01)


async def test_storage_that_fails_is_passed_by(lower, remote, blob, folder, expects_log):
    (folder / "blobs").rmdir()
    (folder / "blobs").write_bytes(b"")
    expects_log("is passed by for a while")
    assert await fetch(lower, blob) == CONTENT
    assert lower.statistics().away
    assert lower.statistics().failed == 1


# --- what is refused


async def refusal(folder, owners=MINE):
    with pytest.raises(LowerCacheUnusable) as refused:
        await LowerCache(None, folder, owners).open()
    return str(refused.value)


async def test_a_folder_that_is_no_cache_is_refused(tmp_path, folder):
    assert "no cache of vbofs" in await refusal(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    assert "is not what it must be" in await refusal(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert "no cache of vbofs" in await refusal(tmp_path / "empty")
    for said in (b"", b"vbofs", b"vbofs 2", b"other 1", b"\xff" * 1000):
        (folder / "format").write_bytes(said)
        assert "another version" in await refusal(folder)


async def test_a_cache_that_others_can_write_is_refused(folder):
    (folder / "blobs").chmod(0o777)
    assert "chmod go-w" in await refusal(folder)
    (folder / "blobs").chmod(0o1777)
    assert "chmod go-w" in await refusal(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_a_stranger_s_cache_is_refused_unless_he_is_named(folder, remote, make_settings):
    for place in (folder, folder / "blobs"):
        os.chown(place, NOBODY, NOBODY)
    assert 'lower_cache_owner = "65534"' in await refusal(folder)
    for owner in ("nobody", "65534"):
        settings = make_settings(lower_cache=folder, lower_cache_owner=owner)
        assert await open_lower_cache(remote, settings) is not None


async def test_an_owner_that_nobody_knows_is_refused(folder, remote, make_settings):
    settings = make_settings(lower_cache=folder, lower_cache_owner="no-such-user")
    with pytest.raises(SettingsInvalid, match="no user 'no-such-user'"):
        await open_lower_cache(remote, settings)


async def test_without_the_setting_there_is_none(remote, settings):
    assert await open_lower_cache(remote, settings) is None
