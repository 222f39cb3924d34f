"""Tables as large as the published ones, made up: 4787 sessions, 704 of them imaged, in 1941
planes."""

from __future__ import annotations

import itertools
import random

from tests.small_tables import to_csv

SESSIONS, IMAGED, EXPERIMENTS, MICE = 4787, 704, 1941, 107
LINES = ("Sst-IRES-Cre", "Vip-IRES-Cre", "Slc17a7-IRES2-Cre")
STRUCTURES = ("VISp", "VISl", "VISal", "VISam")


def real_sized():
    """The tables by name, and the paths by file id."""
    chance, idents, sessions, experiments = random.Random(1), {}, [], []
    for n in range(SESSIONS):
        mouse = n % MICE
        row = {
            "behavior_session_id": 870000000 + n,
            "ophys_session_id": "",
            "mouse_id": 400000 + mouse,
            "cre_line": LINES[mouse % 3],
            "full_genotype": "Sst-IRES-Cre/wt;Ai148(TIT2L-GC6f-ICL-tTA2)/wt",
            "driver_line": f"['{LINES[mouse % 3]}']",
            "age_in_days": chance.randrange(70, 250),
            "session_type": f"TRAINING_{n % 6}_images",
            "experience_level": "Training",
            "date_of_acquisition": f"20{18 + n % 4}-0{1 + n % 9}-11 14:46:33.550000+00:00",
            "ophys_experiment_id": "",
            "file_id": -999,
        }
        sessions.append(row)
    for number, row in enumerate(sessions[:IMAGED]):
        several = 3 if number < EXPERIMENTS - 2 * IMAGED else 2
        row |= {"session_type": f"OPHYS_{number % 6}_images_A", "experience_level": "Familiar"}
        row["ophys_session_id"] = 950000000 + number
        first = 990000000 + len(experiments)
        row["ophys_experiment_id"] = str(list(range(first, first + several)))
        experiments += [
            {
                **row,
                "ophys_experiment_id": ident,
                "ophys_container_id": 1010000000 + number % 326,
                "targeted_structure": STRUCTURES[ident % 4],
                "imaging_depth": 75 + ident % 300,
            }
            for ident in range(first, first + several)
        ]
    numbers = itertools.count(1)
    for row in sessions[IMAGED:]:
        row["file_id"] = next(numbers)
        name = f"behavior_session_{row['behavior_session_id']}.nwb"
        idents[str(row["file_id"])] = f"behavior_sessions/{name}"
    for row in experiments:
        row["file_id"] = next(numbers)
        name = f"behavior_ophys_experiment_{row['ophys_experiment_id']}.nwb"
        idents[str(row["file_id"])] = f"behavior_ophys_experiments/{name}"
    return {
        "behavior_session_table": to_csv(*sessions),
        "ophys_experiment_table": to_csv(*experiments),
    }, idents
