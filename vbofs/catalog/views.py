"""Views: second layouts of a release, by what its tables say of its files.  Pure.

``VIEWS`` is the whole list; a new view is a line.  In a view each answer to its question is a
directory, and in it each file a link with a name that a person can read.  Made from the CSVs as
they are, without pandas (see rows.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..errors import TableInvalid
from .query import FACETS
from .rows import Row, identifier, key_of, rows, words

#: The directory in each release, and the question of ``FACETS`` whose answers are its directories.
VIEWS = {
    "by-mouse": "mouse",
    "by-cre-line": "cre_line",
    "by-session-type": "session_type",
    "by-structure": "structure",
    "by-container": "container",
}

#: Links in one view.  The published tables come to 6,000; this bounds what hostile ones cost.
MAX_LINKS = 100_000
#: Answers of one row: a probe passes through a dozen structures.
MAX_ANSWERS = 100
#: Bytes of a name, of the 255 that Linux allows: a number and a suffix may be added to it.
LONGEST_NAME = 200

#: Of the rows, what is kept in memory while a view is made: what it asks, and what names are of.
_NAMED_AFTER = ("date_of_acquisition", "session_type", "name")
_PLACE = "structure", "depth"

#: By answer, by name: the path of a file in its release.
Layout = dict[str, dict[str, str]]


class Described(NamedTuple):
    """A file, the id of its row, and the row, completed by that of its session."""

    path: str
    ident: str
    row: Row


def layout(
    view: str, tables: Mapping[str, bytes], idents: Mapping[str, str], ident_column: str
) -> Layout:
    """The directories of *view*, and in each the names of files.  Files that have no answer are in
    none; a file with several is in each.  TableInvalid if a table cannot be read or asks too much.
    """
    made: Layout = {}
    links = 0
    for file in described(tables, idents, ident_column):
        for answer in answers(VIEWS[view], file.row):
            names = made.setdefault(readable(answer), {})
            names[_unique(name_of(file), names)] = file.path
            links += 1
            if links > MAX_LINKS:
                raise TableInvalid(f"{view} would have more than {MAX_LINKS} links")
    return made


def described(
    tables: Mapping[str, bytes], idents: Mapping[str, str], ident_column: str
) -> Iterator[Described]:
    """Each file that a row of *tables* names by its id, once, in the order of the tables."""
    read = {name: list(_wanted(name, body, ident_column)) for name, body in tables.items()}
    keys = {
        name: key_of(name, list(found[0]), ident_column) for name, found in read.items() if found
    }
    above = {
        key: {identifier(row[key]): row for row in reversed(read[name])}
        for name, key in keys.items()
        if key
    }
    seen: set[str] = set()
    for name, key in keys.items():
        for row in read[name]:
            path = idents.get(identifier(row.get(ident_column, "")) or "")
            if path is not None and path not in seen:
                seen.add(path)
                ident = identifier(row[key or ident_column]) or ""
                yield Described(path, ident, _completed(row, key, above))


def _wanted(name: str, content: bytes, ident_column: str) -> Iterator[Row]:
    """The rows of a table, of their columns only what a view may want."""
    wanted = {ident_column, *_NAMED_AFTER}
    wanted |= {column for facet in FACETS.values() for column in facet.columns}
    for row in rows(name, content):
        key = key_of(name, list(row), ident_column)
        yield {column: value for column, value in row.items() if column in wanted or column == key}


def _completed(row: Row, key: str | None, above: Mapping[str, Mapping[str | None, Row]]) -> Row:
    for other, by_ident in above.items():
        if other != key and other in row:
            parent = by_ident.get(identifier(row[other]))
            row = {**parent, **row} if parent else row
    return row


def answers(question: str, row: Row) -> list[str]:
    """What *row* answers to a question of ``FACETS``: nothing, one thing or several."""
    facet = FACETS[question]
    found = [
        facet.answer(column, (identifier(word) or "") if column.endswith("_id") else word)
        for column in facet.of(row)
        for word in words(row[column])
    ]
    return list(dict.fromkeys(answer for answer in found if answer))[:MAX_ANSWERS]


def name_of(file: Described) -> tuple[str, str]:
    """2019-09-20_OPHYS_1_images_A_VISp-150um_951980471 and .nwb, of what there is of it."""
    date, *others = (file.row.get(column, "") for column in _NAMED_AFTER)
    structures, depths = (answers(question, file.row) for question in _PLACE)
    place = structures[0] if len(structures) == 1 else ""
    place += f"-{identifier(depths[0])}um" if len(depths) == 1 else ""
    stem, dot, suffix = file.path.rpartition("/")[2].rpartition(".")
    parts = [date[:10], *others, place, file.ident or stem or suffix]
    return readable("_".join(part for part in parts if part)), readable(dot + suffix, ".")[:20]


def readable(text: str, first: str = "_") -> str:
    """*text* as a name in a directory: no slash, blank or control character, no dot at its
    beginning (but *first*), and no longer than a name may be."""
    name = "".join(c if c.isprintable() and c not in "/ " else "_" for c in text)
    name = name.encode(errors="replace")[:LONGEST_NAME].decode(errors="ignore")
    return first + name[1:] if name.startswith(".") else name or "_"


def _unique(name: tuple[str, str], taken: Mapping[str, str]) -> str:
    stem, suffix = name
    number, made = 1, stem + suffix
    while made in taken:
        number += 1
        made = f"{stem}-{number}{suffix}"
    return made
