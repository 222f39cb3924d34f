"""What differs between two states of a table: rows by id, cells by column."""

from __future__ import annotations

import csv
import io

import pytest

from vbofs.catalog.tablediff import compared
from vbofs.errors import TableInvalid

NAME = "behavior_session_table"
KEY = "behavior_session_id"


def table(*rows, columns=(KEY, "mouse_id", "file_id")):
    text = io.StringIO()
    csv.writer(text).writerows([columns, *rows])
    return text.getvalue().encode()


def test_rows_are_told_by_their_id_whatever_their_order():
    older = table((1, "m", 10), (2, "m", 20), (3, "m", 30))
    newer = table((3, "m", 30), (4, "m", 40), (1, "other", 11))
    found = compared(NAME, older, newer)
    assert (found.key, found.added, found.removed, found.changed) == (KEY, ("4",), ("2",), ("1",))
    assert found.by_column == {"mouse_id": 1, "file_id": 1}
    assert found.unchanged == 1


def test_columns_that_come_and_go_are_told_and_change_no_row():
    older = table((1, "m"), columns=(KEY, "mouse_id"))
    newer = table((1, "F"), columns=(KEY, "sex"))
    found = compared(NAME, older, newer)
    assert (found.columns_added, found.columns_removed) == (("sex",), ("mouse_id",))
    assert (found.changed, found.unchanged) == ((), 1)


@pytest.mark.parametrize(
    ("one", "other"), [("", "-999"), ("NaN", ""), ("3", "3.0"), ("-1.0", "-1")]
)
def test_what_only_looks_different_is_the_same(one, other):
    found = compared(NAME, table((1, "m", one)), table((1, "m", other)))
    assert not found.changed


@pytest.mark.parametrize(("one", "other"), [("3", "3.5"), ("a", "A"), ("[1]", "[1, 2]"), ("", "0")])
def test_what_is_different_is_not(one, other):
    assert compared(NAME, table((1, "m", one)), table((1, "m", other))).changed == ("1",)


def test_ids_are_the_same_with_and_without_a_decimal_point():
    found = compared(NAME, table(("1.0", "m", 1)), table(("1", "m", 1)))
    assert (found.added, found.removed) == ((), ())


def test_several_rows_of_one_id_are_told_apart_in_their_order():
    older = table((1, "a", 1), (1, "b", 2))
    found = compared(NAME, older, table((1, "a", 1), (1, "c", 2), (1, "d", 3)))
    assert (found.changed, found.added) == (("1",), ("1",))


def test_ids_are_shown_in_the_order_of_numbers():
    newer = table(*((n, "m", 1) for n in (10, 9, 100)))
    assert compared(NAME, table(), newer).added == ("9", "10", "100")


def test_a_table_without_ids_is_compared_row_by_row():
    columns = ("a", "b")
    found = compared("t", table((1, 2), columns=columns), table((1, 3), (5, 6), columns=columns))
    assert (found.key, found.changed, found.added) == ("", ("1",), ("2",))
    assert found.by_column == {"b": 1}


@pytest.mark.parametrize("bad", [b"", b"\n\n", b'"' + b"x" * 200_000])
def test_what_is_no_table_is_refused_in_one_line(bad):
    with pytest.raises(TableInvalid) as caught:
        compared(NAME, table((1, "m", 1)), bad)
    assert "\n" not in str(caught.value)
