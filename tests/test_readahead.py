"""The read-ahead policy: sequential readers are served before they ask, random ones pay nothing."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vbofs.blocks.extents import BLOCK_SIZE
from vbofs.blocks.readahead import FIRST_WINDOW, LARGEST_WINDOW, STREAMS, ReadAhead
from vbofs.model import Extent

KIB, MIB = 1 << 10, 1 << 20
PIECE = 128 * KIB
SIZE = 1 << 30


def reads(start, count, step=PIECE):
    return [Extent(start + n * step, start + (n + 1) * step) for n in range(count)]


def asked(policy, pieces):
    """What *policy* asks for, in order, the empty answers left out."""
    return [extent for piece in pieces if (extent := policy.observe(piece)).size]


def assert_nothing_is_asked_for_twice(extents):
    for one, other in itertools.pairwise(extents):
        assert one.stop <= other.start


def test_a_first_read_asks_for_nothing():
    assert ReadAhead(SIZE).observe(Extent(0, PIECE)).size == 0


def test_the_second_read_in_a_row_opens_the_window():
    [extent] = asked(ReadAhead(SIZE), reads(0, 2))
    assert extent == (2 * PIECE, 2 * PIECE + FIRST_WINDOW)


def test_the_window_of_a_sequential_reader_grows_to_the_largest_and_no_further():
    policy = ReadAhead(SIZE)
    extents = asked(policy, reads(0, 3000))
    assert_nothing_is_asked_for_twice(extents)
    assert max(extent.size for extent in extents) <= LARGEST_WINDOW
    assert extents[-1].stop - 3000 * PIECE > LARGEST_WINDOW // 4


def test_a_sequential_reader_never_overtakes_its_read_ahead():
    policy, ready = ReadAhead(SIZE), 2 * PIECE
    for n, piece in enumerate(reads(0, 2000)):
        assert n < 2 or piece.stop <= ready
        ready = max(ready, policy.observe(piece).stop)


def test_what_is_asked_for_leaves_no_gap():
    policy = ReadAhead(SIZE)
    extents = asked(policy, reads(0, 500))
    for one, other in itertools.pairwise(extents):
        assert one.stop == other.start


def test_reads_that_the_kernel_sends_out_of_order_are_still_one_stream():
    chance = random.Random(1)
    pieces = []
    for group in range(60):
        four = reads(group * 4 * PIECE, 4)
        chance.shuffle(four)
        pieces += four
    # The very first may be taken for its own stream, if later ones lie before it.
    extents = asked(ReadAhead(SIZE), reads(0, 2) + pieces[4:])
    assert_nothing_is_asked_for_twice(extents)
    assert sum(extent.size for extent in extents) > 8 * MIB


def test_a_random_reader_gets_nothing():
    chance = random.Random(2)
    places = chance.sample(range(0, SIZE, 4 * MIB), 200)
    assert asked(ReadAhead(SIZE), [Extent(at, at + PIECE) for at in places]) == []


def test_interleaved_streams_each_have_their_window():
    streams = [reads(n * 64 * MIB, 40) for n in range(STREAMS)]
    policy = ReadAhead(SIZE)
    extents = asked(policy, [piece for turn in zip(*streams, strict=True) for piece in turn])
    for n in range(STREAMS):
        own = [e for e in extents if n * 64 * MIB <= e.start < (n + 1) * 64 * MIB]
        assert_nothing_is_asked_for_twice(own)
        assert own[-1].stop - n * 64 * MIB >= 40 * PIECE


def test_more_streams_than_are_followed_forget_the_oldest_only():
    policy = ReadAhead(SIZE)
    for n in range(STREAMS + 1):
        policy.observe(reads(n * 64 * MIB, 1)[0])
    assert policy.observe(Extent(PIECE, 2 * PIECE)).size == 0
    assert policy.observe(Extent(8 * 64 * MIB + PIECE, 8 * 64 * MIB + 2 * PIECE)).size > 0


def test_reading_the_same_place_again_and_again_asks_for_no_more_than_a_window():
    policy = ReadAhead(SIZE)
    extents = asked(policy, [Extent(0, PIECE)] * 200)
    assert sum(extent.size for extent in extents) <= 2 * FIRST_WINDOW


@given(
    st.integers(1, 64 * MIB),
    st.lists(st.tuples(st.integers(0, 64 * MIB), st.integers(1, MIB)), max_size=60),
)
def test_nothing_beyond_the_end_or_behind_the_read_is_ever_asked_for(size, places):
    policy = ReadAhead(size)
    for offset, length in places:
        read = Extent(min(offset, size - 1), min(offset + length, size))
        if read.size <= 0:
            continue
        extent = policy.observe(read)
        assert 0 <= extent.start <= extent.stop <= size
        assert not extent.size or extent.start >= read.stop


def test_inside_a_known_array_it_is_bold_and_ends_with_the_array():
    array = Extent(100 << 20, (100 << 20) + 15_000_000)
    policy = ReadAhead(1 << 30)
    asked, calls, at = [], 0, array.start
    while at < array.stop:
        read = Extent(at, min(at + PIECE, array.stop))
        extent = policy.observe(read, array)
        if extent.size:
            calls += 1
            asked.append(extent)
        at = read.stop
    assert max(extent.stop for extent in asked) == array.stop + PIECE  # The kernel will run on.
    assert asked[0].start == array.start + 2 * PIECE
    assert calls <= 5


def read_through(policy, array, *, overrun=0, following=None):
    """Read all of *array*, and as the kernel does on its own account *overrun* bytes beyond it."""
    asked = []
    for at in range(array.start, array.stop + overrun, PIECE):
        read = Extent(at, min(at + PIECE, array.stop + overrun))
        extent = policy.observe(read, array if read.stop <= array.stop else following)
        if extent.size:
            asked.append(extent)
    return asked


def arrays(count, size=15_000_000):
    """So many arrays, one after the other, with a block of metadata between them."""
    return [
        Extent(n * (size + 64 * KIB), n * (size + 64 * KIB) + size) for n in range(1, count + 1)
    ]


def test_the_kernel_running_into_the_next_array_has_nothing_more_of_it_fetched():
    first, following = arrays(2)
    asked = read_through(ReadAhead(SIZE), first, overrun=MIB, following=following)
    assert max(extent.stop for extent in asked) == first.stop + PIECE


@pytest.mark.parametrize("size", [PIECE, MIB])
def test_what_the_kernel_runs_on_into_is_there_before_the_reader_waits_for_it(size):
    (array,) = arrays(1)
    policy = ReadAhead(SIZE)
    pieces = [Extent(at, at + size) for at in range(array.start, array.stop, size)]
    asked = [policy.observe(piece, array) for piece in pieces]
    # One block more than that: a page that is there already shifts where the requests end.
    needed = min(pieces[-1].stop + BLOCK_SIZE, array.stop + size)
    assert max(extent.stop for extent in asked) == needed


def test_as_long_as_the_kernel_reads_more_each_time_all_that_it_may_read_next_is_there():
    array = Extent(10 * MIB, 11 * MIB)
    policy = ReadAhead(SIZE)
    at, size, asked = array.start, 64 * KIB, []
    while at < array.stop:
        asked.append(policy.observe(Extent(at, at + size), array))
        at, size = at + size, 2 * size
    assert max(extent.stop for extent in asked) >= at


def test_a_small_array_that_follows_is_fetched_with_the_one_to_which_a_reader_has_gone():
    first = Extent(100 * MIB, 101 * MIB)
    times = Extent(first.stop + 2 * KIB, first.stop + 2 * KIB + MIB)
    far = Extent(first.stop + MIB, first.stop + 2 * MIB)
    larger = Extent(times.start, times.stop + 1)
    pieces = [Extent(at, at + PIECE) for at in range(first.start, first.stop, PIECE)]
    for following, end in [(times, times), (far, first), (larger, first), (None, first)]:
        policy = ReadAhead(SIZE)
        asked = [policy.observe(piece, first, following) for piece in pieces]
        assert max(extent.stop for extent in asked) == end.stop + PIECE


def test_the_companion_of_an_array_into_which_the_kernel_has_run_is_left_alone():
    first, second, third = (Extent(n * MIB, (n + 1) * MIB) for n in (100, 101, 102))
    policy = ReadAhead(SIZE)
    for at in range(first.start, first.stop, PIECE):
        policy.observe(Extent(at, at + PIECE), first, second)
    for at in range(second.start, second.stop, PIECE):
        asked = policy.observe(Extent(at, at + PIECE), second, third)
        assert asked.stop <= second.stop + PIECE


def test_a_reader_who_goes_on_into_the_next_array_is_served_there_to_its_end():
    policy, (first, following) = ReadAhead(SIZE), arrays(2)
    read_through(policy, first)
    asked = read_through(policy, following)
    assert asked[0].start > following.start
    assert max(extent.stop for extent in asked) == following.stop + PIECE


def test_who_has_read_some_arrays_whole_gets_the_next_as_well_but_no_more_than_he_read():
    policy, some = ReadAhead(SIZE), arrays(3)
    for array in some[:2]:
        assert all(extent.stop <= array.stop + PIECE for extent in read_through(policy, array))
    asked = read_through(policy, some[2])
    beyond = max(extent.stop for extent in asked) - some[2].stop
    assert 8 * MIB < beyond <= sum(array.size for array in some) + PIECE


def test_small_arrays_that_are_jumped_to_and_read_whole_show_it_as_well():
    policy, apart = ReadAhead(SIZE), arrays(16, size=4 * MIB)[::4]
    some = [Extent(array.start, array.start + MIB) for array in apart]
    for array in some[:2]:
        assert all(extent.stop <= array.stop + PIECE for extent in read_through(policy, array))
    asked = read_through(policy, some[2])
    beyond = max(extent.stop for extent in asked) - some[2].stop
    assert 0 < beyond <= 3 * MIB


def test_small_arrays_into_which_the_kernel_may_have_run_show_nothing():
    policy, some = ReadAhead(SIZE), arrays(3, size=MIB)
    for array in some:
        assert all(extent.stop <= array.stop + PIECE for extent in read_through(policy, array))
    assert policy.through == {some[0]}


def test_small_arrays_beyond_which_the_kernel_would_not_have_run_have_been_read():
    policy, some = ReadAhead(SIZE), arrays(8, size=MIB)
    asked = [extent for array in some[:-1] for extent in read_through(policy, array)]
    assert policy.through == set(some[:5])
    assert asked[-1].stop > some[-1].stop, "who has read so many reads the next ones, too"


def test_an_array_whose_last_page_the_kernel_has_already_is_whole_all_the_same():
    array = Extent(10 * MIB, 11 * MIB)
    for missing, whole in (4 * KIB, {array}), (64 * KIB, set()):
        policy = ReadAhead(SIZE)
        for at in range(array.start, array.stop, PIECE):
            policy.observe(Extent(at, min(at + PIECE, array.stop - missing)), array)
        assert policy.through == whole


def test_an_array_is_meant_by_who_jumps_to_it_or_reads_all_of_it_and_by_no_one_else():
    first, second = Extent(10 * MIB, 13 * MIB), Extent(13 * MIB, 16 * MIB)
    policy, meant = ReadAhead(SIZE), []
    for array in (first, second):
        for at in range(array.start, array.stop, PIECE):
            policy.observe(Extent(at, at + PIECE), array)
            meant.append(policy.meant)
    pieces = first.size // PIECE
    assert meant == [first] * pieces + [None] * (pieces - 1) + [second]
    policy.observe(Extent(second.start, second.start + 4 * KIB), second)
    assert policy.meant is None, "a header is beside it"
    policy.observe(Extent(100 * MIB, 101 * MIB), None)
    assert policy.meant is None


def test_nothing_is_fetched_beyond_an_array_when_the_next_one_is_known_by_name():
    policy, some = ReadAhead(SIZE), arrays(3)
    policy.goes_by_name = True
    for array in some:
        assert all(extent.stop <= array.stop + PIECE for extent in read_through(policy, array))


def test_long_runs_are_served_from_their_beginning_however_alike_they_are():
    policy, opened = ReadAhead(SIZE), []
    for n in range(20):
        start = n * 7 % 20 * 16 * MIB
        pieces = [Extent(at, at + PIECE) for at in range(start, start + 2 * MIB, PIECE)]
        asked = [policy.observe(piece).size for piece in pieces]
        opened.append(next(n for n, size in enumerate(asked) if size))
    assert set(opened) == {1}


@pytest.mark.parametrize("record", [256 * KIB, 512 * KIB])
def test_who_reads_records_here_and_there_soon_gets_nothing_more_than_them(record):
    policy = ReadAhead(SIZE)
    asked = []
    for n in range(40):
        start = n * 37 % 40 * 8 * MIB
        reads = [Extent(at, at + PIECE) for at in range(start, start + record, PIECE)]
        asked += [extent.size for extent in map(policy.observe, reads)]
    assert sum(asked) <= 5 * MIB
    assert not any(asked[-30 * record // PIECE :])
    more = [policy.observe(Extent(at, at + PIECE)) for at in range(SIZE // 2, SIZE, PIECE)]
    assert any(extent.size for extent in more[: 2 * record // PIECE]), "unless it goes on"
