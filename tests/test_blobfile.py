"""One blob on disk: whatever a crash or a stranger leaves there, no wrong byte comes out."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import BUCKET, contents
from vbofs.blocks.blobfile import BlobFile
from vbofs.blocks.blobmap import HEADER_SIZE, SLOT_SIZE, STAMP_OFFSET, map_size
from vbofs.blocks.extents import BLOCK_SIZE, block_count, covering, span
from vbofs.model import Blob, Extent, ObjectVersion

SIZE = 5 * BLOCK_SIZE + 1000
CONTENT = contents(SIZE)
ALL = range(block_count(SIZE))
WHOLE = Extent(0, SIZE)
NOT_OURS = "not the map that belongs there"


def blob_of(size=SIZE, key="key", etag="etag"):
    return Blob(ObjectVersion(BUCKET, key, "v1"), size, etag, 0)


def block(number):
    start, stop = span(range(number, number + 1), SIZE)
    return memoryview(CONTENT)[start:stop]


def fill(file, blocks=ALL):
    for number in blocks:
        file.put(number, block(number))
    return file


@pytest.fixture
def path(tmp_path):
    return tmp_path / "aa" / "blob"


@pytest.fixture
def map_path(path):
    return path.with_name("blob.map")


@pytest.fixture
def full(path):
    return fill(BlobFile(path, blob_of()))


def test_a_new_blob_file_has_nothing(path):
    file = BlobFile(path, blob_of())
    assert file.missing(ALL) == list(ALL)
    assert file.read(WHOLE) is None


def test_what_was_put_is_read(full):
    assert full.missing(ALL) == []
    assert full.read(WHOLE) == CONTENT


@given(st.integers(0, SIZE - 1), st.integers(1, SIZE))
def test_any_extent_of_a_full_file_is_exact(tmp_path_factory, start, length):
    file = fill(BlobFile(tmp_path_factory.mktemp("blob") / "b", blob_of()))
    extent = Extent(start, min(start + length, SIZE))
    assert file.read(extent) == CONTENT[extent.start : extent.stop]


@given(st.sets(st.sampled_from(ALL)), st.integers(0, SIZE - 1), st.integers(1, SIZE))
def test_an_extent_is_read_if_and_only_if_all_its_blocks_are_here(
    tmp_path_factory, here, start, length
):
    file = fill(BlobFile(tmp_path_factory.mktemp("blob") / "b", blob_of()), here)
    extent = Extent(start, min(start + length, SIZE))
    answer = file.read(extent)
    assert file.missing(ALL) == [n for n in ALL if n not in here]
    if set(covering(extent)) <= here:
        assert answer == CONTENT[extent.start : extent.stop]
    else:
        assert answer is None


def test_a_file_opened_again_remembers(full, path):
    assert BlobFile(path, blob_of()).read(WHOLE) == CONTENT


def test_two_blob_files_on_one_path_see_each_other(path):
    one, other = BlobFile(path, blob_of()), BlobFile(path, blob_of())
    fill(one, [0, 1])
    fill(other, [2, 3, 4, 5])
    assert one.read(WHOLE) == other.read(WHOLE) == CONTENT


def test_the_data_file_is_the_object_itself(full, path):
    assert path.read_bytes() == CONTENT


def test_the_files_are_for_their_owner_only(full, path, map_path):
    assert path.stat().st_mode & 0o077 == map_path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_a_cache_that_its_owner_has_opened_can_be_read_by_all(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs").chmod(0o755)
    path = tmp_path / "blobs" / "aa" / "blob"
    old = os.umask(0o022)
    try:
        BlobFile(path, blob_of())
    finally:
        os.umask(old)
    places = (path.parent, path, path.with_name("blob.map"))
    assert [place.stat().st_mode & 0o777 for place in places] == [0o755, 0o644, 0o644]


def test_no_draft_is_left(full, path):
    assert sorted(os.listdir(path.parent)) == ["blob", "blob.map"]


# --- what a crash leaves


def test_data_without_a_map_is_not_believed(full, path, map_path):
    map_path.unlink()
    again = BlobFile(path, blob_of())
    assert again.missing(ALL) == list(ALL)
    assert again.read(WHOLE) is None


def test_a_map_without_data_is_not_believed(full, path):
    path.unlink()
    noted = []
    again = BlobFile(path, blob_of(), noted.append)
    assert again.read(WHOLE) is None
    assert again.missing(ALL) == list(ALL)
    assert noted == [len(ALL)]


def test_a_block_marked_before_its_bytes_arrived_is_a_miss(full, path):
    with open(path, "r+b") as data:
        data.seek(2 * BLOCK_SIZE)
        data.write(b"\0" * BLOCK_SIZE)
    assert full.read(WHOLE) is None
    assert full.missing(ALL) == [2]


@given(st.integers(0, SIZE - 1), st.integers(1, 255))
def test_a_damaged_byte_is_a_miss_and_its_block_alone_is_forgotten(tmp_path_factory, at, flip):
    path = tmp_path_factory.mktemp("blob") / "b"
    file = fill(BlobFile(path, blob_of()))
    with open(path, "r+b") as data:
        data.seek(at)
        data.write(bytes([CONTENT[at] ^ flip]))
    assert file.read(Extent(at, at + 1)) is None
    assert file.missing(ALL) == [at // BLOCK_SIZE]
    file.put(at // BLOCK_SIZE, block(at // BLOCK_SIZE))
    assert file.read(WHOLE) == CONTENT


@given(st.integers(0, SIZE - 1))
def test_a_data_file_cut_short_is_missing_what_is_gone(tmp_path_factory, length):
    path = tmp_path_factory.mktemp("blob") / "b"
    file = fill(BlobFile(path, blob_of()))
    os.truncate(path, length)
    assert file.read(WHOLE) is None
    assert file.missing(ALL) == [n for n in ALL if span(range(n, n + 1), SIZE).stop > length]


@given(st.integers(0, map_size(SIZE) - 1))
def test_a_map_cut_short_has_no_opinion_on_the_rest(tmp_path_factory, length):
    path = tmp_path_factory.mktemp("blob") / "b"
    file = fill(BlobFile(path, blob_of()))
    os.truncate(path.with_name("b.map"), length)
    whole = max(0, length - HEADER_SIZE) // SLOT_SIZE
    assert set(file.missing(ALL)) >= set(ALL[whole + 1 :])
    assert file.read(WHOLE) is None
    fill(file)
    assert file.read(WHOLE) == CONTENT


@given(st.integers(HEADER_SIZE, map_size(SIZE) - 1), st.integers(1, 255))
def test_a_damaged_slot_makes_its_block_a_miss(tmp_path_factory, at, flip):
    path = tmp_path_factory.mktemp("blob") / "b"
    file = fill(BlobFile(path, blob_of()))
    with open(path.with_name("b.map"), "r+b") as marks:
        marks.seek(at)
        byte = marks.read(1)[0]
        marks.seek(at)
        marks.write(bytes([byte ^ flip]))
    assert file.read(WHOLE) is None
    assert file.missing(ALL) == [(at - HEADER_SIZE) // SLOT_SIZE]


@pytest.mark.parametrize("at", range(0, STAMP_OFFSET, 5))
def test_a_damaged_header_costs_the_blocks_and_nothing_else(full, path, map_path, at, expects_log):
    expects_log(NOT_OURS)
    marks = bytearray(map_path.read_bytes())
    marks[at] ^= 1
    map_path.write_bytes(marks)
    again = BlobFile(path, blob_of())
    assert again.missing(ALL) == list(ALL)
    assert fill(again).read(WHOLE) == CONTENT


@pytest.mark.parametrize("length", [0, 1, STAMP_OFFSET - 1])
def test_a_map_without_its_header_is_made_anew(full, path, map_path, length, expects_log):
    expects_log(NOT_OURS)
    os.truncate(map_path, length)
    assert BlobFile(path, blob_of()).missing(ALL) == list(ALL)


def test_the_map_of_another_blob_is_not_believed(full, path, expects_log):
    expects_log(NOT_OURS)
    assert BlobFile(path, blob_of(key="other")).missing(ALL) == list(ALL)


def test_the_map_of_another_size_is_not_believed(full, path, expects_log):
    expects_log(NOT_OURS)
    other = BlobFile(path, blob_of(size=SIZE - BLOCK_SIZE))
    assert other.missing(ALL[:-1]) == list(ALL[:-1])
    assert path.stat().st_size == SIZE - BLOCK_SIZE


def test_one_who_holds_an_old_map_reads_no_wrong_byte(full, path, expects_log):
    """A stranger's blob takes the path over while a reader has the files open."""
    expects_log(NOT_OURS)
    stranger = BlobFile(path, blob_of(key="other"))
    stranger.put(0, memoryview(contents(BLOCK_SIZE, "other")))
    assert full.read(Extent(0, 10)) is None


def test_a_path_that_is_a_directory_is_an_os_error_and_leaks_no_descriptor(path):
    path.mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(OSError, match="directory"):
            BlobFile(path, blob_of())
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_is_dropped_closes_its_descriptors(path):
    before = len(os.listdir("/proc/self/fd"))
    fill(BlobFile(path, blob_of()))
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_empty_blob_has_a_place_and_no_blocks(path):
    assert BlobFile(path, blob_of(size=0)).missing(range(0)) == []


def test_an_unversioned_blob_is_told_apart_by_its_etag():
    version = ObjectVersion(BUCKET, "key", "null")
    assert Blob(version, 1, "a", 0).ident != Blob(version, 1, "b", 0).ident
    assert blob_of(etag="a").ident == blob_of(etag="b").ident
