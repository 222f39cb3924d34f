"""Block arithmetic: nothing is lost between bytes and blocks, and no request leaves its part."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vbofs.blocks.extents import (
    BLOCK_SIZE,
    BLOCKS_PER_PART,
    PART_SIZE,
    block_count,
    clipped,
    covering,
    runs,
    span,
)
from vbofs.model import Extent

SIZES = st.integers(0, 40 * BLOCK_SIZE)


@given(SIZES, SIZES, SIZES)
def test_a_read_is_clipped_as_read_2_has_it(offset, length, size):
    extent = clipped(offset, length, size)
    truth = range(size)[offset : offset + length]
    assert extent.size == len(truth)
    if truth:
        assert extent == (truth.start, truth.stop)


@pytest.mark.parametrize("offset", [-1, -BLOCK_SIZE])
def test_a_read_before_the_beginning_is_clipped_too(offset):
    assert clipped(offset, BLOCK_SIZE, 10 * BLOCK_SIZE).start == 0


@given(SIZES, SIZES)
def test_the_blocks_that_cover_an_extent_are_the_fewest(start, length):
    extent = Extent(start, start + length)
    blocks = covering(extent)
    touched = {byte // BLOCK_SIZE for byte in (start, start + length - 1) if length}
    assert touched <= set(blocks)
    assert len(blocks) == (max(touched) - min(touched) + 1 if touched else 0)


@given(SIZES.filter(bool))
def test_the_blocks_of_a_blob_span_it_exactly(size):
    every = range(block_count(size))
    assert covering(Extent(0, size)) == every
    assert span(every, size) == (0, size)
    assert 0 < span(every[-1:], size).size <= BLOCK_SIZE


def test_an_empty_blob_has_no_blocks():
    assert block_count(0) == 0
    assert not covering(Extent(0, 0))


@given(st.sets(st.integers(0, 4 * BLOCKS_PER_PART)))
def test_runs_hold_every_block_once_and_none_crosses_a_part(blocks):
    found = list(runs(sorted(blocks)))
    assert [block for run in found for block in run] == sorted(blocks)
    for run in found:
        assert run[0] // BLOCKS_PER_PART == run[-1] // BLOCKS_PER_PART


@given(st.sets(st.integers(0, 4 * BLOCKS_PER_PART)))
def test_runs_are_as_long_as_they_may_be(blocks):
    found = list(runs(sorted(blocks)))
    for one, other in itertools.pairwise(found):
        assert one.stop < other.start or other.start % BLOCKS_PER_PART == 0


def test_a_part_is_a_whole_number_of_blocks():
    assert PART_SIZE == BLOCKS_PER_PART * BLOCK_SIZE
