"""What differs between two states of a metadata table: rows by their id, and columns.  Pure.

Cells are compared as they are written, but for what only looks different: nothing, ``-999`` and
``NaN`` are alike, as AllenSDK has it, and so are ``3`` and ``3.0``.  Of a row only the hashes of
its cells are kept, for a table may have 132 MB.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from . import rows

_WHOLE = re.compile(r"-?\d{1,18}\.0+")

#: A row's id; a second row of the same id has a number beside it.
Key = tuple[str, int]


@dataclass(frozen=True)
class TableDiff:
    """*key* is the column of ids; "" where the table has none, and rows are told by their number.

    *changed* are rows that differ in a column that both have; *by_column* is how many in each.
    """

    key: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unchanged: int = 0
    by_column: dict[str, int] = field(default_factory=dict)
    columns_added: tuple[str, ...] = ()
    columns_removed: tuple[str, ...] = ()


class _Table:
    """The rows of a table by id, each as the hashes of its cells in *columns*."""

    def __init__(self, name: str, content: bytes, key: str, columns: list[str]) -> None:
        self.rows: dict[Key, array[int]] = {}
        seen: Counter[str] = Counter()
        for row, number in zip(rows.rows(name, content), count(1)):
            ident = rows.identifier(row[key]) or "" if key else str(number)
            self.rows[ident, seen[ident]] = array("q", (hash(_alike(row[c])) for c in columns))
            seen[ident] += 1


def compared(name: str, older: bytes, newer: bytes, ident_column: str = "file_id") -> TableDiff:
    """From *older* to *newer*, bytes of CSV.  TableInvalid if one of them cannot be read."""
    before, after = rows.columns(name, older), rows.columns(name, newer)
    key = rows.key_of(name, before, ident_column) or ""
    if key not in after:
        key = ""
    shared = [column for column in before if column in after]
    old, new = (_Table(name, content, key, shared).rows for content in (older, newer))
    by_column: Counter[str] = Counter()
    changed = []
    for ident in old.keys() & new.keys():
        differing = list(_differing(old[ident], new[ident], shared))
        by_column.update(differing)
        if differing:
            changed.append(ident)
    return TableDiff(
        key,
        added=_words(new.keys() - old.keys()),
        removed=_words(old.keys() - new.keys()),
        changed=_words(set(changed)),
        unchanged=len(old.keys() & new.keys()) - len(changed),
        by_column={column: by_column[column] for column in shared if by_column[column]},
        columns_added=tuple(column for column in after if column not in before),
        columns_removed=tuple(column for column in before if column not in after),
    )


def _differing(one: array[int], other: array[int], columns: list[str]) -> Iterator[str]:
    if one != other:
        yield from (c for c, a, b in zip(columns, one, other, strict=True) if a != b)


def _alike(cell: str) -> str:
    if cell in rows.ABSENT:
        return ""
    return cell.partition(".")[0] if _WHOLE.fullmatch(cell) else cell


def _words(keys: set[Key]) -> tuple[str, ...]:
    """Ids in their order: numbers as numbers."""
    return tuple(ident for ident, _ in sorted(keys, key=_order))


def _order(key: Key) -> tuple[int, str, int]:
    ident, nth = key
    return (int(ident), "", nth) if ident.isascii() and ident.isdigit() else (-1, ident, nth)
