"""Metadata tables as typed frames, and who is in them.  The only room with pandas.

``frame`` indexes and types a table as AllenSDK does: ids and counts are integers that may be
absent, dates are UTC, lists are lists.  ``Files`` describes each file of a release by the row that
names it and, where that row says nothing, by the row of its session; ``Files.select`` finds.
"""

from __future__ import annotations

import fnmatch
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..errors import QueryInvalid, TableInvalid, UnknownColumn
from . import rows
from .query import FACETS, Facet, Query, compared, suggestion

log = logging.getLogger(__name__)

DATE = "date_of_acquisition"
PATH = "path"
#: Columns that are integers with gaps, whatever the CSV made of them, as those in _count are.
INTEGERS = {
    "age_in_days",
    "imaging_plane_group",
    "num_depths_per_area",
    "num_targeted_structures",
    "prior_exposures_to_image_set",
    "prior_exposures_to_omissions",
    "prior_exposures_to_session_type",
    "session_number",
}


# --- one table


def frame(name: str, content: bytes) -> pd.DataFrame:
    """The table *name*, typed, and indexed by its id.  TableInvalid if it cannot be read.

    Lines that have another number of values than the first are left out and said to be.
    """
    rows.check_size(name, len(content))
    names = rows.columns(name, content)
    made = _read(name, content)
    for column in made.columns:
        made[column] = _typed(str(column), made[column])
    key = rows.key_of(name, names)
    return made.set_index(key) if key in made.columns else made


def _read(name: str, content: bytes) -> pd.DataFrame:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            made = pd.read_csv(
                io.BytesIO(content.replace(b"\0", b"")),
                index_col=False,
                dtype={"mouse_id": str},
                encoding_errors="replace",
                on_bad_lines="warn",
                low_memory=False,  # Else a column's type may change from one piece to the next.
            )
        except (ValueError, OverflowError, MemoryError) as error:  # pandas' own are ValueErrors.
            raise TableInvalid(f"the table {name} is no CSV: {_line(error)}") from error
    skipped = {number for w in caught for number in re.findall(r"line (\d+)", str(w.message))}
    if skipped:
        log.warning("the table %s: %d lines are malformed and left out", name, len(skipped))
    return made


def _typed(column: str, values: pd.Series[Any]) -> pd.Series[Any]:
    if column == DATE:
        return pd.to_datetime(values, utc=True, format="ISO8601", errors="coerce")
    if column in INTEGERS or column.endswith("_count"):
        return _integers(values)
    if pd.api.types.is_float_dtype(values) and column.endswith("_id"):
        return _integers(values)
    if _is_text(values) and _all_lists(values):
        return values.astype(object).map(_listed)
    return values


def _integers(values: pd.Series[Any]) -> pd.Series[Any]:
    """As integers that may be absent; as they are where one is none."""
    try:
        return values.astype("Int64")
    except (TypeError, ValueError, OverflowError):
        return values


def _all_lists(values: pd.Series[Any]) -> bool:
    present = values.dropna()
    return len(present) > 0 and all(map(rows.is_list, present))


def _listed(value: object) -> object:
    return rows.listed(value) if isinstance(value, str) else value


# --- the files, as the tables describe them


@dataclass(frozen=True)
class Selection:
    """Rows that match: *frame*, and for each the id and the paths of its files."""

    frame: pd.DataFrame
    ids: list[str]
    paths: list[tuple[str, ...]]

    @property
    def files(self) -> list[str]:
        """Each path once, in the order of the rows."""
        return list(dict.fromkeys(path for paths in self.paths for path in paths))


class Files:
    """The files that *tables* describe, in a release whose file ids stand for *idents*' paths.

    ``frame`` has a row for each, with the columns of all tables that name files, and ``path``.
    """

    def __init__(
        self,
        tables: Mapping[str, pd.DataFrame],
        idents: Mapping[str, str],
        ident_column: str,
        *,
        release: str = "",
    ) -> None:
        self._tables = tables
        self._release = release
        owners = [name for name, table in tables.items() if ident_column in table.columns]
        described = [self._described(name, owners, idents, ident_column) for name in owners]
        self.keys = [str(tables[name].index.name) for name in owners if tables[name].index.name]
        parts = _without_lists([part for part in described if len(part)])
        joined = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({PATH: []})
        for column in joined.columns:
            if str(column).endswith("_id") and not _is_text(joined[column]):
                joined[column] = _integers(joined[column])
        self._ids = joined.pop(_ID).tolist() if _ID in joined.columns else []
        self.frame: pd.DataFrame = joined

    def __repr__(self) -> str:
        return f"<Files {len(self.frame)} of v{self._release}>"

    def _described(
        self, name: str, owners: list[str], idents: Mapping[str, str], ident_column: str
    ) -> pd.DataFrame:
        """The rows of table *name* that own a file, completed from the tables above it."""
        table = self._tables[name]
        paths = table[ident_column].map(lambda value: idents.get(rows.identifier(value) or ""))
        present = paths.notna()
        made = table[present].copy()
        ids = made.index.astype(str) if made.index.name else made[ident_column].astype(str)
        made = made.reset_index(drop=made.index.name is None)
        for other in owners:
            made = _completed(made, self._tables[other]) if other != name else made
        made[PATH] = paths[present].tolist()
        made[_ID] = list(ids)
        return made

    def select(self, query: Query) -> Selection:
        """The rows that match *query*.

        UnknownColumn if a table, a column or a value that it names is not there, with what comes
        near; QueryInvalid if pandas cannot make sense of its ``where``.
        """
        if query.table:
            frame, ids, paths = self._of_table(query.table)
        else:
            frame, ids, paths = self.frame, self._ids, [(path,) for path in self.frame[PATH]]
        chosen = _mask(frame, query, f"v{self._release}").tolist()
        return Selection(
            frame[chosen],
            [each for each, yes in zip(ids, chosen, strict=True) if yes],
            [each for each, yes in zip(paths, chosen, strict=True) if yes],
        )

    def _of_table(self, name: str) -> tuple[pd.DataFrame, list[str], list[tuple[str, ...]]]:
        if name not in self._tables:
            raise UnknownColumn(
                f"no table {name!r} in v{self._release}{suggestion(name, self._tables)};"
                f" there are {', '.join(self._tables)}"
            )
        table = self._tables[name]
        key = table.index.name
        made = table.reset_index(drop=key is None)
        ids = made[key].astype(str).tolist() if key else [str(n) for n in made.index]
        by = next((k for k in (key, *self.keys) if k in made and k in self.frame), None)
        if by is None:
            return made, ids, [()] * len(made)
        owned: dict[str, list[str]] = {}
        for value, path in zip(self.frame[by].astype(str), self.frame[PATH], strict=True):
            owned.setdefault(value, []).append(path)
        return made, ids, [tuple(owned.get(value, ())) for value in made[by].astype(str)]


#: A column that no CSV can have: its name would not fit on the first line.
_ID = "\0id"


def _completed(made: pd.DataFrame, above: pd.DataFrame) -> pd.DataFrame:
    """*made* with the columns that only *above* has, from the rows that its own ids name."""
    key = above.index.name
    new = [column for column in above.columns if column not in made.columns]
    if key is None or key not in made.columns or not new or _is_nested(made[key]):
        return made
    once = above[~above.index.duplicated()][new]
    return made.join(once, on=str(key)) if once.index.dtype.kind in "iu" else made


def _without_lists(parts: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """A session's list of experiments is no experiment's id: columns of ids that are lists in one
    table and not in another are kept from the other."""
    plain = {column for part in parts for column in part.columns if not _is_nested(part[column])}
    return [
        part.drop(columns=[c for c in part.columns if c in plain and _is_nested(part[c])])
        for part in parts
    ]


def _is_text(values: pd.Series[Any]) -> bool:
    return bool(pd.api.types.is_string_dtype(values))


def _is_nested(values: pd.Series[Any]) -> bool:
    return values.dtype == object and any(isinstance(value, list) for value in values)


# --- which rows


def _mask(frame: pd.DataFrame, query: Query, release: str) -> pd.Series[bool]:
    mask = pd.Series(True, index=frame.index)
    for name, values in query.wanted.items():
        mask &= _having(frame, name, values, release)
    if query.depth is not None:
        column = _columns(frame, "depth", release)[0]
        mask &= pd.to_numeric(frame[column], errors="coerce").between(*query.depth)
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
    numbers, texts = compared(query.where)
    for name in numbers:
        if _is_text(frame[name]):
            raise QueryInvalid(
                f"--where: {name} is text; write its values in quotes: {name} == '…'"
            )
    for name in texts:
        if pd.api.types.is_numeric_dtype(frame[name]):
            raise QueryInvalid(f"--where: {name} is a number; write its values without quotes")
    asked = frame[list(query.names)].copy()
    if DATE in asked:  # pandas compares strings with dates that have no zone only.
        asked[DATE] = asked[DATE].dt.tz_localize(None)
    return _evaluated(asked, query.where)


def _evaluated(asked: pd.DataFrame, where: str) -> pd.Series[bool]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = asked.eval(where.strip(), engine="python", local_dict={}, global_dict={})
    except Exception as error:  # Whatever pandas makes of it: it is the query's fault.
        raise QueryInvalid(f"--where: pandas cannot answer it: {_line(error)}") from error
    if not isinstance(answer, pd.Series) or not pd.api.types.is_bool_dtype(answer):
        raise QueryInvalid("--where: it is no comparison, so it is neither true nor false")
    return answer.fillna(False).astype(bool)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
