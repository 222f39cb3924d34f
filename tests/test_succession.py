"""Which arrays come next: counts and places, no clock."""

import pytest

from vbofs.blocks.readahead import BOLD, LARGEST_WINDOW, LEAST_WHOLE
from vbofs.blocks.succession import Succession
from vbofs.model import Extent

MIB = 1 << 20
FIRST = BOLD[1]


def by_name(count, size=MIB):
    """So many arrays in the order of their names, which is not how they lie."""
    return [Extent(at, at + size) for n in range(count) for at in [(n * 7 % count) * 2 * size]]


def total(extents):
    return sum(extent.size for extent in extents)


def test_nothing_is_fetched_for_who_has_read_one_array_or_some_that_are_far_from_this_one():
    names = by_name(20)
    for whole in [], names[:1], names[:2], names[8:12], [names[0], names[7]]:
        succession = Succession()
        assert succession.after(names[7], names, whole) == []
        assert not succession.is_followed


def test_who_has_read_two_of_those_that_come_before_gets_the_next_by_name():
    names = by_name(20)
    succession = Succession()
    asked = succession.after(names[4], names, {names[0], names[2]})
    assert succession.is_followed
    assert asked == names[5 : 5 + FIRST // MIB]


def test_what_is_promised_grows_with_what_was_read_up_to_a_limit_and_comes_once():
    names = by_name(200)
    succession, asked = Succession(), []
    for n, array in enumerate(names[:150]):
        asked += succession.after(array, names, set(names[:n]))
        assert total(asked) - min(max(0, n - 2) * MIB, total(asked)) <= max(FIRST, n * MIB)
        assert total(asked) <= n * MIB + LARGEST_WINDOW
    assert len(set(asked)) == len(asked), "nothing twice"
    assert asked == names[3 : 3 + len(asked)], "in order"
    assert total(asked) > 150 * MIB


def test_a_large_one_is_promised_in_pieces_that_touch():
    names = [*by_name(3), Extent(1 << 30, (1 << 30) + 100 * MIB)]
    succession = Succession()
    (first,) = succession.after(names[2], names, set(names[:2]))
    assert first == Extent(1 << 30, (1 << 30) + FIRST)
    wide = {*names[:2], Extent(0, 12 * MIB)}
    (second,) = succession.after(names[2], names, wide)
    assert second == Extent(first.stop, first.start + total(wide))


def test_arrays_that_are_read_already_or_small_are_passed_over():
    names = by_name(12)
    small = Extent(1 << 30, (1 << 30) + LEAST_WHOLE - 1)
    visits = [*names[:3], small, *names[3:]]
    asked = Succession().after(names[2], visits, {*names[:2], names[4]})
    assert asked == [names[3], *names[5:12]]


def test_it_says_nothing_twice_of_the_same_array_and_begins_anew_when_one_has_been_read():
    names = by_name(30)
    succession = Succession()
    assert succession.after(names[2], names, set(names[:2]))
    assert succession.after(names[2], names, set(names[:2])) == []
    assert succession.after(names[3], names, set(names[:3])) == [names[3 + FIRST // MIB]]


def test_an_array_into_which_somebody_has_run_is_promised_no_more():
    names = by_name(30)
    succession = Succession()
    first = succession.after(names[2], names, set(names[:2]))
    for one in first[1:3]:
        succession.forget(one)
    succession.forget(names[20])
    assert total(succession.after(names[3], names, set(names[:3]))) == 3 * MIB


@pytest.mark.parametrize("visits", [[], [Extent(5 * MIB, 9 * MIB)]])
def test_an_array_that_is_not_among_those_known_is_no_reason_for_anything(visits):
    succession = Succession()
    array = Extent(0, MIB)
    assert succession.after(array, visits, {array, *visits}) == []
