"""The real AllenSDK, unmodified, on a mount of the sample: what it says is what is published."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import h5py
import pytest

from tests.allensdk.fingerprint import fingerprint
from vbofs.demo import PROJECT

PYTHON = os.environ.get("ALLENSDK_PYTHON", "")
ASK = Path(__file__).with_name("ask.py")
RELEASES = ["0.1.0", "0.2.0", "1.0.1", "1.1.0"]
SESSION = "behavior_sessions/behavior_session_870987812.nwb"
EXPERIMENT = "behavior_ophys_experiments/behavior_ophys_experiment_951980471.nwb"
#: Of that experiment: it has no file of its own.
OPHYS_SESSION = 951520319


def manifest(release):
    return f"{PROJECT}_project_manifest_v{release}.json"


@pytest.fixture(scope="module")
def sdk(shared, sample_url):
    """``sdk(mode, cache_dir, …)``: what AllenSDK answers there."""
    assert PYTHON, "run it by: make test-allensdk"

    def ask(mode, cache_dir, *, release=None, session=870987812, compare=None):
        questions = {
            "manifest": release and manifest(release),
            "session": session,
            "experiment": 951980471,
            "compare": compare and [manifest(one) for one in compare],
        }
        outcome = shared.machine.execute(
            *(PYTHON, "-B", str(ASK), mode, str(cache_dir), json.dumps(questions)),
            PYTHONWARNINGS="ignore",
            AWS_ENDPOINT_URL=sample_url,
            AWS_DEFAULT_REGION="us-west-2",
            AWS_EC2_METADATA_DISABLED="true",
        )
        assert outcome.status == 0, outcome.err
        return json.loads(outcome.out)

    return ask


@pytest.fixture(autouse=True)
def nothing_used_before(shared):
    """Each test is somebody's first."""
    yield
    for path in (shared.machine.home / ".local/state/vbofs").glob("*last_used*"):
        path.unlink()


def assert_is_the_release(answers, release, sample):
    """Tables, a session and an experiment are those of *release*, number by number."""
    paths = sample.release(release).paths
    assert answers["manifest"] == manifest(release)
    names = {"behavior_sessions": "behavior_session_table", "cells": "ophys_cells_table"}
    for key, name in names.items():
        with paths[f"project_metadata/{name}.csv"].open() as table:
            assert answers["tables"][key] == sum(1 for _ in csv.DictReader(table))
    with h5py.File(paths[SESSION]) as file:
        assert answers["session"]["id"] == 870987812
        assert answers["session"]["speed"] == fingerprint(file["processing/running/speed/data"])
        assert answers["session"]["trials"] == len(file["intervals/trials/id"])
    with h5py.File(paths[EXPERIMENT]) as file:
        dff = file["processing/ophys/dff/traces/data"][:].T
        assert answers["experiment"]["dff"] == fingerprint(dff)
        assert (answers["experiment"]["id"], answers["experiment"]["cells"]) == (951980471, 12)


# --- the three modes; a file that the SDK did not find it would have to write, and the mount is
# --- read-only, so an answer at all says that nothing was downloaded


def test_a_static_cache_is_the_latest_release(sdk, shared, sample):
    answers = sdk("static", shared / "allensdk")
    assert_is_the_release(answers, "1.1.0", sample)
    assert answers["downloaded"] == [manifest("1.1.0")]
    assert answers["warned"] == []


@pytest.mark.parametrize("mode", ["local", "s3"])
def test_a_cache_opens_the_latest_release_and_any_other_and_remembers_it(mode, sdk, shared, sample):
    answers = sdk(mode, shared / "allensdk")
    assert answers["first"] == manifest("1.1.0")
    assert_is_the_release(answers, "1.1.0", sample)
    assert answers["downloaded"] == [manifest(release) for release in RELEASES]
    assert answers["warned"] == []
    assert_is_the_release(sdk(mode, shared / "allensdk", release="1.0.1"), "1.0.1", sample)
    assert sdk(mode, shared / "allensdk")["first"] == manifest("1.0.1")


@pytest.mark.parametrize("mode", ["static", "local"])
def test_a_pinned_cache_is_its_release_whatever_is_published(mode, sdk, shared, sample):
    answers = sdk(mode, shared / "allensdk/v1.0.1")
    assert_is_the_release(answers, "1.0.1", sample)
    assert answers["downloaded"] == [manifest("1.0.1")]
    assert answers["warned"] == []


# --- what else it can do


def test_a_session_without_a_file_is_read_from_its_experiment(sdk, shared):
    answers = sdk("local", shared / "allensdk", session=OPHYS_SESSION)
    assert (answers["session"]["id"], answers["session"]["templates"]) == (OPHYS_SESSION, 8)


@pytest.mark.parametrize(
    ("older", "newer"), [("0.1.0", "0.2.0"), ("0.2.0", "1.0.1"), ("1.0.1", "1.1.0")]
)
def test_vbofs_diff_says_what_its_comparison_says(sdk, shared, older, newer):
    said = sdk("local", shared / "allensdk", compare=[older, newer])["compared"]
    theirs = said.split("\n\n", 1)[1].splitlines()
    found = json.loads(shared.machine.run("diff", older, newer, "--json").out)["files"]
    words = {"added": "created", "removed": "deleted", "changed": "changed"}
    ours = [f"{one['path']} {word}" for kind, word in words.items() for one in found[kind]]
    assert found["renamed"] == []
    assert sorted(ours) == sorted(theirs)
    assert len(theirs) > 2
