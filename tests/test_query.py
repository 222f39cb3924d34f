"""Queries as values: what a ``where`` may say, what it may not, and what people ask of columns."""

from __future__ import annotations

import math

import pytest

from vbofs.catalog.query import FACETS, Query, checked_names, suggestion, uses
from vbofs.cli.query import parse_depth
from vbofs.errors import QueryInvalid


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("age_in_days > 100", ("age_in_days",)),
        ("sex == 'F' and not (cre_line in ['a', 'b']) or x != y", ("sex", "cre_line", "x", "y")),
        ("100 < depth <= 2 * 10 + 5 - 1 // 3 % 2", ("depth",)),
        ("(a > 1) & (b < 2.5) | ~(c == None)", ("a", "b", "c")),
        ("  -a > +3  ", ("a",)),
        ("name == '@ __import__ ** exec()'", ("name",)),
    ],
)
def test_a_where_names_columns_and_compares_them(where, names):
    assert checked_names(where) == names
    assert Query(where=where).names == names


@pytest.mark.parametrize(
    "where",
    [
        "__import__('os').system('id')",
        "@pd.io.common.os.system('id')",
        "a == @b",
        "a @ b",
        "a.__class__ == 1",
        "a.str.len() > 3",
        "().__class__.__bases__[0].__subclasses__()",
        "__builtins__ == 1",
        "__pd_eval_local_x == 1",
        "a[0] == 1",
        "[x for x in a]",
        "(lambda: 1)() == a",
        "(b := 3) == a",
        "a = 3",
        "a if b else c",
        "f'{a}' == 'x'",
        "9 ** 9 ** 9 > a",
        "a << 100000 > 1",
        "'x' * 1000000000 == a",
        "[1] * 1000000000 == a",
        "'%1000000000d' % a == 'x'",
        "`a b` == 1",
        "b'x' == a",
        "1j == a",
        "{1: 2} == a",
        "{1, 2} == a",
        "*a, b",
        "import os",
        "a == 1; b == 2",
        "a ==",
        "'unended",
        "a == 1\nimport os",
        "a == '\0'",
        "(" * 5000 + "a" + ")" * 5000,
        "a" + " + a" * 400 + " > 1",
        "a > 1 # " + "x" * 4000,
        "-" * 3000 + "a > 1",
    ],
)
def test_a_where_that_does_anything_else_is_refused_in_one_line(where):
    with pytest.raises(QueryInvalid) as caught:
        checked_names(where)
    assert str(caught.value).startswith("--where: ")
    assert len(str(caught.value)) < 600
    with pytest.raises(QueryInvalid):
        Query(where=where)


def test_who_joins_with_the_signs_of_numpy_is_told_the_words():
    with pytest.raises(QueryInvalid, match="write 'and' for &"):
        checked_names("a == 'x' & b == 'y'")


def test_what_is_done_with_columns_is_told_apart():
    where = "a == 1 and b in ['x'] and 3 < c < 4 and d == e and f == True and g + 1 > h & i"
    assert uses(where) == ({"a", "c"}, {"b"}, {"g"})


def test_an_empty_query_means_everything():
    assert not Query()
    assert not Query(table="units")
    assert Query(mouse=("1",))
    assert Query(depth=(0, 1))
    assert Query(where="a > 1")


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ("100:200", (100, 200)),
        ("150", (150, 150)),
        ("100:", (100, math.inf)),
        (":200", (-math.inf, 200)),
        ("1.5:2", (1.5, 2)),
    ],
)
def test_a_depth_is_a_number_or_two(text, depth):
    assert parse_depth(text) == depth


@pytest.mark.parametrize("text", ["", "deep", "1:2:3", "nan", "nan:3", "100-200", "200:100"])
def test_anything_else_is_no_depth(text):
    with pytest.raises(QueryInvalid, match="--depth: "):
        Query(depth=parse_depth(text))


def test_a_word_gets_the_nearest_suggestion_whatever_its_case():
    assert suggestion("familiar", ["Novel 1", "Familiar"]) == "; did you mean 'Familiar'?"
    assert suggestion("xyz", ["Novel 1", "Familiar"]) == ""


def test_the_cre_line_of_a_genotype_is_its_driver():
    facet = FACETS["cre_line"]
    assert facet.of(["genotype", "mouse_id"]) == ["genotype"]
    assert facet.answer("genotype", "Sst-IRES-Cre/wt;Ai32/wt") == "Sst-IRES-Cre"
    assert facet.answer("cre_line", "a/b") == "a/b"
    assert FACETS["session_id"].of(["ophys_session_id", "behavior_session_id"]) == [
        "behavior_session_id",
        "ophys_session_id",
    ]
