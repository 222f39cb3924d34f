"""The sister dataset: nested directories, other tables, other ids; its shape, mounted for real."""

from __future__ import annotations

import json
import os

import pytest

import vbofs
from tests.mount.published import Published
from tests.mount.test_api import user
from tests.small_tables import to_csv

__all__ = ["user"]

DATASET = "visual-behavior-neuropixels"
SESSION, PROBE, TRAINING = 1044385384, 1044506933, 1043752325
FOLDER = f"behavior_ecephys_sessions/{SESSION}"
ECEPHYS = f"{FOLDER}/ecephys_session_{SESSION}.nwb"
LFP = f"{FOLDER}/probe_probeA_lfp.nwb"
BEHAVIOR = f"behavior_only_sessions/{TRAINING}/behavior_session_{TRAINING}.nwb"
MOUSE = {
    "mouse_id": 524761,
    "genotype": "Sst-IRES-Cre/wt;Ai32(RCL-ChR2(H134R)_EYFP)/wt",
    "sex": "F",
}
RECORDED = {"ecephys_session_id": SESSION, "behavior_session_id": 1044408432}
TABLES = {
    "behavior_sessions": to_csv(
        {**MOUSE, "behavior_session_id": TRAINING, "session_type": "TRAINING_0", "file_id": 2},
        {**MOUSE, **RECORDED, "session_type": "EPHYS_1_images_G_5uL_reward", "file_id": -999},
    ),
    "ecephys_sessions": to_csv(
        {
            **RECORDED,
            **MOUSE,
            "date_of_acquisition": "2020-08-19 14:36:08.263000+00:00",
            "session_type": "EPHYS_1_images_G_5uL_reward",
            "experience_level": "Familiar",
            "unit_count": 2179,
            "structure_acronyms": "['CA1', 'VISp', nan]",
            "file_id": 0,
        }
    ),
    "probes": to_csv(
        {
            "ecephys_probe_id": PROBE,
            "ecephys_session_id": SESSION,
            "name": "probeA",
            "structure_acronyms": "['CA1']",
            "file_id": 1,
        }
    ),
    "channels": to_csv(
        {"ecephys_channel_id": 9, "ecephys_probe_id": PROBE, "ecephys_session_id": SESSION}
    ),
    "units": to_csv(
        *(
            {"unit_id": n, "ecephys_channel_id": 9, "ecephys_session_id": SESSION}
            for n in range(9000)
        )
    ),
}


@pytest.fixture
def mounted(at_s3, s3):
    there = Published(s3, DATASET)
    files = {ECEPHYS: 300_000, LFP: 20_000, BEHAVIOR: 10_000}
    there.release("0.5.0", {**{f"project_metadata/{n}.csv": t for n, t in TABLES.items()}, **files})
    return at_s3.mount("--dataset", DATASET)


def test_views_follow_the_tables_there_are(mounted, s3):
    root = mounted / "v0.5.0"
    assert sorted(os.listdir(root / "by-mouse/524761")) == [
        f"2020-08-19_EPHYS_1_images_G_5uL_reward_{SESSION}.nwb",
        f"2020-08-19_EPHYS_1_images_G_5uL_reward_probeA_CA1_{PROBE}.nwb",
        f"TRAINING_0_{TRAINING}.nwb",
    ]
    for name, path in (("VISp", ECEPHYS), ("CA1", LFP)):
        links = [
            root / "by-structure" / name / link
            for link in os.listdir(root / f"by-structure/{name}")
        ]
        assert str(root / path) in {os.path.realpath(link) for link in links}
    assert os.listdir(root / "by-cre-line") == ["Sst-IRES-Cre"]
    assert os.listdir(root / "by-container") == []
    units = [r for r in s3.requests if r.operation == "GET" and r.key.endswith("units.csv")]
    assert len(units) == 1  # Its first block: a table that names no file is not read.


def test_find_follows_the_tables_there_are(mounted):
    def find(*words):
        outcome = mounted.machine.run("find", *words)
        assert (outcome.status, outcome.err) == (0, ""), outcome
        return outcome.out.splitlines()

    session = [str(mounted / f"v0.5.0/{path}") for path in (ECEPHYS, LFP)]
    assert find("--session-id", str(SESSION), "--cre-line", "Sst-IRES-Cre") == session
    assert find("--table", "units", "--where", "unit_id == 7") == session
    rows = json.loads("\n".join(find("--structure", "VISp", "--format", "json")))
    assert [row["structure_acronyms"] for row in rows] == [["CA1", "VISp"]]
    outcome = mounted.machine.run("find", "--container", "5")
    assert (outcome.status, outcome.err.count("\n")) == (43, 1)


def test_the_python_api_has_its_tables(mounted, user):
    user(mounted.machine)
    with vbofs.open("~/vbo") as ds:
        assert ds.ecephys_sessions.loc[SESSION, "structure_acronyms"] == ["CA1", "VISp"]
        assert ds.probes.index.tolist() == [PROBE]
        assert ds.channels.index.tolist() == [9]
        assert len(ds.units) == 9000
        assert ds.behavior_sessions["ecephys_session_id"].tolist()[1] == SESSION
        assert ds.path(ecephys_probe_id=PROBE) == mounted / f"v0.5.0/{LFP}"
        with pytest.raises(vbofs.VbofsError, match="no table 'ophys_experiment_table'"):
            _ = ds.ophys_experiments
