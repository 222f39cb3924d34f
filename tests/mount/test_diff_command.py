"""``vbofs diff``, and what moving from one release to the next would cost."""

from __future__ import annotations

import json
import re

import pytest

from tests.mount.refusal import assert_refused
from vbofs import errors

EXPERIMENTS = "behavior_ophys_experiments/behavior_ophys_experiment_"
KEPT = "behavior_sessions/behavior_session_870987812.nwb"
GONE = "behavior_sessions/behavior_session_888295170.nwb"
CELLS = "project_metadata/ophys_cells_table.csv"


@pytest.fixture
def diff(at_sample):
    def run(*words):
        outcome = at_sample.run("diff", *words, "--json")
        assert (outcome.status, outcome.err) == (0, ""), outcome
        return json.loads(outcome.out)

    return run


def paths(found):
    return {kind: [f["path"] for f in found["files"][kind]] for kind in ("added", "removed")}


def test_files_and_rows_are_those_of_the_releases(diff, sample):
    found = diff("v0.2.0", "v1.0.1")
    older, newer = (sample.release(name).paths for name in ("0.2.0", "1.0.1"))
    assert paths(found)["added"] == sorted(set(newer) - set(older))
    assert paths(found)["removed"] == sorted(set(older) - set(newer)) == [GONE]
    changed = [p for p in older if p in newer and older[p].read_bytes() != newer[p].read_bytes()]
    assert [one["path"] for one in found["files"]["changed"]] == sorted(changed)
    for one in found["files"]["changed"]:
        path = one["path"]
        assert (one["was"], one["bytes"]) == tuple(p[path].stat().st_size for p in (older, newer))
    sessions = next(t for t in found["tables"] if t["name"] == "behavior_session_table")
    assert (sessions["removed"], sessions["by_column"]) == (["888295170"], {"file_id": 1})


def test_moving_costs_what_is_not_cached(at_sample, diff, sample):
    whole = diff("0.2.0", "1.0.1")["fetch"]
    older, newer = (sample.release(name).paths for name in ("0.2.0", "1.0.1"))
    tables = sum(path.stat().st_size for name, path in newer.items() if name.endswith(".csv"))
    # The tables that differ were read to say how; the one that is new was not.
    new = sum(path.stat().st_size for path in newer.values())
    assert whole["everything"] == new - tables + newer[CELLS].stat().st_size
    mounted = at_sample.mount()
    remade = f"{EXPERIMENTS}792815735.nwb"
    for path in (KEPT, remade):
        (mounted / f"v0.2.0/{path}").read_bytes()
    mounted.requests()
    now = diff("0.2.0", "1.0.1")["fetch"]
    assert now["everything"] == whole["everything"] - older[KEPT].stat().st_size
    sizes = older[remade].stat().st_size, newer[remade].stat().st_size
    assert now["what_is_cached"] - whole["what_is_cached"] == min(sizes)


def test_people_see_names_numbers_and_how_many_more(at_sample):
    outcome = at_sample.run("diff", "v1.0.1", "v1.1.0")
    assert (outcome.status, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert re.fullmatch(r"v1\.0\.1 \(.*\) to v1\.1\.0 \(.*\)", lines[0])
    assert any(line.startswith("  changed    8 files, ") for line in lines)
    assert f"    {KEPT}  " in outcome.out
    assert "    changed in: file_id (3)" in lines
    assert lines[-1].startswith("  to fetch   ")


def test_the_newer_release_is_the_latest_unless_named(diff):
    assert diff("1.0.1")["to"] == "1.1.0"


def test_a_release_differs_from_itself_in_nothing(diff):
    found = diff("1.1.0", "latest")
    assert (found["files"]["changed"], found["tables"]) == ([], [])


def test_tables_are_not_read_if_nobody_asks(at_sample, diff):
    assert diff("0.1.0", "0.2.0", "--no-tables")["tables"] == []
    assert not any((at_sample.cache / "blobs").rglob("*.map"))


def test_many_names_are_cut_short_and_shown_if_wanted(at_s3, published):
    published.release("1.0.0", {})
    published.release("1.1.0", {f"a/{n:03}.nwb": 10 for n in range(25)})
    said = at_s3.run("diff", "1.0.0", "1.1.0").out
    assert said.count(".nwb") == 10
    assert "… and 15 more; --all shows them" in said
    assert at_s3.run("diff", "1.0.0", "1.1.0", "--all").out.count(".nwb") == 25


def test_a_table_that_cannot_be_read_costs_only_its_rows(at_s3, published):
    for release, table in (("1.0.0", b"id\n1\n"), ("1.1.0", b"\n")):
        published.release(release, {"project_metadata/t.csv": table, "a.nwb": 10})
    outcome = at_s3.run("diff", "1.0.0", "1.1.0")
    assert outcome.status == 0
    assert "project_metadata/t.csv: the table" in outcome.out


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        (("9.9.9",), errors.UnknownRelease, "there are 0.1.0"),
        (("newest",), errors.SettingsInvalid, "write v1.0.1 or latest"),
        (("../1.0.1", "1.1.0"), errors.SettingsInvalid, "is not a release"),
    ],
)
def test_a_release_that_is_none_is_refused(at_sample, words, error, hint):
    assert_refused(at_sample, at_sample.run("diff", *words), error, hint)
