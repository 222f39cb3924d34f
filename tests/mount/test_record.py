"""Records of what is read through a real mount: every byte that a program got is in them."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess

import h5py
import pytest

from tests.mount.refusal import assert_refused
from tests.mount.waiting import eventually
from vbofs import errors
from vbofs.catalog.record import encode, parse

FILE = "behavior_sessions/behavior_session_870987812.nwb"
EXPERIMENT = "behavior_ophys_experiments/behavior_ophys_experiment_951980471.nwb"
TRACES = "processing/ophys/dff/traces/data"
RELEASE = "1.0.1"
PIECE = (1 << 20, 64 << 10)


@pytest.fixture
def mounted(at_sample):
    return at_sample.mount()


@pytest.fixture
def start(mounted):
    """Begin a record; its path."""

    def begin(name="record.json"):
        path = mounted.machine.root / name
        outcome = mounted.machine.run("record", "start", "-o", str(path))
        assert (outcome.status, outcome.err) == (0, ""), outcome
        return path

    return begin


@pytest.fixture
def stop(mounted):
    def end():
        outcome = mounted.machine.run("record", "stop")
        assert (outcome.status, outcome.err) == (0, ""), outcome
        return outcome.out

    return end


def extents(path, name=FILE):
    """What a record says was read of a file."""
    lines = {file.path: file for file in parse(path.read_bytes()).files}
    return lines[name].extents if name in lines else []


def covers(found, offset, size):
    return any(start <= offset and offset + size <= stop for start, stop in found)


def test_what_is_read_is_recorded_with_versions_hashes_and_ranges(mounted, start, stop, sample):
    path = start()
    with (mounted / f"v{RELEASE}/{FILE}").open("rb", buffering=0) as file:
        os.pread(file.fileno(), PIECE[1], PIECE[0])
    assert stop().startswith(f"{path}: 1 file, ")
    (line,) = parse(path.read_bytes()).files
    truth = next(f for f in sample.release(RELEASE).files if f.path == FILE)
    assert (line.path, line.blake2b, line.size) == (FILE, truth.digest, truth.size)
    assert line.releases == ["0.1.0", "0.2.0", "1.0.1"]
    version = os.getxattr(mounted / f"v{RELEASE}/{FILE}", "user.vbofs.version_id")
    assert line.version_id == version.decode()
    assert covers(line.extents, PIECE[0], PIECE[1])
    assert line.bytes_read < truth.size


def test_what_the_kernel_had_kept_of_a_closed_file_is_recorded_when_it_is_read_again(
    mounted, start, stop
):
    path = mounted / f"v{RELEASE}/{FILE}"
    size = len(path.read_bytes())
    record = start()
    path.read_bytes()
    path.read_bytes()  # Once is asked, then the kernel may answer.
    stop()
    assert extents(record) == [(0, size)]


def test_what_the_kernel_had_kept_of_an_open_file_is_recorded_when_it_is_read_again(
    mounted, start, stop
):
    with (mounted / f"v{RELEASE}/{FILE}").open("rb", buffering=0) as file:
        before = file.read()
        record = start()
        assert os.pread(file.fileno(), PIECE[1], PIECE[0]) == before[PIECE[0] : sum(PIECE)]
        stop()
    assert covers(extents(record), *PIECE)


def test_what_is_read_through_a_mapping_that_was_there_before_is_recorded(mounted, start, stop):
    with (
        (mounted / f"v{RELEASE}/{FILE}").open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        before = mapped[:]
        record = start()
        assert mapped[PIECE[0] : sum(PIECE)] == before[PIECE[0] : sum(PIECE)]
        stop()
    assert covers(extents(record), *PIECE)


def test_nothing_is_recorded_before_or_after(mounted, start, stop):
    (mounted / f"v{RELEASE}/{FILE}").read_bytes()
    record = start()
    stop()
    (mounted / f"v{RELEASE}/{EXPERIMENT}").read_bytes()
    assert parse(record.read_bytes()).files == []


def test_mount_records_from_the_first_read_to_the_end_of_the_daemon(at_sample):
    record = at_sample.root / "r.json"
    mounted = at_sample.mount("--record", str(record))
    (mounted / f"v{RELEASE}/{FILE}").read_bytes()
    mounted.umount()
    eventually(lambda: not at_sample.processes())
    assert extents(record)


def test_a_daemon_that_is_told_to_end_writes_its_record(mounted, start):
    record = start()
    (mounted / f"v{RELEASE}/{FILE}").read_bytes()
    os.kill(mounted.pid, signal.SIGTERM)
    eventually(lambda: not mounted.machine.processes())
    assert extents(record)


def test_status_says_that_it_is_recorded_and_how_much(mounted, start, stop):
    record = start()
    (mounted / f"v{RELEASE}/{FILE}").read_bytes()
    said = mounted.machine.run("status").out
    assert f"recording 1 file, 6.0 MB read, in {record}" in said
    assert mounted.status()["record"]["files"] == 1
    stop()
    assert mounted.status()["record"] is None


def test_an_analysis_that_was_recorded_runs_elsewhere_from_what_its_record_fetches(
    mounted, start, stop, machines, sample_url
):
    def analysis(root):
        with h5py.File(root / f"v{RELEASE}/{EXPERIMENT}") as file:
            return file[TRACES][:, 0].tobytes()

    record = start()
    result = analysis(mounted.path)
    stop()
    other = machines(sample_url)
    try:
        outcome = other.run("prefetch", "--from-record", str(record))
        assert outcome.status == 0, outcome
        there = other.mount("--offline")
        assert analysis(there.path) == result
        # By the view's name, and from what vbofs find says: their tables came along.
        (link,) = (there / f"v{RELEASE}/by-mouse/457841").glob(f"*_{EXPERIMENT[-13:]}")
        with h5py.File(link) as file:
            assert file[TRACES][:, 0].tobytes() == result
        ident = EXPERIMENT[-13:-4]
        found = other.run("find", f"{there.path}/v{RELEASE}", "--experiment-id", ident)
        assert found == (0, f"{there.path}/v{RELEASE}/{EXPERIMENT}\n", "")
    finally:
        other.clean()


@pytest.mark.parametrize("where", ["taken", "mount", "missing"])
def test_a_place_that_will_not_do_is_refused(mounted, where):
    machine = mounted.machine
    taken = machine.root / "thesis.tex"
    taken.write_text("all of it")
    path = {
        "taken": taken,
        "mount": mounted / "v1.0.1/record.json",
        "missing": machine.root / "no/such/record.json",
    }[where]
    outcome = machine.run("record", "start", "-o", str(path))
    assert outcome.status == errors.RecordRefused.exit_status
    assert outcome.err.count("\n") == 1
    assert str(path) in outcome.err
    assert taken.read_text() == "all of it"
    assert mounted.status()["record"] is None


def test_a_mount_whose_record_cannot_be_written_is_not_mounted(at_sample):
    taken = at_sample.root / "thesis.tex"
    taken.write_text("all of it")
    outcome = at_sample.run("mount", "--record", str(taken))
    assert_refused(at_sample, outcome, errors.RecordRefused, "name a new file")
    assert taken.read_text() == "all of it"


def test_a_record_in_the_mountpoint_is_refused_before_anything_is_mounted(at_sample):
    where = at_sample.home / "vbo"
    outcome = at_sample.run("mount", str(where), "--record", str(where / "r.json"))
    assert_refused(at_sample, outcome, errors.SettingsInvalid, "--record", "lies in the mountpoint")


def test_without_a_name_it_is_in_the_working_directory(mounted):
    outcome = mounted.machine.run("record", "start")
    assert outcome.status == 0
    (record,) = mounted.machine.root.glob("vbofs-record-*Z.json")
    assert str(record) in outcome.out
    assert mounted.machine.run("record", "stop").status == 0


def test_stopping_what_was_not_begun_is_refused(mounted):
    outcome = mounted.machine.run("record", "stop")
    assert outcome.status == errors.RecordRefused.exit_status
    assert "vbofs record start" in outcome.err


def test_many_readers_at_the_beginning_of_a_record_hold_nobody_up(mounted, start, stop):
    """The kernel is told to forget pages that it is just reading; nobody waits for himself."""
    folder = mounted / f"v{RELEASE}"
    files = [path for path in folder.rglob("*.nwb") if not path.is_symlink()]
    end = mounted.machine.root / "end"
    script = 'until test -e "$0"; do cat "$1" >/dev/null || exit 1; done'
    readers = [mounted.machine.start("sh", "-c", script, str(end), str(path)) for path in files]
    eventually(lambda: mounted.status()["readers"]["reads"] > len(files))
    start()
    eventually(lambda: mounted.status()["record"]["files"] == len(files))
    end.touch()
    assert [reader.wait(timeout=60) for reader in readers] == [0] * len(files)
    assert f"{len(files)} files" in stop()


# --- cite


def hash_of(path):
    done = subprocess.run(["b2sum", "-l", "256", path], capture_output=True, text=True, check=True)
    return done.stdout.split()[0]


def test_a_release_is_cited_with_the_hash_of_its_manifest(mounted):
    said = mounted.machine.run("cite", f"v{RELEASE}").out
    name = f"visual-behavior-ophys_project_manifest_v{RELEASE}.json"
    assert said.count("\n") == 1
    assert f"release {RELEASE} of the dataset visual-behavior-ophys" in said
    assert name in said
    assert hash_of(mounted / f"manifests/{name}") in said
    assert "release 1.1.0 " in mounted.machine.run("cite").out


def test_a_record_is_cited_with_its_own_hash_and_needs_no_network(mounted, start, stop):
    record = start()
    (mounted / f"v{RELEASE}/{FILE}").read_bytes()
    stop()
    outcome = mounted.machine.run(
        "cite", "--record", str(record), VBOFS_ENDPOINT_URL="http://127.0.0.1:1"
    )
    assert (outcome.status, outcome.err) == (0, "")
    assert "Data are 1 file of release 1.0.1 (the same in 0.1.0 and 0.2.0) of the" in outcome.out
    assert hash_of(record) in outcome.out


def test_a_record_of_several_releases_names_as_few_as_hold_them(mounted, start, stop):
    record = start()
    for release in ("0.1.0", "1.1.0"):
        (mounted / f"v{release}/{FILE}").read_bytes()
    stop()
    said = mounted.machine.run("cite", "--record", str(record)).out
    assert "2 files of releases 1.0.1 and 1.1.0 of" in said


@pytest.mark.parametrize("content", [b"{}", b"\0\xff", None])
def test_a_file_that_is_no_record_is_refused(at_sample, content):
    path = at_sample.root / "x.json"
    if content is not None:
        path.write_bytes(content)
    outcome = at_sample.run("cite", "--record", str(path))
    assert_refused(at_sample, outcome, errors.RecordInvalid, str(path))


def test_a_record_of_nothing_has_nothing_to_cite(at_sample, mounted, start, stop):
    record = start()
    stop()
    assert encode(parse(record.read_bytes())) == record.read_bytes()
    outcome = at_sample.run("cite", "--record", str(record))
    assert outcome.status == errors.RecordInvalid.exit_status
    assert "nothing to cite" in outcome.err
