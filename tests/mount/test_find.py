"""``vbofs find`` and the views, on the mounted sample: what people type, and what they get."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pty
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.mount.machine import VBOFS
from tests.mount.reading import opened, walked
from tests.small_tables import TABLES, to_csv
from vbofs import errors
from vbofs.catalog.views import VIEWS

EXPERIMENT = "behavior_ophys_experiments/behavior_ophys_experiment_951980471.nwb"
TRAINING = [
    "behavior_sessions/behavior_session_870987812.nwb",
    "behavior_sessions/behavior_session_872953842.nwb",
]
LINK = "by-mouse/457841/2019-09-20_OPHYS_1_images_A_VISp-150um_951980471.nwb"


@pytest.fixture
def find(shared):
    """``find(*words)``: what it prints; anything but success is a failure of the test."""

    def run(*words):
        outcome = shared.machine.run("find", *words)
        assert (outcome.status, outcome.err) == (0, ""), outcome
        return outcome.out.splitlines()

    return run


def begins_as_hdf5(path):
    with opened(path) as fd:
        return os.pread(fd, 4, 0) == b"\x89HDF"


# --- find


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        (["--mouse", "457841"], [*TRAINING, EXPERIMENT]),
        (
            [
                *("--mouse", "457841", "--session-id", "951410079", "--structure", "VISp"),
                *("--container", "1018028342", "--depth", "100:200", "--cre-line", "Sst-IRES-Cre"),
                *("--session-type", "OPHYS_1*", "--experience-level", "Familiar"),
                *("--experiment-id", "951980471", "--where", "age_in_days > 100 and sex == 'F'"),
            ],
            [EXPERIMENT],
        ),
        (["--table", "ophys_cells_table", "--where", "cell_roi_id == 1080884343"], [EXPERIMENT]),
    ],
)
def test_paths_are_paths_in_the_mount_that_can_be_opened(find, shared, words, paths):
    found = find(*words)
    assert found == [str(shared / f"v1.1.0/{path}") for path in paths]
    for path in found:
        assert begins_as_hdf5(path)


def test_a_release_on_a_mount_can_be_asked_by_its_path(find, shared):
    assert find(str(shared / "v1.0.1"), "--mouse", "457841") == find(
        str(shared.path), "--release", "v1.0.1", "--mouse", "457841"
    )
    assert find(str(shared / "latest")) == find(str(shared.path))


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["v1.0.1/by-mouse"], 50, "v1.0.1/by-mouse is not a release; name the mount, "),
        (["v1.0.1", "--release", "v1.1.0"], 50, "is release 1.0.1, and --release says 1.1.0"),
        ([".", "--where", " "], 44, "--where: it is empty"),
        ([".", "--depth", ""], 44, "--depth: it is empty"),
        ([".", "--release", ""], 44, "--release: it is empty"),
    ],
)
def test_what_find_cannot_mean_is_one_line(shared, words, status, said):
    outcome = shared.machine.run("find", str(shared / words[0]), *words[1:])
    assert (outcome.status, outcome.out) == (status, "")
    assert said in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("release", ["v0.1.0", "1.0.1"])
def test_any_release_can_be_asked(find, shared, sample, release):
    bare = release.removeprefix("v")
    files = [file.path for file in sample.release(bare).files]
    found = find("--release", release)
    assert sorted(found) == sorted(str(shared / f"v{bare}/{path}") for path in files)


def test_formats_say_the_same(find, shared):
    words = ["--mouse", "457841"]
    assert find(*words, "--format", "ids") == ["870987812", "872953842", "951980471"]
    rows = list(csv.DictReader(io.StringIO("\n".join(find(*words, "--format", "csv")))))
    documents = json.loads("\n".join(find(*words, "--format", "json")))
    paths = find(*words)
    assert [row["path"] for row in rows] == [row["path"] for row in documents] == paths
    assert documents[2]["imaging_depth"] == 150
    assert documents[2]["date_of_acquisition"] == "2019-09-20T09:59:38.837Z"
    assert documents[0]["imaging_depth"] is None
    assert documents[0]["driver_line"] == ["Sst-IRES-Cre"]
    heading, *lines = find(*words, "--format", "table")
    assert heading.split()[:3] == ["id", "mouse_id", "cre_line"]
    assert [line.split()[0] for line in lines] == ["870987812", "872953842", "951980471"]
    tables = json.loads("\n".join(find("--table", "ophys_session_table", "--format", "json")))
    assert str(shared / f"v1.1.0/{EXPERIMENT}") in [path for row in tables for path in row["paths"]]


def test_columns_are_listed(find):
    lines = [line.split() for line in find("--columns")]
    assert ["mouse_id", "text", "412036,", "457841,", "476970"] in lines
    assert ["imaging_depth", "number", "150", "…", "275"] in lines


def test_the_mount_can_be_named_and_other_options_are_then_its_own(shared):
    outcome = shared.machine.run(
        "find", str(shared.path), "--mouse", "476970", "--format", "ids", VBOFS_ENDPOINT_URL=""
    )
    assert (outcome.status, outcome.out) == (0, "930435266\n993862620\n")


def test_without_a_mount_paths_are_relative_to_the_release(at_sample):
    outcome = at_sample.run("find", "--mouse", "457841", "--session-type", "OPHYS*")
    assert outcome == (0, f"{EXPERIMENT}\n", "")
    outcome = at_sample.run("find", "--offline", "--structure", "VISp", "--format", "ids")
    assert (outcome.status, outcome.out.split()[0]) == (0, "951980471")


def test_find_offline_without_the_tables_says_so(at_sample):
    at_sample.mount().umount()
    outcome = at_sample.run("find", "--offline", "--mouse", "457841")
    assert outcome.status == errors.Offline.exit_status
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["--mouse", "457842"], errors.UnknownColumn, "did you mean '457841'?"),
        (
            ["--table", "ophys_sessions"],
            errors.UnknownColumn,
            "did you mean 'ophys_session_table'?",
        ),
        (["--where", "__import__('os')"], errors.QueryInvalid, "calls are not allowed"),
        (["--depth", "deep"], errors.QueryInvalid, "write 150 or 100:200"),
        (["--release", "v9.9.9"], errors.UnknownRelease, "there are 0.1.0, 0.2.0, 1.0.1, 1.1.0"),
        (["--release", "newest"], errors.SettingsInvalid, "write v1.0.1 or latest"),
        (["/"], errors.NotMounted, "no vbofs of this user is mounted at /"),
    ],
)
def test_what_is_wrong_is_one_line_and_a_status_of_its_own(shared, words, error, said):
    outcome = shared.machine.run("find", *words)
    assert (outcome.status, outcome.out) == (error.exit_status, "")
    assert outcome.err.startswith("vbofs: ")
    assert outcome.err.count("\n") == 1
    assert said in outcome.err


def test_nothing_found_is_no_error_and_is_said(shared):
    words = ["--mouse", "412036", "--session-type", "TRAINING*"]
    outcome = shared.machine.run("find", *words)
    assert outcome == (0, "", "vbofs: nothing matches\n")


def test_rows_without_a_file_are_counted(shared, machine, s3, published):
    published.release("1.0.0", {"x.csv": to_csv({"x_id": 1, "file_id": 5}), "a.nwb": 10})
    machine.mount("--endpoint-url", s3.url)
    outcome = machine.run("find", "--table", "x")
    assert outcome == (0, "", "vbofs: 1 row of those have no file\n")


def test_what_a_table_says_does_not_move_the_cursor_of_a_terminal(machine, s3, published):
    evil = to_csv({"x_id": 1, "mouse_id": "\x1b[2J", "file_id": 0})
    published.release("1.0.0", {"x.csv": evil, "a\x1b[2J.nwb": 10})
    machine.mount("--endpoint-url", s3.url)
    for words in ([], ["--format", "table"]):
        said = on_a_terminal(machine, *VBOFS, "find", *words)
        assert b"[2J" in said
        assert b"\x1b" not in said


def on_a_terminal(machine, *command):
    """What *command* writes to a terminal."""
    reading, writing = pty.openpty()
    with machine.start(*command, stdout=writing) as running:
        os.close(writing)
        said = b""
        with contextlib.suppress(OSError):  # A terminal without a writer is no end of file.
            while piece := os.read(reading, 65536):
                said += piece
    os.close(reading)
    assert running.returncode == 0
    return said


def test_find_is_no_burden_to_who_does_not_use_it(shared):
    code = "import sys, vbofs, vbofs.cli.find; print({'pandas', 'trio', 'rich'} & {*sys.modules})"
    assert shared.machine.execute(VBOFS[0], "-c", code) == (0, "set()\n", "")


# --- views


def test_a_link_in_a_view_is_the_file_itself(shared):
    link, file = shared / f"v1.1.0/{LINK}", shared / f"v1.1.0/{EXPERIMENT}"
    assert os.readlink(link) == f"../../{EXPERIMENT}"
    assert os.path.samefile(link, file)
    assert begins_as_hdf5(shared / f"latest/{LINK}")
    assert os.lstat(link).st_blocks == 0


@pytest.mark.parametrize("release", ["0.1.0", "0.2.0", "1.0.1", "1.1.0"])
def test_every_file_of_every_release_is_in_its_views(shared, sample, release):
    root = shared / f"v{release}"
    files = {file.path for file in sample.release(release).files}
    for view in VIEWS:
        found = set()
        for folder, _, names in os.walk(root / view):
            for name in names:
                path = os.path.realpath(os.path.join(folder, name))
                found.add(os.path.relpath(path, root))
        experiments = {path for path in files if "experiment" in path}
        assert found == (experiments if view in ("by-structure", "by-container") else files)
    assert walked(root) == set(sample.release(release).paths)


def test_a_copy_of_a_release_has_each_file_once_and_its_views_work(shared, sample, tmp_path):
    copy = tmp_path / "v1.1.0"
    assert shared.machine.execute("cp", "-r", str(shared / "v1.1.0"), str(copy)).status == 0
    size = sum(local.stat().st_size for local in sample.release("1.1.0").paths.values())
    assert sum((copy / path).stat().st_size for path in walked(copy)) == size
    assert os.path.samefile(copy / LINK, copy / EXPERIMENT)
    shared.machine.execute("chmod", "-R", "u+w", str(tmp_path))


def test_looking_at_a_release_asks_for_no_table(at_sample):
    mounted = at_sample.mount()
    os.listdir(mounted / "v1.1.0")
    before = mounted.requests()
    os.listdir(mounted / "v1.1.0/behavior_sessions")
    subprocess.run(["ls", "-l", mounted / "v1.1.0"], check=True, capture_output=True)
    assert mounted.requests() == before
    os.listdir(mounted / "v1.1.0/by-mouse")
    assert mounted.requests()["get"] > before["get"]
    after = mounted.requests()
    for view in VIEWS:
        assert os.listdir(mounted / f"v1.1.0/{view}")
    assert mounted.requests() == after
    assert "/pandas/" not in Path(f"/proc/{mounted.pid}/maps").read_text()


def test_views_work_offline_once_their_tables_are_here(at_sample):
    mounted = at_sample.mount()
    os.listdir(mounted / "v1.1.0/by-mouse")
    os.listdir(mounted / "v1.0.1")
    mounted.requests()
    mounted.umount()
    at_sample.expect("is not cached, and vbofs runs with --offline")
    mounted = at_sample.mount("--offline")
    assert os.listdir(mounted / "v1.1.0/by-structure") == ["VISp"]
    with pytest.raises(OSError, match="Network is unreachable"):
        os.listdir(mounted / "v1.0.1/by-mouse")
    assert (mounted / f"v1.0.1/{EXPERIMENT}").stat().st_size


def test_a_bad_table_makes_an_empty_view_and_the_mount_goes_on(at_s3, published):
    at_s3.expect("WARNING .*v1.0.0/by-.* is empty: the table behavior_session_table is empty")
    published.release("1.0.0", {"project_metadata/behavior_session_table.csv": b"\n", "a.nwb": 10})
    published.release("1.1.0", {**TABLES, "a.nwb": 10})
    mounted = at_s3.mount()
    assert os.listdir(mounted / "v1.0.0/by-mouse") == []
    assert os.listdir(mounted / "v1.0.0/by-mouse") == []
    assert at_s3.log().count("v1.0.0/by-mouse is empty") == 1
    assert os.listdir(mounted / "v1.1.0/by-mouse") == ["457841"]
    assert (mounted / "v1.0.0/a.nwb").stat().st_size == 10


# --- completion


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("vbofs fi", ["find"]),
        ("vbofs find --cre", ["--cre-line"]),
        ("vbofs find --format c", ["csv"]),
        ("vbofs find --mouse ", ["412036", "457841", "476970"]),
        ("vbofs find --cre-line S", ["Sst-IRES-Cre"]),
    ],
)
def test_a_shell_completes_commands_options_and_values(shared, typed, offered):
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split(" ")) - 1)}
    outcome = shared.machine.run(_VBOFS_COMPLETE="bash_complete", **words)
    found = [line.partition(",")[2] for line in outcome.out.splitlines()]
    assert found == offered


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_can_load_its_completion(shared, shell):
    outcome = shared.machine.run("completion", shell)
    assert outcome.status == 0
    assert "_VBOFS_COMPLETE" in outcome.out
    if shutil.which(shell):
        assert shared.machine.execute(shell, "-n", "-c", outcome.out) == (0, "", "")


def test_a_completion_without_a_mount_offers_no_values(machine):
    words = {"COMP_WORDS": "vbofs find --mouse ", "COMP_CWORD": "3"}
    assert machine.run(_VBOFS_COMPLETE="bash_complete", **words).out.strip() == ""
