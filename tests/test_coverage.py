"""What is on disk of a blob, found out without making anything."""

from __future__ import annotations

import os

import hypothesis
from hypothesis import strategies as st

from tests.conftest import contents
from tests.kept_blobs import keep, place
from vbofs.blocks.coverage import bytes_of, drop, look, room_of
from vbofs.blocks.extents import BLOCK_SIZE
from vbofs.blocks.store import open_store
from vbofs.model import Extent
from vbofs.remote.memory import MemoryObjectStore

SIZE = 9 * BLOCK_SIZE + 100


def test_looking_at_what_is_not_here_makes_nothing(store, memory):
    blob = memory.put("x", contents(SIZE))
    coverage = look(store.folder, blob)
    assert (coverage.bytes, coverage.is_complete, coverage.verified) == (0, False, False)
    assert coverage.missing() == list(range(10))
    assert coverage.extents() == []
    assert room_of(store.folder, blob) == drop(store.folder, blob) == 0
    assert list(store.folder.iterdir()) == []


@hypothesis.given(blocks=st.sets(st.integers(0, 9)))
def test_it_says_what_the_blobs_own_file_says(tmp_path_factory, blocks):
    store = open_store(tmp_path_factory.mktemp("c") / "cache", 1 << 30)
    blob, _ = keep(store, MemoryObjectStore("b"), SIZE, blocks=sorted(blocks))
    coverage = look(store.folder, blob)
    assert coverage.missing() == store.file(blob).missing(range(10))
    assert coverage.bytes == bytes_of(blob, blocks) == sum(e.size for e in coverage.extents())
    assert coverage.is_complete == store.file(blob).is_complete()


def test_stretches_are_joined_across_parts_and_the_last_block_is_short(store, memory):
    blob, _ = keep(store, memory, 70 * BLOCK_SIZE + 5, blocks=[0, *range(60, 71)])
    assert look(store.folder, blob).extents() == [
        Extent(0, BLOCK_SIZE),
        Extent(60 * BLOCK_SIZE, 70 * BLOCK_SIZE + 5),
    ]


def test_verified_is_told(store, memory):
    blob, _ = keep(store, memory, SIZE)
    assert not look(store.folder, blob).verified
    store.file(blob).mark_verified()
    assert look(store.folder, blob).verified


def test_a_map_that_is_not_the_blobs_own_says_nothing(store, memory):
    blob, _ = keep(store, memory, SIZE)
    whole = place(store, blob, ".map").read_bytes()
    for damaged in (b"", b"x" * 100, whole[:30], b"X" + whole[1:], whole + b"more"):
        place(store, blob, ".map").write_bytes(damaged)
        assert look(store.folder, blob).bytes == 0
    place(store, blob, ".map").write_bytes(whole[:-8])  # Cut short: the rest is not here.
    assert look(store.folder, blob).missing() == [9]
    place(store, blob, ".map").unlink()
    place(store, blob, ".map").mkdir()
    assert look(store.folder, blob).bytes == 0


def test_dropping_gives_the_room_back_under_an_open_file(store, memory):
    blob, _ = keep(store, memory, SIZE)
    file = store.file(blob)
    room = room_of(store.folder, blob)
    assert room >= SIZE
    assert drop(store.folder, blob) == room
    assert file.read(Extent(0, SIZE)) is None
    assert file.missing(range(10)) == list(range(10))
    assert os.stat(place(store, blob)).st_size == SIZE
