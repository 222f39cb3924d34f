"""The files of a release, as its tables describe them, and those that a query means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from ...errors import UnknownColumn
from .. import rows
from ..query import Query, suggestion
from .matching import matching
from .text import kind_of, some_of, text_of
from .typed import integers, is_nested, is_text

PATH = "path"
#: What the ids of rows of several tables are called; a table's own key ends with _id.
ID = "id"
#: A column that no CSV can have: NUL bytes are taken out of it.
_ID = "\0id"


@dataclass(frozen=True)
class Selection:
    """Rows that match: *frame*, and for each the id and the paths of its files.

    *key* is what the ids are called: the column that has them, or "id" for rows of several tables.
    """

    frame: pd.DataFrame
    ids: list[str]
    paths: list[tuple[str, ...]]
    key: str = ID

    @property
    def files(self) -> list[str]:
        """Each path once, in the order of the rows."""
        return list(dict.fromkeys(path for paths in self.paths for path in paths))

    def under(self, root: object) -> Selection:
        """The same, with paths below *root* in the column ``path``, or, where a row may have
        several files, in lists in ``paths``.  Relative ones where *root* is None."""
        paths = [tuple(f"{root}/{p}" if root else p for p in paths) for paths in self.paths]
        frame = self.frame.copy()
        if self.key == ID:
            frame[PATH] = [each[0] for each in paths]
        else:
            frame[f"{PATH}s"] = [list(each) for each in paths]
        return replace(self, paths=paths, frame=frame)

    def text(self, column: str) -> list[str]:
        """The cells of *column* as people read them."""
        return [text_of(cell) for cell in self.frame[column]]


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
        parts = [
            _gapless(part) for part in _without_lists([part for part in described if len(part)])
        ]
        joined = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({PATH: []})
        for column in joined.columns:
            if str(column).endswith("_id") and not is_text(joined[column]):
                joined[column] = integers(joined[column])
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
            frame, ids, paths = self._rows_of(query.table)
            key = self._tables[query.table].index.name or "row"
        else:
            frame, ids, paths = self.frame, self._ids, [(path,) for path in self.frame[PATH]]
            key = ID
        chosen = matching(frame, query, f"v{self._release}").tolist()
        return Selection(
            frame.loc[chosen],
            [each for each, yes in zip(ids, chosen, strict=True) if yes],
            [each for each, yes in zip(paths, chosen, strict=True) if yes],
            str(key),
        )

    def having(self, ids: Mapping[str, object]) -> list[str]:
        """The paths of files that have exactly *ids*, by column.  UnknownColumn for a column that
        is none."""
        mask = [True] * len(self.frame)
        for name, value in ids.items():
            if name not in self.frame:
                near = suggestion(name, map(str, self.frame.columns))
                raise UnknownColumn(f"no column {name!r} in v{self._release}{near}")
            wanted = rows.identifier(value)
            cells = map(rows.identifier, self.frame[name])
            mask = [so_far and cell == wanted for so_far, cell in zip(mask, cells, strict=True)]
        return list(dict.fromkeys(self.frame.loc[mask, PATH]))

    def columns(self, table: str = "") -> list[tuple[str, str, str]]:
        """What can be asked of *table*, or of the files: name, type and some values of each column.

        UnknownColumn if there is no such table.
        """
        frame = self._rows_of(table)[0] if table else self.frame
        return [(str(name), kind_of(frame[name]), some_of(frame[name])) for name in frame.columns]

    def _rows_of(self, name: str) -> tuple[pd.DataFrame, list[str], list[tuple[str, ...]]]:
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


def _completed(made: pd.DataFrame, above: pd.DataFrame) -> pd.DataFrame:
    """*made* with the columns that only *above* has, from the rows that its own ids name."""
    key = above.index.name
    new = [column for column in above.columns if column not in made.columns]
    if key is None or key not in made.columns or not new or is_nested(made[key]):
        return made
    once = _gapless(above[~above.index.duplicated()][new])
    is_integer = pd.api.types.is_integer_dtype
    # Ids of other kinds would be compared as floats, or not at all.
    return (
        made.join(once, on=str(key)) if is_integer(made[key]) and is_integer(once.index) else made
    )


def _without_lists(parts: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """A session's list of experiments is no experiment's id: columns of ids that are lists in one
    table and single in another are kept from the other."""
    single = {
        column
        for part in parts
        for column, values in part.items()
        if str(column).endswith("_id") and values.notna().any() and not is_nested(values)
    }
    return [
        part.drop(columns=[c for c in part.columns if c in single and is_nested(part[c])])
        for part in parts
    ]


def _gapless(part: pd.DataFrame) -> pd.DataFrame:
    """*part*, ready to be joined to parts that lack some of its columns: integers and truths stay
    what they are, for they may be absent."""
    kinds = {
        column: "boolean" if values.dtype == bool else "Int64"
        for column, values in part.items()
        if values.dtype == bool or pd.api.types.is_integer_dtype(values)
    }
    return part.astype(kinds)
