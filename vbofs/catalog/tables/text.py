"""What is in a frame, as people read it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from .typed import is_nested

#: Values of a column that are shown one by one.
FEW = 10


def text_of(cell: object) -> str:
    """A cell: "" where there is nothing, the day of a date."""
    if isinstance(cell, pd.Timestamp):
        return f"{cell.year:04}-{cell.month:02}-{cell.day:02}"  # strftime knows no year 10000.
    if isinstance(cell, list):
        return ", ".join(map(str, cell))
    if cell is None or cell is pd.NA or cell != cell:  # NaN is not itself.
        return ""
    return f"{cell:g}" if isinstance(cell, float) else str(cell)


def kind_of(values: pd.Series[Any]) -> str:
    """What a column holds, in a word."""
    kinds = (
        (pd.api.types.is_bool_dtype, "true or false"),
        (pd.api.types.is_numeric_dtype, "number"),
        (pd.api.types.is_datetime64_any_dtype, "date"),
    )
    found = next((name for test, name in kinds if test(values)), "text")
    return "list" if is_nested(values) else found


def some_of(values: pd.Series[Any]) -> str:
    """The values of a column if they are few, the first and the last of many, or how many."""
    if kind_of(values) in ("number", "date") and values.notna().any():
        ends = [text_of(end) for end in (values.min(), values.max())]
        return " … ".join(dict.fromkeys(ends))
    distinct = sorted({text_of(cell) for cell in values} - {""})
    if len(distinct) <= FEW and sum(map(len, distinct)) <= FEW * 24:
        return ", ".join(distinct)
    return f"{len(distinct)} values: {distinct[0][:40]} … {distinct[-1][:40]}" if distinct else ""
