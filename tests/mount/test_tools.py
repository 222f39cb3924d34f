"""Programs that scientists use, on a mount of the sample: what they read is what is published."""

from __future__ import annotations

import os
import re
import tarfile
from hashlib import md5

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO

from tests.programs import needs
from vbofs.demo import VERSIONS

EXPERIMENT = "behavior_ophys_experiments/behavior_ophys_experiment_951980471.nwb"
SESSION = "behavior_sessions/behavior_session_870987812.nwb"
TRACES = "processing/ophys/dff/traces/data"
RELEASE = "1.1.0"


@pytest.fixture
def mounted(shared):
    """The release that the tools are let loose on."""
    return shared / f"v{RELEASE}"


@pytest.fixture
def truth(sample):
    return sample.release(RELEASE).paths


@pytest.fixture
def tool(shared):
    """Run a program; anything on stderr is a failure."""

    def run(*command):
        outcome = shared.machine.execute(*map(str, command))
        assert (outcome.status, outcome.err) == (0, ""), outcome
        return outcome.out

    return run


# --- what reads NWB files


def test_h5py_reads_every_dataset_of_a_file_as_it_is(mounted, truth):
    with h5py.File(mounted / EXPERIMENT) as ours, h5py.File(truth[EXPERIMENT]) as theirs:
        names = []
        theirs.visititems(lambda name, item: names.append(name))
        assert len(names) > 50
        for name in names:
            if isinstance(theirs[name], h5py.Dataset):
                both = np.asarray(ours[name]), np.asarray(theirs[name])
                # Not a number equals nothing, but what was published of it is the same.
                assert np.array_equal(*both, equal_nan=both[0].dtype.kind == "f"), name
            assert ours[name].attrs.keys() == theirs[name].attrs.keys()


def test_h5py_reads_one_cell_and_fetches_little_else(machines, sample_url, truth):
    machine = machines(sample_url)
    try:
        mounted = machine.mount()
        with h5py.File(mounted / f"v{RELEASE}/{SESSION}") as file:
            speed = file["processing/running/speed/data"][1000:1010]
        with h5py.File(truth[SESSION]) as file:
            assert np.array_equal(speed, file["processing/running/speed/data"][1000:1010])
        assert mounted.requests()["received"] < truth[SESSION].stat().st_size // 2
    finally:
        machine.clean()


def test_pynwb_reads_traces_and_metadata(mounted, truth):
    with (
        NWBHDF5IO(mounted / EXPERIMENT, "r") as ours,
        NWBHDF5IO(truth[EXPERIMENT], "r") as theirs,
    ):
        mine, original = ours.read(), theirs.read()
        assert mine.identifier == original.identifier
        assert mine.session_start_time == original.session_start_time
        one, other = (nwb.processing["ophys"]["dff"]["traces"].data for nwb in (mine, original))
        assert one.shape == (8000, 12)
        assert np.array_equal(one[:, 3], other[:, 3])


@needs("h5dump")
def test_h5dump_prints_the_same_numbers(tool, mounted, truth):
    wanted = ["-d", f"/{TRACES}", "-s", "100,0", "-c", "3,4", "-m", "%.17g"]
    ours, theirs = (
        tool("h5dump", *wanted, path) for path in (mounted / EXPERIMENT, truth[EXPERIMENT])
    )
    assert ours.splitlines()[1:] == theirs.splitlines()[1:]
    assert "(100,0)" in ours


@needs("h5ls")
def test_h5ls_lists_the_same_tree(tool, mounted, truth):
    ours = tool("h5ls", "-r", mounted / EXPERIMENT)
    assert ours == tool("h5ls", "-r", truth[EXPERIMENT])
    assert re.search(rf"/{TRACES} +Dataset {{8000, 12}}", ours)


@needs("octave-cli")
def test_octave_reads_the_same_numbers(shared, mounted, truth):
    """Its own HDF5 import knows only Octave's files, but a published array lies in one piece."""
    with h5py.File(truth[EXPERIMENT]) as file:
        offset, traces = file[TRACES].id.get_offset(), file[TRACES][:]
    script = f"""
    file = fopen("{mounted / EXPERIMENT}", "r", "ieee-le");
    fseek(file, {offset}, SEEK_SET);
    printf("%.17g ", fread(file, {traces.size}, "double"));
    """
    # Without a desktop Debian's Octave grumbles on stderr as it ends.
    outcome = shared.machine.execute("octave-cli", "--quiet", "--eval", script)
    assert [float(word) for word in outcome.out.split()] == [*traces.flat], outcome.err


# --- what walks and copies


def test_find_finds_every_file_once(tool, shared, sample):
    for release in sample.releases:
        folder = shared / f"v{release.version}"
        found = tool("find", folder, "-type", "f").split()
        assert sorted(found) == sorted(str(folder / path) for path in release.paths)
    beside = tool("find", shared.path, "-type", "l", "-not", "-path", "*/by-*/*")
    beside = [path for path in beside.split() if "/allensdk/" not in path]
    assert beside == [str(shared / "latest")]


def test_find_follows_latest(tool, shared, truth):
    views = ("-name", "by-*", "-prune", "-o")
    found = tool("find", "-L", shared / "latest", *views, "-type", "f", "-printf", "%P %s\\n")
    assert dict(line.split() for line in found.splitlines()) == {
        path: str(local.stat().st_size) for path, local in truth.items()
    }


def test_cp_and_diff_agree(tool, mounted, truth, tmp_path):
    tool("cp", "-a", mounted, tmp_path / "copy")
    for path, local in truth.items():
        copy = tmp_path / "copy" / path
        assert copy.read_bytes() == local.read_bytes()
        assert copy.stat().st_mtime == (mounted / path).stat().st_mtime
        assert copy.stat().st_blocks * 512 >= local.stat().st_size  # There is no hole in it.
    assert tool("diff", "-r", mounted, tmp_path / "copy") == ""
    tool("chmod", "-R", "u+w", tmp_path / "copy")


def test_tar_packs_and_compares(tool, mounted, truth, tmp_path):
    tool("tar", "-C", mounted, "-cf", tmp_path / "release.tar", ".")
    with tarfile.open(tmp_path / "release.tar") as tar:
        for path, local in truth.items():
            packed = tar.extractfile(f"./{path}")
            assert packed is not None
            assert packed.read() == local.read_bytes()
            assert not tar.getmember(f"./{path}").issparse()
    assert tool("tar", "-C", mounted, "-df", tmp_path / "release.tar") == ""


@needs("rsync")
def test_rsync_plans_a_copy_and_finds_a_true_one_in_step(tool, mounted, truth, tmp_path):
    planned = tool("rsync", "-aXn", "--out-format=%n %l", f"{mounted}/", tmp_path / "none")
    lines = {line for line in planned.splitlines() if ".nwb" in line or ".csv" in line}
    files = {f"{path} {local.stat().st_size}" for path, local in truth.items()}
    assert {line for line in lines if not line.startswith("by-")} == files
    assert lines > files
    tool("cp", "-r", "--preserve=timestamps", mounted, tmp_path / "copy")
    words = ["rsync", "-rltnc", "--out-format=%n", f"{mounted}/", tmp_path / "copy"]
    assert not [line for line in tool(*words).splitlines() if not line.endswith("/")]
    tool("chmod", "-R", "u+w", tmp_path / "copy")


def test_md5sum_checks(tool, mounted, truth, tmp_path):
    sums = [
        f"{md5(local.read_bytes()).hexdigest()}  {mounted / path}" for path, local in truth.items()
    ]
    (tmp_path / "sums").write_text("\n".join(sums) + "\n")
    assert tool("md5sum", "-c", tmp_path / "sums").count(": OK\n") == len(truth)


# --- what describes


def test_ls_shows_sizes_modes_and_owner(tool, mounted, truth):
    shown = tool("ls", "-ln", mounted / "behavior_sessions")
    for path, local in truth.items():
        if path.startswith("behavior_sessions/"):
            size, name = local.stat().st_size, os.path.basename(path)
            owner = f"{os.getuid()} {os.getgid()}"
            assert re.search(rf"^-r--r--r-- 1 {owner} +{size} .* {name}$", shown, re.MULTILINE)


def test_du_counts_all_bytes_and_shared_ones_once(tool, shared, sample, truth):
    size = sum(local.stat().st_size for local in truth.values())
    counted = int(tool("du", "-s", "--block-size=1", shared / f"v{RELEASE}").split()[0])
    assert size <= counted < size + 512 * len(truth)  # Links to files count nothing.
    both = int(
        tool("du", "-sc", "--block-size=1", shared / "v0.1.0", shared / "v0.2.0").split()[-2]
    )
    tables = sum(table.size + 512 for table in sample.release("0.2.0").tables)
    one = sum(local.stat().st_size + 512 for local in sample.release("0.1.0").paths.values())
    assert both <= one + tables


def test_df_shows_the_dataset_and_no_room(tool, shared):
    shown = tool("df", "--output=source,fstype,avail,pcent,target", shared.path).splitlines()[-1]
    assert shown.split() == ["visual-behavior-ophys", "fuse.vbofs", "0", "100%", str(shared.path)]


@needs("file")
def test_file_tells_what_is_what(tool, mounted):
    assert "Hierarchical Data Format" in tool("file", mounted / SESSION)
    assert "CSV" in tool("file", mounted / "project_metadata/behavior_session_table.csv")


def test_grep_and_head_read_tables_and_manifests(tool, shared, mounted):
    assert tool("head", "-c", "13", mounted / "project_metadata/behavior_session_table.csv")
    found = tool("grep", "-l", "manifest_version", "-r", shared / "manifests").split()
    assert len(found) == len(VERSIONS)
