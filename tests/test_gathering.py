"""Bytes of a request on their way to the disk: all of them, in order, in whole blocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import contents
from vbofs.blocks.extents import BLOCK_SIZE
from vbofs.blocks.gathering import GATHERED, PAUSE, Gathering
from vbofs.model import Extent

START, STOP = 3 * BLOCK_SIZE, 14 * BLOCK_SIZE + 99
CONTENT = contents(STOP)


def pour(gathering, kept, pieces):
    """Pour all of it in *pieces* of so many bytes, the last of them again and again."""
    at, sizes = gathering.start, iter(pieces)
    size = BLOCK_SIZE
    while at < STOP:
        size = next(sizes, size)
        room = gathering.get_buffer()
        step = min(size, len(room), STOP - at)
        room[:step] = CONTENT[at : at + step]
        at += step
        if gathering.add(step):
            kept.append((gathering.start, bytes(gathering.whole)))
            gathering.take()


@given(
    st.lists(st.integers(1, 2 * GATHERED), min_size=1, max_size=30),
    st.sets(st.integers(4, 15).map(lambda block: block * BLOCK_SIZE)),
)
def test_all_of_it_is_kept_in_order_and_in_whole_blocks(pieces, awaited):
    kept: list[tuple[int, bytes]] = []
    gathering = Gathering(Extent(START, STOP), awaited.__contains__)
    pour(gathering, kept, [max(piece, 512) for piece in pieces])
    assert b"".join(content for _, content in kept) == CONTENT[START:]
    assert all(start % BLOCK_SIZE == 0 for start, _ in kept)
    assert all(len(content) % BLOCK_SIZE == 0 for _, content in kept[:-1])
    assert max(len(content) for _, content in kept) <= GATHERED
    assert gathering.start == STOP
    assert gathering.is_empty


@pytest.mark.parametrize("awaited", [True, False])
def test_what_somebody_waits_for_is_kept_at_once_and_the_rest_a_few_at_a_time(awaited):
    kept: list[tuple[int, bytes]] = []
    pour(Gathering(Extent(START, STOP), lambda stop: awaited), kept, [BLOCK_SIZE])
    assert [len(content) for _, content in kept][:2] == 2 * [BLOCK_SIZE if awaited else GATHERED]


def test_a_block_does_not_lie_about(monkeypatch):
    moments = iter([10.0, 10.0 + PAUSE / 2, 10.0 + 2 * PAUSE])
    monkeypatch.setattr("time.monotonic", lambda: next(moments))
    gathering = Gathering(Extent(START, STOP), lambda stop: False)
    gathering.get_buffer()
    assert not gathering.add(BLOCK_SIZE)
    assert not gathering.add(1)
    assert gathering.add(1)
    assert len(gathering.whole) == BLOCK_SIZE


def test_what_another_process_has_kept_is_not_gathered():
    gathering = Gathering(Extent(START, STOP), lambda stop: False)
    gathering.skip(2 * BLOCK_SIZE)
    kept: list[tuple[int, bytes]] = []
    pour(gathering, kept, [STOP])
    assert kept[0][0] == START + 2 * BLOCK_SIZE
    assert b"".join(content for _, content in kept) == CONTENT[START + 2 * BLOCK_SIZE :]
