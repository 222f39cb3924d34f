"""Metadata tables as the publisher wrote them: bytes of CSV in, bounded text out.  Pure.

A table is outside input: it may have no columns or a thousand, NUL bytes, bytes that are no text,
lists written as strings, ids that are ``-999``, ``NaN`` or ``894.0``.  What can be read is read;
TableInvalid says in one line what cannot.  tables.py makes typed frames of the same bytes; the
views of a mount do with this file, for pandas would cost the daemon half a second and 60 MB.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from itertools import zip_longest

from ..errors import TableInvalid

#: Bytes.  The largest published table has 132 MB (units of the Neuropixels dataset).
MAX_TABLE = 256 << 20
#: The published ones have 29 at the most.
MAX_COLUMNS = 1000
#: Bytes of the first line, and characters of any value.
MAX_HEADER = 64 << 10
MAX_VALUE = 128 << 10

#: What stands where there is nothing; AllenSDK's tables have the first two.
ABSENT = frozenset({"", "-999", "-999.0", "nan", "NaN", "NA", "<NA>", "None", "null"})

_LIST = re.compile(r"\s*\[(.*)\]\s*", re.DOTALL)
_WORD = re.compile(r"""'([^']*)'|"([^"]*)"|([^\s,'"]+)""")
_INTEGER = re.compile(r"(-?\d{1,18})(?:\.0*)?")

Row = dict[str, str]


def check_size(name: str, size: int, largest: int = MAX_TABLE) -> None:
    """TableInvalid unless a table of *size* bytes may be read."""
    if size > largest:
        raise TableInvalid(f"the table {name} has {size} bytes; {largest} are allowed")


def columns(name: str, content: bytes) -> list[str]:
    """The names in the first line of *content*, which may be only the table's beginning."""
    line, _, _ = content[: MAX_HEADER + 1].partition(b"\n")
    if len(line) > MAX_HEADER:
        raise TableInvalid(f"the table {name} is no CSV: its first line does not end")
    try:
        names = next(csv.reader([_text(line)]), [])
    except csv.Error as error:
        raise TableInvalid(f"the table {name} is no CSV: {error}") from error
    if len(names) > MAX_COLUMNS:
        raise TableInvalid(f"the table {name} has {len(names)} columns; {MAX_COLUMNS} are allowed")
    if not any(names):
        raise TableInvalid(f"the table {name} is empty")
    return names


def rows(name: str, content: bytes) -> Iterator[Row]:
    """Each row by column.  A short row lacks its last values; one that is too long is left out."""
    check_size(name, len(content))
    names = columns(name, content)
    lines = csv.reader(io.StringIO(_text(content), newline=""))
    try:
        next(lines, None)
        for values in lines:
            if 0 < len(values) <= len(names):
                yield dict(zip_longest(names, values, fillvalue=""))
    except csv.Error as error:
        raise TableInvalid(f"the table {name}, line {lines.line_num}: {error}") from error


def _text(content: bytes) -> str:
    return content.replace(b"\0", b"").decode("utf-8-sig", errors="replace")


def is_list(value: object) -> bool:
    """Whether *value* is a list written as a string."""
    return isinstance(value, str) and len(value) <= MAX_VALUE and bool(_LIST.fullmatch(value))


def words(value: str) -> list[str]:
    """The values in a cell: of a list each, of anything else the one, of an absent one none."""
    match = _LIST.fullmatch(value) if len(value) <= MAX_VALUE else None
    if match is None:
        return [] if value in ABSENT else [value]
    found = ["".join(groups) for groups in _WORD.findall(match[1])]
    return [word for word in found if word not in ABSENT]


def listed(value: str) -> list[int | str]:
    """A list written as a string, in Python's way or in numpy's, with whole numbers as numbers."""
    return [int(word) if re.fullmatch(r"-?\d{1,18}", word) else word for word in words(value)]


def identifier(value: object) -> str | None:
    """An id as manifests write it: ``894`` and ``894.0`` are "894"; None where there is none."""
    text = str(value).strip()
    match = _INTEGER.fullmatch(text)
    if match is not None:
        return None if match[1].startswith("-") else str(int(match[1]))
    return None if text in ABSENT else text


#: The column that AllenSDK indexes each table by.
KEYS = {
    "behavior_session_table": "behavior_session_id",
    "ophys_session_table": "ophys_session_id",
    "ophys_experiment_table": "ophys_experiment_id",
    "ophys_cells_table": "cell_roi_id",
    "behavior_sessions": "behavior_session_id",
    "ecephys_sessions": "ecephys_session_id",
    "probes": "ecephys_probe_id",
    "channels": "ecephys_channel_id",
    "units": "unit_id",
}


def key_of(name: str, names: list[str], ident_column: str = "file_id") -> str | None:
    """The column of table *name* that says which row is which: AllenSDK's, or the first id."""
    if KEYS.get(name) in names:
        return KEYS[name]
    return next((each for each in names if each.endswith("_id") and each != ident_column), None)
