"""A release's tables in small: two training sessions, and an imaged one with two experiments."""

from __future__ import annotations

import csv
import io


def to_csv(*rows: dict[str, object]) -> bytes:
    """A CSV with the columns of all *rows*, in their order of appearance."""
    text = io.StringIO()
    columns = list(dict.fromkeys(column for row in rows for column in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


SST = {"mouse_id": 457841, "cre_line": "Sst-IRES-Cre"}
VIP = {"mouse_id": 412036, "cre_line": "Vip-IRES-Cre"}
DAY = {"date_of_acquisition": "2019-09-20 09:59:38.837000"}
IMAGED = {"behavior_session_id": 2, "ophys_session_id": 20, "session_type": "OPHYS_1_images_A"}

SESSIONS = to_csv(
    {"behavior_session_id": 1, **SST, "session_type": "TRAINING_0", "file_id": 0},
    {**IMAGED, **SST, "ophys_experiment_id": "[30, 31]", "file_id": -999},
    {"behavior_session_id": 3, **VIP, "session_type": "TRAINING_1", "file_id": "1.0"},
)
OPHYS_SESSIONS = to_csv({**IMAGED, **SST, "ophys_experiment_id": "[30, 31]"})
EXPERIMENTS = to_csv(
    {
        "ophys_experiment_id": 30,
        **IMAGED,
        "ophys_container_id": 40,
        **SST,
        **DAY,
        "targeted_structure": "VISp",
        "imaging_depth": 150,
        "file_id": 2,
    },
    {
        "ophys_experiment_id": 31,
        **IMAGED,
        "ophys_container_id": 41,
        **SST,
        **DAY,
        "targeted_structure": "VISl",
        "imaging_depth": 225,
        "file_id": 3,
    },
)
CELLS = to_csv(
    {"cell_roi_id": 7, "cell_specimen_id": "", "ophys_experiment_id": 30},
    {"cell_roi_id": 8, "cell_specimen_id": 9, "ophys_experiment_id": 31},
)
TABLES = {
    "project_metadata/behavior_session_table.csv": SESSIONS,
    "project_metadata/ophys_session_table.csv": OPHYS_SESSIONS,
    "project_metadata/ophys_experiment_table.csv": EXPERIMENTS,
    "project_metadata/ophys_cells_table.csv": CELLS,
}
#: In the order of their file ids, as ``Publisher.release`` counts them.
FILES = {path: path.encode() for path in ("s/1.nwb", "s/3.nwb", "e/30.nwb", "e/31.nwb")}
