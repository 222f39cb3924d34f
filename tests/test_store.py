"""The block store: room is kept, disks refuse, and neither ever reaches a reader."""

from __future__ import annotations

import os
import subprocess
import threading

import pytest

from tests.conftest import BUCKET, contents
from vbofs.blocks.extents import BLOCK_SIZE, PART_SIZE, block_count
from vbofs.blocks.store import LARGEST_DEFAULT, open_store
from vbofs.errors import CacheFull, CacheTooNew, CacheUnwritable
from vbofs.model import Blob, Extent, ObjectVersion

REFUSES = "the cache takes no more"
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a tmpfs needs root")


def blob_of(name, blocks=4):
    return Blob(ObjectVersion(BUCKET, name, "v1"), blocks * BLOCK_SIZE, "etag", 0)


def fill(store, blob):
    """Put every block; how many were kept."""
    file = store.file(blob)
    content = contents(blob.size, blob.version.key)
    pieces = [content[at : at + BLOCK_SIZE] for at in range(0, blob.size, BLOCK_SIZE)]
    return sum(store.put(file, n, memoryview(piece)) for n, piece in enumerate(pieces))


def kept(store, blob):
    """How many blocks of *blob* are here, and right."""
    file = store.file(blob)
    content = contents(blob.size, blob.version.key)
    found = 0
    for n in range(block_count(blob.size)):
        extent = Extent(n * BLOCK_SIZE, min((n + 1) * BLOCK_SIZE, blob.size))
        answer = file.read(extent) if file else None
        assert answer is None or answer == content[extent.start : extent.stop]
        found += answer is not None
    return found


def use_up(folder):
    """Leave no byte on the disk of *folder*."""
    fd = os.open(folder / "others", os.O_WRONLY | os.O_CREAT)
    try:
        with pytest.raises(OSError, match="No space"):
            while True:
                os.write(fd, b"\1" * 4096)
    finally:
        os.close(fd)


@pytest.fixture
def small_disk(tmp_path):
    """A disk with 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    subprocess.run(mount, check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


# --- what is kept


def test_blocks_are_kept_across_openings(tmp_path):
    blob = blob_of("a")
    assert fill(open_store(tmp_path, 1 << 30), blob) == 4
    again = open_store(tmp_path, 1 << 30)
    assert kept(again, blob) == 4
    again.room.look(0)
    assert again.statistics().used >= blob.size
    assert again.cached_bytes(blob) >= blob.size


def test_a_blob_that_was_never_seen_takes_no_room(store):
    assert store.cached_bytes(blob_of("a")) == 0


@pytest.mark.parametrize("name", ["", "blobs"])
def test_a_cache_that_others_may_write_is_refused(tmp_path, name):
    open_store(tmp_path / "cache", 1 << 30)
    (tmp_path / "cache" / name).chmod(0o777)
    with pytest.raises(CacheUnwritable, match="by everybody"):
        open_store(tmp_path / "cache", 1 << 30)


@root_only
def test_a_cache_of_another_user_is_refused(tmp_path):
    open_store(tmp_path / "cache", 1 << 30)
    os.chown(tmp_path / "cache" / "blobs", 65534, 65534)
    with pytest.raises(CacheUnwritable, match="another user"):
        open_store(tmp_path / "cache", 1 << 30)


def test_a_long_look_at_the_disk_keeps_no_reader_waiting(store, monkeypatch):
    blob = blob_of("a")
    file = store.file(blob)
    waited = []

    def look(folder):
        asking = threading.Thread(target=store.file, args=[blob])
        asking.start()
        asking.join(5)
        waited.append(asking.is_alive())
        return 0

    monkeypatch.setattr("vbofs.blocks.room.disk_usage", look)
    assert store.put(file, 0, memoryview(bytes(BLOCK_SIZE)))
    assert waited == [False]


def test_the_layout_is_the_one_that_is_documented(tmp_path):
    blob = blob_of("a")
    fill(open_store(tmp_path, 1 << 30), blob)
    assert (tmp_path / "blobs" / blob.ident[:2] / blob.ident).stat().st_size == blob.size
    assert (tmp_path / "blobs" / blob.ident[:2] / f"{blob.ident}.map").exists()
    assert (tmp_path / "format").read_text() == "vbofs 1\n"


def test_more_blobs_than_descriptors_are_all_served(tmp_path):
    store = open_store(tmp_path, 1 << 30, open_files=2)
    blobs = [blob_of(f"b{n}", 1) for n in range(10)]
    before = len(os.listdir("/proc/self/fd"))
    assert [fill(store, blob) for blob in blobs] == [1] * 10
    assert [kept(store, blob) for blob in blobs] == [1] * 10
    assert len(os.listdir("/proc/self/fd")) <= before + 4


def test_a_file_in_use_survives_being_closed_by_the_store(tmp_path):
    store = open_store(tmp_path, 1 << 30, open_files=1)
    blob = blob_of("a")
    fill(store, blob)
    file = store.file(blob)
    fill(store, blob_of("b"))
    assert file.read(Extent(0, blob.size)) == contents(blob.size, "a")


def test_damage_is_counted(store):
    blob = blob_of("a")
    fill(store, blob)
    path = store.folder / blob.ident[:2] / blob.ident
    path.write_bytes(b"\0" * blob.size)
    assert kept(store, blob) == 0
    assert store.statistics().damaged == 4


# --- eviction


def test_the_blob_used_longest_ago_goes_first(tmp_path):
    store = open_store(tmp_path, 10 * BLOCK_SIZE)
    a, b, c = (blob_of(name) for name in "abc")
    fill(store, a)
    fill(store, b)
    kept(store, a)
    fill(store, c)
    assert kept(store, b) == 0
    assert kept(store, a) == kept(store, c) == 4
    assert store.statistics().evicted == b.size


def test_the_limit_holds_whatever_is_read(tmp_path):
    limit = 10 * BLOCK_SIZE
    store = open_store(tmp_path, limit)
    for n in range(20):
        fill(store, blob_of(f"b{n}", 3))
        assert store.statistics().used <= limit
    assert store.statistics().used >= limit - 4 * BLOCK_SIZE  # No more than was needed.


def test_blobs_of_an_earlier_daemon_are_evicted_before_those_in_use(tmp_path):
    old = blob_of("old")
    fill(open_store(tmp_path, 1 << 30), old)
    store = open_store(tmp_path, 6 * BLOCK_SIZE)
    new = blob_of("new")
    assert fill(store, new) == 4
    assert kept(store, old) == 0
    assert kept(store, new) == 4


def test_a_blob_larger_than_the_cache_empties_itself(tmp_path):
    store = open_store(tmp_path, 4 * BLOCK_SIZE)
    assert fill(store, blob_of("large", 18)) == 18
    assert 0 < kept(store, blob_of("large", 18)) <= 4
    assert store.statistics().used <= 4 * BLOCK_SIZE


def test_a_cache_of_no_size_keeps_nothing_and_says_so_once(tmp_path, expects_log):
    expects_log(REFUSES, times=1)
    store = open_store(tmp_path, 0)
    assert fill(store, blob_of("a")) == 0
    assert kept(store, blob_of("a")) == 0
    assert store.statistics().refused == 4


def test_parts_of_an_open_file_are_evicted_one_by_one(tmp_path):
    per_part = PART_SIZE // BLOCK_SIZE
    store = open_store(tmp_path, 3 * PART_SIZE)
    blob = blob_of("large", 5 * per_part)
    assert fill(store, blob) == 5 * per_part
    file = store.file(blob)
    here = [not file.missing(range(n * per_part, (n + 1) * per_part)) for n in range(5)]
    assert here == [False, False, True, True, True]
    disk = os.stat(store.folder / blob.ident[:2] / blob.ident).st_blocks * 512
    assert disk <= 3 * PART_SIZE


@root_only
def test_some_of_the_disk_is_left_to_others(small_disk):
    store = open_store(small_disk, 1 << 30, keep_free=1 << 20)
    for n in range(4):
        assert fill(store, blob_of(f"b{n}", 4)) == 4
        assert os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize >= 1 << 20


def test_the_default_size_is_a_fifth_of_the_disk_or_the_largest(tmp_path):
    limit = open_store(tmp_path, None).statistics().limit
    total = os.statvfs(tmp_path).f_frsize * os.statvfs(tmp_path).f_blocks
    assert limit == min(total // 5, LARGEST_DEFAULT)


def test_an_open_file_that_is_evicted_has_nothing_and_can_be_filled_again(tmp_path):
    store = open_store(tmp_path, 6 * BLOCK_SIZE)
    blob = blob_of("a")
    fill(store, blob)
    file = store.file(blob)
    fill(store, blob_of("b"))
    assert file.read(Extent(0, 10)) is None
    assert fill(store, blob) == 4
    assert file.read(Extent(0, blob.size)) == contents(blob.size, "a")


# --- disks that refuse


@root_only
def test_a_full_disk_makes_room_by_itself(small_disk):
    store = open_store(small_disk, 1 << 30)
    for n in range(8):
        assert fill(store, blob_of(f"b{n}", 4)) == 4
        assert kept(store, blob_of(f"b{n}", 4)) == 4
    assert store.statistics().evicted > 0
    assert store.statistics().refused == 0


@root_only
def test_a_disk_that_others_have_filled_refuses_and_says_so_once(small_disk, expects_log):
    expects_log(REFUSES, times=1)
    store = open_store(small_disk, 1 << 30)
    file = store.file(blob_of("a"))
    use_up(small_disk)
    assert not store.put(file, 0, memoryview(contents(BLOCK_SIZE)))
    assert not store.put(file, 1, memoryview(contents(BLOCK_SIZE)))
    assert store.statistics().refused == 2
    assert kept(store, blob_of("a")) == 0


@root_only
def test_a_disk_with_no_space_at_all_is_said_when_opening(small_disk):
    use_up(small_disk)
    with pytest.raises(CacheFull, match=r"no space left.*--cache-dir"):
        open_store(small_disk / "cache", None)


@root_only
@pytest.mark.parametrize("prepared", [True, False])
def test_a_read_only_disk_is_said_when_opening(small_disk, prepared):
    if prepared:
        open_store(small_disk, None)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(CacheUnwritable, match=r"Read-only file system; use --cache-dir"):
        open_store(small_disk, None)


@root_only
def test_a_disk_that_turns_read_only_gives_no_file(small_disk, expects_log):
    expects_log(REFUSES, times=1)
    store = open_store(small_disk, None)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert store.file(blob_of("a")) is None
    assert store.file(blob_of("b")) is None


# --- a cache that is not ours to use


def test_a_cache_of_a_newer_vbofs_is_left_alone(tmp_path):
    (tmp_path / "format").write_text("vbofs 99\n")
    with pytest.raises(CacheTooNew, match="format 99, this one knows 1"):
        open_store(tmp_path, None)
    assert not (tmp_path / "blobs").exists()


@pytest.mark.parametrize("words", [b"", b"borg 1\n", b"vbofs x\n", b"vbofs 1 2", b"\xff\xfe"])
def test_a_format_that_nobody_wrote_is_refused(tmp_path, words):
    (tmp_path / "format").write_bytes(words)
    with pytest.raises(CacheUnwritable, match=r"damaged, or .* is no cache of vbofs"):
        open_store(tmp_path, None)


@pytest.mark.parametrize("name", ["", "blobs", "format"])
def test_something_else_in_the_way_is_one_line(tmp_path, name):
    cache = tmp_path / "cache"
    if name == "format":
        (cache / name).mkdir(parents=True)
    elif name:
        cache.mkdir()
        (cache / name).write_text("")
    else:
        cache.write_text("")
    with pytest.raises(CacheUnwritable) as caught:
        open_store(cache, None)
    assert "\n" not in str(caught.value)
    assert str(cache) in str(caught.value)


def test_the_cache_is_for_its_owner_only(tmp_path):
    open_store(tmp_path / "cache", None)
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0


def test_room_that_another_daemon_has_made_meanwhile_is_room(tmp_path, monkeypatch):
    store, other = (open_store(tmp_path, 6 * BLOCK_SIZE) for _ in range(2))
    assert fill(store, blob_of("a", 6)) == 6
    evict = store.room._evict

    def too_late(enough):
        monkeypatch.undo()
        assert other.room._evict(6 * BLOCK_SIZE)
        return evict(enough)

    monkeypatch.setattr(store.room, "_evict", too_late)
    assert fill(store, blob_of("b", 2)) == 2
    assert not store.takes_none
