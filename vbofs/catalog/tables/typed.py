"""One table, typed and indexed as AllenSDK has it."""

from __future__ import annotations

import io
import logging
import re
import warnings
from typing import Any

import pandas as pd

from ...errors import TableInvalid
from .. import rows

log = logging.getLogger(__name__)

DATE = "date_of_acquisition"
#: Beyond it a float is no id any more: it stands for several integers.
LARGEST_EXACT = 2.0**53
#: Columns that are integers with gaps, whatever the CSV made of them, as those in _count are.
INTEGERS = {
    "age_in_days",
    "cell_specimen_id",
    "ecephys_session_id",
    "imaging_plane_group",
    "num_depths_per_area",
    "num_targeted_structures",
    "ophys_session_id",
    "prior_exposures_to_image_set",
    "prior_exposures_to_omissions",
    "prior_exposures_to_session_type",
    "session_number",
}


def frame(name: str, content: bytes) -> pd.DataFrame:
    """The table *name*, typed, and indexed by its id.  TableInvalid if it cannot be read.

    A short line lacks its last values; one that is too long is left out, and said to be.
    """
    rows.check_size(name, len(content))
    names = rows.columns(name, content)
    made = _read(name, content)
    for column in made.columns:
        made[column] = _typed(str(column), made[column])
    key = rows.key_of(name, names)
    return made.set_index(key) if key in made.columns and not is_nested(made[key]) else made


def _read(name: str, content: bytes) -> pd.DataFrame:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            made = pd.read_csv(
                io.BytesIO(content.replace(b"\0", b"")),
                index_col=False,
                dtype={"mouse_id": str, DATE: str},
                encoding_errors="replace",
                on_bad_lines="warn",
                low_memory=False,  # Else a column's type may change from one piece to the next.
            )
        except (ValueError, OverflowError, MemoryError) as error:  # pandas' own are ValueErrors.
            raise TableInvalid(f"the table {name} is no CSV: {line_of(error)}") from error
    skipped = {number for w in caught for number in re.findall(r"line (\d+)", str(w.message))}
    if skipped:
        log.warning("the table %s: %d lines are malformed and left out", name, len(skipped))
    return made


def _typed(column: str, values: pd.Series[Any]) -> pd.Series[Any]:
    if column == DATE:
        return pd.to_datetime(values, utc=True, format="ISO8601", errors="coerce")
    if column in INTEGERS or column.endswith("_count"):
        return integers(values)
    if pd.api.types.is_float_dtype(values) and column.endswith("_id"):
        return integers(values)
    if is_text(values) and _all_lists(values):
        return values.astype(object).map(_listed)
    return values


def integers(values: pd.Series[Any]) -> pd.Series[Any]:
    """As integers that may be absent; as they are where one is none."""
    if pd.api.types.is_float_dtype(values) and (values.abs() > LARGEST_EXACT).any():
        return values
    try:
        return values.astype("Int64")
    except (TypeError, ValueError, OverflowError):
        return values


def _all_lists(values: pd.Series[Any]) -> bool:
    present = values.dropna()
    return len(present) > 0 and all(map(rows.is_list, present))


def _listed(value: object) -> object:
    return rows.listed(value) if isinstance(value, str) else value


def is_text(values: pd.Series[Any]) -> bool:
    """Whether a column holds text, which must be compared with text."""
    return bool(pd.api.types.is_string_dtype(values))


def is_nested(values: pd.Series[Any]) -> bool:
    """Whether a column holds lists."""
    return values.dtype == object and any(isinstance(value, list) for value in values)


def line_of(error: BaseException) -> str:
    """What *error* says, in one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__
