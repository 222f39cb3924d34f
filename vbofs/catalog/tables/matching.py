"""Which rows of a frame a query means."""

from __future__ import annotations

import fnmatch
import re
import warnings
from collections.abc import Callable, Iterable

import pandas as pd

from ...errors import QueryInvalid, UnknownColumn
from ..query import FACETS, Facet, Query, Uses, suggestion, uses
from .typed import DATE, is_text, line_of


def matching(frame: pd.DataFrame, query: Query, release: str) -> pd.Series[bool]:
    mask = pd.Series(True, index=frame.index)
    for name, values in query.wanted.items():
        mask &= _having(frame, name, values, release)
    if query.depth is not None:
        column = _columns(frame, "depth", release)[0]
        depths = pd.to_numeric(frame[column], errors="coerce").between(*query.depth)
        mask &= depths.fillna(False).astype(bool)
    return mask & _where(frame, query, release) if query.where else mask


def _columns(frame: pd.DataFrame, name: str, release: str) -> list[str]:
    columns = FACETS[name].of(map(str, frame.columns))
    if not columns:
        option = name.replace("_", "-")
        raise UnknownColumn(
            f"--{option}: no table that is asked in {release} has a column"
            f" {' or '.join(FACETS[name].columns)}"
        )
    return columns


def _having(
    frame: pd.DataFrame, name: str, values: tuple[str, ...], release: str
) -> pd.Series[bool]:
    """Which rows answer the facet *name* with one of *values*."""
    mask = pd.Series(False, index=frame.index)
    known: set[str] = set()
    tests = [_test(value) for value in values]
    for column in _columns(frame, name, release):
        answers = [_answers(FACETS[name], column, cell) for cell in frame[column]]
        known.update(word for words in answers for word in words)
        having = [any(test(word) for word in words for test in tests) for words in answers]
        mask |= pd.Series(having, index=frame.index, dtype=bool)
    for value, test in zip(values, tests, strict=True):
        if not any(map(test, known)):
            option = name.replace("_", "-")
            raise UnknownColumn(
                f"--{option}: nothing in {release} has {value!r}{suggestion(value, known)}"
            )
    return mask


def _test(value: str) -> Callable[[str], bool]:
    if "*" in value or "?" in value:
        pattern = re.compile(fnmatch.translate(value))
        return lambda word: pattern.match(word) is not None
    return lambda word: word == value


def _answers(facet: Facet, column: str, cell: object) -> tuple[str, ...]:
    cells: Iterable[object] = cell if isinstance(cell, list) else (cell,)
    return tuple(
        facet.answer(column, str(each))
        for each in cells
        if not (each is None or each is pd.NA or each != each)  # NaN is not itself.
    )


def _where(frame: pd.DataFrame, query: Query, release: str) -> pd.Series[bool]:
    known = [str(column) for column in frame.columns]
    for name in query.names:
        if name not in known:
            raise UnknownColumn(
                f"--where: no column {name!r} in {release}{suggestion(name, known)}"
                " (vbofs find --columns lists them)"
            )
    if not query.names:
        raise QueryInvalid("--where: it names no column")
    _check_kinds(frame, uses(query.where))
    asked = frame[list(query.names)].copy()
    if DATE in asked:  # pandas compares strings with dates that have no zone only.
        asked[DATE] = asked[DATE].dt.tz_localize(None)
    return _evaluated(asked, query.where)


def _check_kinds(frame: pd.DataFrame, used: Uses) -> None:
    """pandas answers "nothing" where text is compared with a number: that helps nobody."""
    for name in used.numbers:
        if is_text(frame[name]):
            raise QueryInvalid(
                f"--where: {name} is text; write its values in quotes: {name} == '…'"
            )
    for name in used.texts:
        if pd.api.types.is_numeric_dtype(frame[name]):
            raise QueryInvalid(f"--where: {name} is a number; write its values without quotes")
    for name in used.calculated:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            raise QueryInvalid(f"--where: {name} is no number; it cannot be calculated with")


def _evaluated(asked: pd.DataFrame, where: str) -> pd.Series[bool]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = asked.eval(where.strip(), engine="python", local_dict={}, global_dict={})
    except Exception as error:  # Whatever pandas makes of it: it is the query's fault.
        raise QueryInvalid(f"--where: pandas cannot answer it: {line_of(error)}") from error
    if not isinstance(answer, pd.Series) or not pd.api.types.is_bool_dtype(answer):
        raise QueryInvalid("--where: it is no comparison, so it is neither true nor false")
    return answer.fillna(False).astype(bool)
