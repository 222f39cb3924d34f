"""A cache disk that refuses for a while, shows no sign of its quota, or has been emptied."""

from __future__ import annotations

import errno
import os
import shutil
import stat

import pytest

from tests.conftest import contents
from tests.test_store import REFUSES, blob_of, fill, kept, root_only
from vbofs.blocks import blobfile, space
from vbofs.blocks.extents import BLOCK_SIZE
from vbofs.blocks.store import open_store
from vbofs.model import Extent

MIB = 1 << 20


@pytest.fixture
def disk(monkeypatch):
    """``disk(errno)``: from now on every write says that; None: it takes everything again."""
    write = blobfile.write_all
    says = []

    def written(fd, content, offset):
        says.append(disk.error)
        if disk.error:
            raise OSError(disk.error, os.strerror(disk.error))
        write(fd, content, offset)

    def disk(error):
        disk.error = error

    disk.error, disk.says = None, says
    for room in ("blobfile", "blobmap"):
        monkeypatch.setattr(f"vbofs.blocks.{room}.write_all", written)
    return disk


@pytest.fixture
def impatient(monkeypatch):
    """A disk that refused is tried again at once."""
    monkeypatch.setattr("vbofs.blocks.refusals.DESPAIR", 0.0)


@pytest.mark.parametrize("error", [errno.EIO, errno.EROFS, errno.ENODEV, errno.ESTALE])
def test_a_disk_that_takes_nothing_is_left_alone_and_said_once(store, disk, error, expects_log):
    expects_log(REFUSES, times=1)
    blob = blob_of("a", 16)
    assert fill(store, blob) == 16
    disk(error)
    file = store.file(blob)
    assert not store.put(file, 0, memoryview(bytes(BLOCK_SIZE)))
    assert store.takes_none
    asked = len(disk.says)
    assert fill(store, blob) == 0
    assert len(disk.says) == asked
    assert store.statistics().refused == 17
    assert kept(store, blob) == 16


def test_a_disk_that_takes_blocks_again_is_believed_with_the_first(
    store, disk, impatient, expects_log
):
    expects_log(REFUSES, times=1)
    blob = blob_of("a", 4)
    file = store.file(blob)
    disk(errno.EIO)
    for _ in range(3):
        assert not store.put(file, 0, memoryview(bytes(BLOCK_SIZE)))
        assert store.takes_none
    disk(None)
    assert store.takes_none
    assert fill(store, blob) == 4
    assert not store.takes_none
    assert kept(store, blob) == 4


def test_an_error_of_one_file_is_not_the_disks(store, expects_log):
    expects_log(REFUSES, times=1)
    one, other = blob_of("a"), blob_of("b")
    place = store.folder / one.ident[:2] / one.ident
    place.mkdir(parents=True)
    assert store.file(one) is None
    assert not store.takes_none
    assert fill(store, other) == 4


def test_a_quota_that_the_disk_does_not_show_evicts_a_tenth_at_a_time(
    tmp_path, monkeypatch, expects_log
):
    expects_log(REFUSES, times=1)
    store = open_store(tmp_path / "cache", 1 << 30, keep_free=0)
    write, scans = blobfile.write_all, []

    def within_quota(fd, content, offset):
        if len(content) == BLOCK_SIZE and space.disk_usage(store.folder) > 8 * MIB:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        write(fd, content, offset)

    def scanned(folder):
        scans.append(folder)
        return space.disk_usage(folder)

    for room in ("blobfile", "blobmap"):
        monkeypatch.setattr(f"vbofs.blocks.{room}.write_all", within_quota)
    monkeypatch.setattr("vbofs.blocks.room.disk_usage", scanned)
    blobs = [blob_of(name, 16) for name in "abcdefghij"]
    done = sum(fill(store, blob) for blob in blobs)
    assert store.statistics().refused == 160 - done <= 20
    assert len(scans) <= 22
    assert kept(store, blobs[-1]) >= 15
    assert store.statistics().evicted >= 160 * BLOCK_SIZE - 8 * MIB - 16 * BLOCK_SIZE


def test_a_quota_that_others_have_used_up_is_not_asked_at_every_block(store, disk, expects_log):
    expects_log(REFUSES, times=1)
    blob = blob_of("a", 64)
    file = store.file(blob)
    disk(errno.EDQUOT)
    assert fill(store, blob) == 0
    assert len(disk.says) <= 2
    assert file is not None


def test_a_cache_that_was_removed_begins_again_and_counts_what_is_written(store):
    blob = blob_of("a", 8)
    held = store.file(blob)
    assert fill(store, blob) == 8
    shutil.rmtree(store.folder.parent)
    content = contents(blob.size, "a")
    assert held.read(Extent(0, blob.size)) == content  # Its bytes are nobody's, but right.
    for n in range(8):
        piece = memoryview(content)[n * BLOCK_SIZE :][:BLOCK_SIZE]
        assert store.put(held, n, piece)
    assert store.file(blob) is not held
    assert space.disk_usage(store.folder) >= blob.size
    assert kept(store, blob) == 8
    assert (store.folder.parent / "format").read_text() == "vbofs 1\n"
    for folder in (store.folder.parent, store.folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert kept(open_store(store.folder.parent, 1 << 30), blob) == 8


def test_another_daemons_new_cache_is_found_by_whoever_only_reads(store, monkeypatch):
    blob = blob_of("a", 8)
    fill(store, blob)
    held = store.file(blob)
    shutil.rmtree(store.folder.parent)
    other = open_store(store.folder.parent, 1 << 30)
    fill(other, blob)
    assert store.file(blob) is held
    monkeypatch.setattr("vbofs.blocks.store.SWEEP", 0.0)
    assert store.file(blob) is not held
    assert kept(store, blob) == 8
    assert other.file(blob).read(Extent(0, 10)) == store.file(blob).read(Extent(0, 10))


@root_only
def test_a_cache_that_comes_back_as_somebody_elses_is_not_used(store, expects_log):
    expects_log(REFUSES, times=1)
    blob = blob_of("a", 8)
    held = store.file(blob)
    shutil.rmtree(store.folder.parent)
    store.folder.parent.mkdir(mode=0o777)
    os.chown(store.folder.parent, 65534, 65534)
    assert not store.put(held, 0, memoryview(bytes(BLOCK_SIZE)))
    assert not any(store.folder.parent.iterdir())


def test_a_place_that_can_be_neither_read_nor_mended_is_not_asked_again(store, disk, expects_log):
    expects_log(REFUSES, times=1)
    blob = blob_of("a", 4)
    assert fill(store, blob) == 4
    file = store.file(blob)
    os.truncate(store.folder / blob.ident[:2] / blob.ident, 0)
    disk(errno.EIO)
    assert file.read(Extent(0, BLOCK_SIZE)) is None
    assert store.file(blob) is None
    assert store.file(blob_of("b")) is None  # It cannot be made.
    assert store.statistics().damaged == 1


def test_damage_is_logged_with_its_place_and_both_checksums(store, caplog):
    blob = blob_of("a", 4)
    fill(store, blob)
    path = store.folder / blob.ident[:2] / blob.ident
    with path.open("r+b") as file:
        file.seek(2 * BLOCK_SIZE + 5)
        file.write(b"rotten")
    caplog.set_level("INFO")
    assert store.file(blob).read(Extent(0, blob.size)) is None
    assert f"a: block 2 at byte {2 * BLOCK_SIZE} of {path} is not what was written" in caplog.text
    assert store.statistics().damaged == 1


def test_the_look_at_what_is_used_is_not_taken_again_at_once(store, monkeypatch):
    fill(store, blob_of("a"))
    looks = []
    monkeypatch.setattr("vbofs.blocks.room.disk_usage", lambda folder: looks.append(1) or 7)
    for _ in range(5):
        store.room.look(10)
    assert not looks
    store.room.look(0)
    assert (len(looks), store.statistics().used) == (1, 7)
