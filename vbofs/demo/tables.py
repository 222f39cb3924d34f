"""The sample's metadata tables: real rows of the published tables, cut to what a release holds.

The rows are shipped beside this file, without ``file_id``, which differs between releases. A
release writes them back with its own file ids and its own columns; lists of experiments inside a
row name only experiments that the release has. Pure but for reading the shipped rows.
"""

from __future__ import annotations

import csv
import io
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from .recording import Cell

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    Row = Mapping[str, str]

SESSIONS = "behavior_session_table"
OPHYS_SESSIONS = "ophys_session_table"
EXPERIMENTS = "ophys_experiment_table"
CELLS = "ophys_cells_table"
SHIPPED = (SESSIONS, OPHYS_SESSIONS, EXPERIMENTS)

# The ids of the first cell; a hundred are set aside for each experiment, more than any has.
FIRST_ROI = 1080884343
FIRST_SPECIMEN = 1086613265


@cache
def shipped(table: str) -> tuple[Row, ...]:
    """The rows of *table* as they are in the package, file_id left out."""
    text = (resources.files(__package__) / f"{table}.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(io.StringIO(text)))


def owns_a_file(session: Row) -> bool:
    """Sessions with imaging are published as experiments, and have no file of their own."""
    return not session["ophys_session_id"]


def cells_of(experiment: str) -> tuple[Cell, ...]:
    """12 to 40 cells, the same in every release."""
    position = [row["ophys_experiment_id"] for row in shipped(EXPERIMENTS)].index(experiment)
    count = 40 - int(experiment) % 29
    first = 100 * position
    return tuple(
        Cell(FIRST_ROI + first + number, FIRST_SPECIMEN + first + number) for number in range(count)
    )


def cell_rows(experiments: Iterable[Row], *, limit: int | None) -> list[Row]:
    """The cells table; *limit* is the number of cells an experiment may have at most."""
    return [
        {
            "cell_roi_id": str(cell.roi_id),
            "cell_specimen_id": str(cell.specimen_id),
            "ophys_experiment_id": row["ophys_experiment_id"],
        }
        for row in experiments
        for cell in cells_of(row["ophys_experiment_id"])[:limit]
    ]


def keep_experiments(row: Row, experiments: Collection[str]) -> Row:
    """*row* with its list of experiments cut to *experiments*."""
    listed = row["ophys_experiment_id"].strip("[]")
    if not listed:
        return row
    kept = [name for name in listed.split(", ") if name in experiments]
    return {**row, "ophys_experiment_id": f"[{', '.join(kept)}]"}


def to_csv(rows: Sequence[Row], *, without: Collection[str] = ()) -> bytes:
    """Bytes of a CSV with the columns of the first row, less *without*."""
    columns = [column for column in rows[0] if column not in without]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
