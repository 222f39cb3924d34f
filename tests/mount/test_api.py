"""``import vbofs``: the dataset in Python, on the mounted sample and without a mount."""

from __future__ import annotations

import builtins
import doctest
import gc
import os
import pickle
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import pandas as pd
import pytest
import trio

import vbofs
from tests.mount.machine import VBOFS
from tests.mount.test_find import EXPERIMENT, TRAINING, begins_as_hdf5
from vbofs import api, errors
from vbofs.api.stream import opened
from vbofs.api.worker import Worker


@pytest.fixture
def user(monkeypatch):
    """``user(machine)``: this process is that machine's user from now on."""

    def become(machine):
        for name, value in machine.env.items():
            if name in ("HOME", "XDG_RUNTIME_DIR", "VBOFS_ENDPOINT_URL"):
                monkeypatch.setenv(name, value)
        monkeypatch.delenv("XDG_CACHE_HOME")
        return machine

    return become


@pytest.fixture
def ds(shared, user):
    user(shared.machine)
    with vbofs.open("~/vbo") as dataset:
        yield dataset


@pytest.fixture
def loose(at_sample, user):
    """The dataset without a mount."""
    user(at_sample)
    with vbofs.open(dataset="visual-behavior-ophys", release="1.0.1") as dataset:
        yield dataset


def test_what_the_documentation_shows_is_what_happens(ds):
    names = {"ds": ds, "vbofs": vbofs}
    results = [
        doctest.testmod(module, extraglobs=names, optionflags=doctest.NORMALIZE_WHITESPACE)
        for module in (api, api.dataset)
    ]
    assert sum(result.failed for result in results) == 0
    assert sum(result.attempted for result in results) > 15


def test_tables_are_those_of_the_release_typed_as_allensdk_has_them(ds, sample):
    table = ds.behavior_sessions
    local = sample.release("1.1.0").paths["project_metadata/behavior_session_table.csv"]
    raw = pd.read_csv(local)
    assert table.index.tolist() == raw["behavior_session_id"].tolist()
    assert table["ophys_session_id"].dtype == "Int64"
    assert str(table["date_of_acquisition"].dt.tz) == "UTC"
    assert ds.ophys_cells["cell_specimen_id"].dtype == "Int64"
    table["mouse_id"] = "mine"  # A copy: what I do to it is done to no other.
    assert "mine" not in ds.behavior_sessions["mouse_id"].tolist()


def test_files_are_found_by_any_id_and_only_by_one(ds, shared):
    assert ds.path(ophys_experiment_id=951980471) == shared / f"v1.1.0/{EXPERIMENT}"
    assert ds.path(ophys_session_id=951410079).name == ds.path(ophys_container_id=1018028342).name
    with pytest.raises(vbofs.VbofsError, match=r"3 files of v1.1.0 have mouse_id=457841"):
        ds.path(mouse_id=457841)
    with pytest.raises(errors.UnknownColumn, match=r"no file of v1.1.0 has ophys_experiment_id=1"):
        ds.path(ophys_experiment_id=1)
    with pytest.raises(errors.UnknownColumn, match="did you mean 'ophys_experiment_id'"):
        ds.path(ophys_experiment=1)
    with pytest.raises(errors.UnknownColumn, match=r"no table 'units' in v1.1.0"):
        _ = ds.units
    with pytest.raises(errors.QueryInvalid, match="mice: there are "):
        ds.find(mice=1)


def test_find_in_python_is_find_in_the_shell(ds, shared):
    found = ds.find(session_type=["TRAINING_0*", "TRAINING_1*"], mouse=457841)
    assert found["path"].tolist() == [str(shared / f"v1.1.0/{path}") for path in TRAINING]
    assert len(ds.find(depth=(100, 200), where="sex == 'F'")) == 2
    assert ds.find(table="ophys_session_table", mouse="457841")["paths"].str.len().tolist() == [1]
    assert len(ds.files) == 6


def test_a_diff_names_every_file_that_is_not_as_it_was(ds, sample):
    found = ds.diff("v1.0.1", "1.1.0")
    old, new = (sample.release(r) for r in ("1.0.1", "1.1.0"))
    before, after = ({f.path: f for f in (*r.tables, *r.files)} for r in (old, new))
    assert set(found["path"]) == {
        path
        for path in before.keys() | after.keys()
        if path not in before or path not in after or before[path].digest != after[path].digest
    }
    for _, row in found[found["change"] == "changed"].iterrows():
        sizes = (before[row["path"]].size, after[row["path"]].size)
        assert (row["bytes_before"], row["bytes_after"]) == sizes
    gone = found[found["change"] == "removed"]
    assert set(gone["path"]) == before.keys() - after.keys()
    assert gone["bytes_after"].isna().all()
    assert ds.diff("1.1.0", "latest").empty


def test_a_mount_that_is_not_there_and_a_release_that_it_does_not_show(shared, user, tmp_path):
    user(shared.machine)
    with pytest.raises(errors.NotMounted, match="no vbofs of this user is mounted at"):
        vbofs.open(tmp_path)
    with pytest.raises(errors.UnknownRelease, match=r"no release 9.9.9; there are 0.1.0"):
        vbofs.open("~/vbo", release="9.9.9")
    with pytest.raises(errors.QueryInvalid, match="'newest' is not a release"):
        vbofs.open("~/vbo", release="newest")
    assert vbofs.open().path(behavior_session_id=870987812).parent.parent == shared / "v1.1.0"


# --- without a mount


def test_without_a_mount_files_are_streams_through_the_same_cache(loose, at_sample, sample):
    truth = sample.release("1.0.1").paths[EXPERIMENT].read_bytes()
    assert str(loose.path(ophys_experiment_id=951980471)) == EXPERIMENT
    with loose.open(ophys_experiment_id=951980471) as file:
        assert file.read(1000) == truth[:1000]
        assert file.seek(-10, os.SEEK_END) == len(truth) - 10
        assert file.read() == truth[-10:]
        file.seek(3_000_000)
        assert file.read(1_000_000) == truth[3_000_000:4_000_000]
        with pytest.raises(ValueError, match="before the file's beginning"):
            file.raw.seek(-1)
    assert loose.open_nwb(ophys_experiment_id=951980471).subject.subject_id == "457841"
    with vbofs.open(release="1.0.1", offline=True, cache_dir=at_sample.cache) as offline:
        with offline.open(ophys_experiment_id=951980471) as file:
            assert file.read(1000) == truth[:1000]
        with offline.open(behavior_session_id=870987812) as file, pytest.raises(vbofs.VbofsError):
            file.read(1)


def test_no_garbage_is_collected_while_h5py_waits_for_the_other_thread(loose):
    """What is collected there may be h5py's own, and wait for the lock that h5py holds."""
    collecting = []

    class Watched(Worker):
        def run(self, work):
            collecting.append(gc.isenabled())
            return super().run(work)

    (blob,) = [blob for path, blob in loose._contents.files if path == EXPERIMENT]
    worker = Watched(loose._worker.settings)
    with opened(worker, blob) as stream, h5py.File(stream, "r") as file:
        reads = len(collecting)
        assert file["processing/ophys/dff/traces/data"][:10, 0].size == 10
        assert len(collecting) > reads > 0
        assert not any(collecting)
    assert gc.isenabled()
    worker.close()


def test_threads_event_loops_copies_and_forks_can_all_use_it(loose):
    expected = loose.ophys_cells.shape
    with ThreadPoolExecutor(4) as pool:
        shapes = pool.map(lambda _: loose.at("1.1.0").ophys_cells.shape, range(4))
        assert len(set(shapes)) == 1

    async def in_a_loop():
        return loose.table("ophys_session_table").shape[0]

    assert trio.run(in_a_loop) == 3
    with pickle.loads(pickle.dumps(loose)) as again:
        assert again.ophys_cells.shape == expected
    code = (
        "import os, vbofs; ds = vbofs.open(dataset='visual-behavior-ophys'); pid = os.fork();\n"
        "print(ds.ophys_cells.shape[0], flush=True)\n"
        "os.waitpid(pid, 0) if pid else os._exit(0)"
    )
    done = subprocess.run([VBOFS[0], "-c", code], capture_output=True, check=True, timeout=60)
    assert done.stdout.split()[0] == done.stdout.split()[1]
    assert done.stderr == b"" or b"fork" in done.stderr


def test_a_dataset_lets_go_of_its_thread(loose):
    threads = {thread.name for thread in threading.enumerate()}
    assert "vbofs" in threads
    loose.close()
    assert "vbofs" not in {thread.name for thread in threading.enumerate()}
    assert loose.ophys_sessions.shape[0] == 3  # It is opened again when it is needed again.


def test_a_program_ends_whatever_it_left_open(loose):
    code = (
        "import vbofs; ds = vbofs.open(dataset='visual-behavior-ophys')\n"
        "file = ds.open(ophys_experiment_id=951980471); file.read(9)\n"
        "nwb = ds.open_nwb(ophys_experiment_id=951980471); ds.nobody\n"
    )
    done = subprocess.run([VBOFS[0], "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("AttributeError: 'Dataset' object has no attri")


def test_open_nwb_without_pynwb_says_what_to_install(ds, monkeypatch):
    real = builtins.__import__

    def without(name, *args):
        if name.startswith("pynwb"):
            raise ImportError(name="pynwb")
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(errors.ExtraMissing, match=r"open_nwb needs pynwb.*pip install pynwb"):
        ds.open_nwb(ophys_experiment_id=951980471)


def test_importing_it_costs_nothing():
    code = "import sys, vbofs; print(len([m for m in sys.modules if m.startswith('vbofs')]))"
    done = subprocess.run([VBOFS[0], "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2\n"
    assert set(vbofs.__all__) <= set(dir(vbofs))
    with pytest.raises(AttributeError, match="has no attribute 'opne'"):
        _ = vbofs.opne


def test_what_find_finds_can_be_opened_by_path(ds):
    assert all(begins_as_hdf5(Path(path)) for path in ds.files["path"])
