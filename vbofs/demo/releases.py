"""What each release of the sample holds: which files, in which revision, under which ids. Pure.

A *revision* is the release in which a file got its present bytes. The history is the real
dataset's in small (docs of the publisher, and its manifests):

* 0.1.0, the first; 0.2.0 changes only tables and pins the same objects again;
* 1.0.1 keeps most files, changes some, drops some, brings three more mice and a fourth table;
* 1.1.0 changes every file, drops one more, and numbers the files anew with small integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zlib import crc32

from . import tables
from .recording import Recording, Shape

if TYPE_CHECKING:
    from .tables import Row

BUCKET = "visual-behavior-ophys-data"
PROJECT = "visual-behavior-ophys"
REGION = "us-west-2"

# Only the last date is the real one; the others, the SDK versions and the notes are made up.
DATES = {
    "0.1.0": datetime(2021, 3, 25, tzinfo=UTC),
    "0.2.0": datetime(2021, 5, 13, tzinfo=UTC),
    "1.0.1": datetime(2022, 1, 13, tzinfo=UTC),
    "1.1.0": datetime(2023, 11, 10, tzinfo=UTC),
}
VERSIONS = tuple(DATES)
SDK = {"0.1.0": "2.10.0", "0.2.0": "2.10.2", "1.0.1": "2.13.2", "1.1.0": "2.16.0"}
NOTES = {
    "0.1.0": "First release.",
    "0.2.0": "Tables only: columns behavior_type and experience_level.",
    "1.0.1": "Three more mice; table of cells; some files made again, some withdrawn.",
    "1.1.0": "All files made again; file ids are small integers; one session withdrawn.",
}

LATER_MICE = {"467951", "476970", "533527"}  # their recordings come with 1.0.1
GONE = {  # session or experiment: the first release without it
    "888295170": "1.0.1",
    "994278291": "1.0.1",
    "994174745": "1.0.1",  # the session of that experiment
    "892510304": "1.1.0",
}
REMADE = {"872953842", "760808911", "846672693", "951980479", "792815735"}  # anew in 1.0.1
SMALL = {  # one of each fate: kept, remade, withdrawn, brought by 1.0.1
    *("870987812", "872953842", "888295170", "930435266"),
    *("951980471", "792815735", "993862620"),
    *("951520319", "792680306", "993766500"),  # the sessions of those experiments
}
LARGEST = "879332693"  # excitatory cells, the fast rig: the one file of about 60 MB

# Of the LIMS-like ids, which grew with time; and the first of the small ones.
FIRST_FILE_ID = {"0.1.0": 1085400869, "1.0.1": 1120142073, "1.1.0": 1}
NO_FILE = {"0.1.0": "", "0.2.0": "", "1.0.1": "", "1.1.0": "-999"}


@dataclass(frozen=True)
class PlannedFile:
    """One NWB file of a release, not made yet."""

    path: str
    file_id: str
    recording: Recording


@dataclass(frozen=True)
class PlannedTable:
    """One table of a release; tables are small, so they are planned as their bytes."""

    path: str
    name: str
    text: bytes


@dataclass(frozen=True)
class PlannedRelease:
    version: str
    tables: tuple[PlannedTable, ...]
    files: tuple[PlannedFile, ...]


def plan(*, small: bool) -> tuple[PlannedRelease, ...]:
    """Every release in the order of publication."""
    return tuple(_Planner(version, small=small).release() for version in VERSIONS)


def release_notes(until: str) -> str:
    """The text at the dataset's root as it read when *until* was the latest release."""
    known = VERSIONS[: VERSIONS.index(until) + 1]
    lines = [f"{version} ({DATES[version]:%Y-%m-%d})\n  {NOTES[version]}\n" for version in known]
    return "Sample of Visual Behavior Ophys: real ids, synthetic recordings\n\n" + "\n".join(lines)


class _Planner:
    """One release being put together: who is in, in which revision, in which shape."""

    def __init__(self, version: str, *, small: bool) -> None:
        self.version = version
        self.small = small
        self.sessions = self._present(tables.SESSIONS, "behavior_session_id")
        self.experiments = self._present(tables.EXPERIMENTS, "ophys_experiment_id")

    def __repr__(self) -> str:
        return f"_Planner({self.version!r}, small={self.small})"

    def release(self) -> PlannedRelease:
        owners = [row for row in self.sessions if tables.owns_a_file(row)]
        sessions = [self._session(row) for row in owners]
        experiments = [self._experiment(row) for row in self.experiments]
        return PlannedRelease(self.version, self._tables(), (*sessions, *experiments))

    # --- who is in

    def _present(self, table: str, key: str) -> list[Row]:
        return [row for row in tables.shipped(table) if self._has(row[key], row["mouse_id"])]

    def _has(self, ident: str, mouse: str) -> bool:
        if self.small and ident not in SMALL:
            return False
        if mouse in LATER_MICE and self.version < "1.0.1":
            return False
        return ident not in GONE or self.version < GONE[ident]

    def _revision(self, ident: str, mouse: str) -> str:
        if self.version == "1.1.0":
            return "1.1.0"
        new = ident in REMADE or mouse in LATER_MICE
        return "1.0.1" if new and self.version == "1.0.1" else "0.1.0"

    # --- the files

    def _session(self, row: Row) -> PlannedFile:
        ident = row["behavior_session_id"]
        path = f"behavior_sessions/behavior_session_{ident}.nwb"
        return self._file(path, ident, row)

    def _experiment(self, row: Row) -> PlannedFile:
        ident = row["ophys_experiment_id"]
        path = f"behavior_ophys_experiments/behavior_ophys_experiment_{ident}.nwb"
        return self._file(path, ident, row)

    def _file(self, path: str, ident: str, row: Row) -> PlannedFile:
        revision = self._revision(ident, row["mouse_id"])
        cells = tables.cells_of(ident)[: self._cell_limit] if "imaging_depth" in row else ()
        recording = Recording(
            name=path.rpartition("/")[2],
            revision=revision,
            created=DATES[revision],
            row=row,
            shape=_shape(ident, revision, cells=len(cells), small=self.small),
            cells=cells,
        )
        return PlannedFile(path, _file_id(ident, revision), recording)

    @property
    def _cell_limit(self) -> int | None:
        return 12 if self.small else None

    # --- the tables

    def _tables(self) -> tuple[PlannedTable, ...]:
        kept = {row["ophys_experiment_id"] for row in self.experiments}
        sessions = [tables.keep_experiments(self._with_id(row), kept) for row in self.sessions]
        experiments = [self._with_id(row) for row in self.experiments]
        made = [
            self._table(tables.SESSIONS, sessions),
            self._table(tables.OPHYS_SESSIONS, self._ophys_sessions(kept)),
            self._table(tables.EXPERIMENTS, experiments),
        ]
        if self.version >= "1.0.1":
            cells = tables.cell_rows(self.experiments, limit=self._cell_limit)
            made.append(self._table(tables.CELLS, cells))
        return tuple(made)

    def _ophys_sessions(self, kept: set[str]) -> list[Row]:
        present = {row["ophys_session_id"] for row in self.experiments}
        rows = tables.shipped(tables.OPHYS_SESSIONS)
        return [
            tables.keep_experiments(row, kept) for row in rows if row["ophys_session_id"] in present
        ]

    def _table(self, name: str, rows: list[Row]) -> PlannedTable:
        absent = {"behavior_type", "experience_level"} if self.version == "0.1.0" else set()
        text = tables.to_csv(rows, without=absent)
        return PlannedTable(f"project_metadata/{name}.csv", name, text)

    def _with_id(self, row: Row) -> Row:
        ident = row["behavior_session_id"]
        if "imaging_depth" in row:
            ident = row["ophys_experiment_id"]
        elif not tables.owns_a_file(row):
            return {**row, "file_id": NO_FILE[self.version]}
        return {**row, "file_id": _file_id(ident, self._revision(ident, row["mouse_id"]))}


def _file_id(ident: str, revision: str) -> str:
    """A file keeps its id as long as its bytes; no two revisions or files share one."""
    sessions = [row["behavior_session_id"] for row in tables.shipped(tables.SESSIONS)]
    experiments = [row["ophys_experiment_id"] for row in tables.shipped(tables.EXPERIMENTS)]
    return str(FIRST_FILE_ID[revision] + [*sessions, *experiments].index(ident))


def _shape(ident: str, revision: str, *, cells: int, small: bool) -> Shape:
    """Sizes that differ from file to file: 5 to 8 MB, 9 to 19 MB for experiments, one of 60."""
    vary = crc32(f"{ident}@{revision}".encode()) % 1000 / 1000
    if not cells:
        return Shape(samples=66_000 + int((12_000 if small else 32_000) * vary))
    if small:
        frames = 8_000 if ident == "951980471" else 3_000  # one with two 8 MiB parts
        return Shape(20_000 + int(4_000 * vary), cells, frames, images=(8, 150, 180))
    if ident == LARGEST:
        return Shape(60_000 + int(5_000 * vary), cells, 28_000, 31.0, (8, 400, 640))
    return Shape(38_000 + int(8_000 * vary), cells, 5_500 + int(2_000 * vary), images=(8, 200, 320))
