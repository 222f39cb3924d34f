"""vbofs prefetch, alone and through a daemon: each byte once, resumable, and told beforehand."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime

import h5py
import pytest

from tests.mount.machine import VBOFS
from tests.mount.published import BUCKET, DAY, PROJECT, URL
from tests.mount.reading import opened
from tests.mount.waiting import eventually
from tests.s3 import Fault
from vbofs import errors
from vbofs.blocks.extents import BLOCK_SIZE, block_count
from vbofs.catalog import record
from vbofs.model import Extent

ONE, TWO = "behavior_sessions/one.nwb", "behavior_sessions/deep/two.nwb"
TABLE = "project_metadata/ophys_sessions.csv"
SIZE = (17 << 20) + 77
EXPERIMENT = "behavior_ophys_experiments/behavior_ophys_experiment_951980471.nwb"
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


@pytest.fixture
def here(at_s3, published):
    """Two releases, one of whose files is in both."""
    published.release("1.0.0", {ONE: SIZE, TABLE: b"id\n1\n"})
    published.release("1.1.0", {ONE: published.pin("1.0.0", ONE), TWO: 3 << 20, TABLE: b"id\n2\n"})
    return at_s3


def assert_each_byte_once(published, path, size):
    """All of the file was asked for, and nothing of it twice."""
    at = 0
    for start, stop in sorted(published.ranges(path)):
        assert start == at, published.ranges(path)
        at = stop
    assert at == size


def cached(machine, *words):
    """What ``vbofs cache`` says of each file: its cached extents by path."""
    outcome = machine.run("cache", "--json", *words)
    assert outcome.status == 0, outcome
    return {row["path"]: row["extents"] for row in json.loads(outcome.out)["rows"]}


# --- alone


def test_alone_it_fetches_each_byte_once_verifies_and_a_mount_then_asks_nothing(here, published):
    outcome = here.run("prefetch", "v1.1.0")
    assert outcome.status == 0, outcome
    assert (
        outcome.err
        == f"3 files: 21.0 MB to fetch; room for {_room(outcome.err)} more in the cache\n"
    )
    assert "21.0 MB fetched in" in outcome.out
    assert "3 files done, 3 of them verified" in outcome.out
    assert_each_byte_once(published, ONE, SIZE)
    assert_each_byte_once(published, TWO, 3 << 20)
    mounted = here.mount()
    assert (mounted / f"v1.0.0/{ONE}").read_bytes() == published.truth("1.0.0", ONE)
    assert (mounted / f"v1.1.0/{TWO}").read_bytes() == published.truth("1.1.0", TWO)
    assert mounted.requests()["get"] == 0
    again = here.run("prefetch", "v1.1.0")
    assert (again.status, again.out) == (0, "everything is here already\n")


def _room(line):
    return line.rpartition("room for ")[2].partition(" more")[0]


@pytest.mark.parametrize("words", [["latest/behavior_sessions"], ["v1.1.0/behavior_sessions/*"]])
def test_a_path_may_be_a_directory_or_a_pattern_with_no_mount_at_all(here, words):
    assert here.run("prefetch", *words).status == 0
    assert cached(here, "v1.1.0") == {
        ONE: [[0, SIZE]],
        TWO: [[0, 3 << 20]],
        TABLE: [],
    }


def test_killed_at_any_moment_it_goes_on_where_it_was(here, published):
    published.s3.total_rate = 20 << 20
    for step in (1, 2):
        kept = cached(here, f"v1.0.0/{ONE}")[ONE] if step > 1 else []
        published.s3.clear_log()
        running = here.start(*VBOFS, "prefetch", f"v1.0.0/{ONE}", **PIPES)
        eventually(lambda step=step: _on_disk(here) > step * (4 << 20))
        running.kill()
        running.communicate()
        _assert_apart(kept, published.ranges(ONE))
    kept = cached(here, f"v1.0.0/{ONE}")[ONE]
    published.s3.total_rate = None
    published.s3.clear_log()
    assert here.run("prefetch", f"v1.0.0/{ONE}").status == 0
    _assert_apart(kept, published.ranges(ONE))
    assert 0 < _bytes(published.ranges(ONE)) == SIZE - _bytes(kept)
    mounted = here.mount()
    assert (mounted / f"v1.0.0/{ONE}").read_bytes() == published.truth("1.0.0", ONE)


def _on_disk(machine):
    return sum(p.stat().st_blocks * 512 for p in (machine.cache / "blobs").glob("??/*"))


def _bytes(extents):
    return sum(stop - start for start, stop in extents)


def _assert_apart(kept, asked):
    for start, stop in asked:
        assert all(stop <= a or b <= start for a, b in kept), (kept, asked)


def test_two_at_once_get_the_right_bytes(here, published):
    running = [here.start(*VBOFS, "prefetch", "v1.1.0", **PIPES) for _ in range(2)]
    for one in running:
        _, said = one.communicate(timeout=60)
        assert one.returncode == 0, said
    assert here.run("verify", "--all").status == 0
    again = here.mount()
    assert (again / f"v1.0.0/{ONE}").read_bytes() == published.truth("1.0.0", ONE)


# --- through a daemon


def test_a_mount_with_the_same_cache_does_the_work(here, published):
    mounted = here.mount()
    outcome = here.run("prefetch", str(mounted / "latest"))
    assert outcome.status == 0, outcome
    assert f"fetched by the mount {mounted.path} in" in outcome.out
    blocks = mounted.status()["blocks"]
    assert blocks["prefetched"] == block_count(SIZE) + block_count(3 << 20) + 1
    assert mounted.status()["verifier"]["verified"] == 3
    assert_each_byte_once(published, ONE, SIZE)
    assert (mounted / f"v1.0.0/{ONE}").read_bytes() == published.truth("1.0.0", ONE)
    assert_each_byte_once(published, ONE, SIZE)


def test_the_mount_says_which_dataset_and_cache_whatever_the_settings_are(here, published):
    mounted = here.mount("--cache-dir", str(here.root / "elsewhere"))
    (here.home / "link").symlink_to(mounted / "latest/behavior_sessions")
    outcome = here.run("prefetch", str(here.home / "link/deep"), VBOFS_ENDPOINT_URL="")
    assert outcome.status == 0, outcome
    assert_each_byte_once(published, TWO, 3 << 20)
    assert not here.cache.exists()


def test_a_reader_meanwhile_shares_what_is_under_way(here, published):
    mounted = here.mount()
    held = Fault(key=ONE, stall_at=0, operation="GET")
    published.s3.faults.append(held)
    running = here.start(*VBOFS, "prefetch", str(mounted / f"v1.0.0/{ONE}"), **PIPES)
    eventually(lambda: len(published.ranges(ONE)) == 3)
    with opened(mounted / f"v1.0.0/{ONE}") as fd:
        reader = here.start("cat", f"/proc/self/fd/{fd}", pass_fds=[fd], **PIPES)
        eventually(lambda: mounted.status()["blocks"]["joined"])
        held.lift()
        assert reader.communicate(timeout=30)[0] == published.truth("1.0.0", ONE)
    assert (running.wait(timeout=30), running.communicate()[1].count(b"\n")) == (0, 1)
    assert_each_byte_once(published, ONE, SIZE)


def test_interrupted_it_ends_the_daemons_work_and_keeps_what_came(here, published):
    mounted = here.mount()
    held = Fault(key=ONE, stall_at=1 << 20, operation="GET", times=3)
    published.s3.faults.append(held)
    running = here.start(*VBOFS, "prefetch", str(mounted / f"v1.0.0/{ONE}"), **PIPES)
    eventually(lambda: held.fired == 3)  # One for each part of the file.
    eventually(lambda: _bytes(cached(here, f"v1.0.0/{ONE}")[ONE]) >= 2 << 20)
    running.send_signal(signal.SIGINT)
    out, said = running.communicate(timeout=30)
    assert (running.returncode, out) == (130, b"")
    assert said.splitlines()[-1] == b"vbofs: what has come is kept; run it again to go on"
    held.lift()
    mounted.requests()  # Nothing is under way any more.
    assert len(published.ranges(ONE)) == 3
    assert here.run("prefetch", str(mounted / f"v1.0.0/{ONE}")).status == 0
    assert (mounted / f"v1.0.0/{ONE}").read_bytes() == published.truth("1.0.0", ONE)


def test_a_daemon_that_dies_leaves_the_rest_to_the_command(here, published):
    mounted = here.mount()
    held = Fault(key=ONE, stall_at=1 << 20, operation="GET", times=3)
    published.s3.faults.append(held)
    running = here.start(*VBOFS, "prefetch", str(mounted / f"v1.0.0/{ONE}"), **PIPES)
    eventually(lambda: held.fired == 3)
    mounted.kill()
    held.lift()
    out, said = running.communicate(timeout=30)
    assert (running.returncode, b"fetched in" in out) == (0, True), said
    assert here.run("verify", "v1.0.0").status == 0


# --- what it says and refuses


def test_a_network_that_is_away_is_said_and_the_status_tells(here, published):
    assert here.run("prefetch", f"v1.0.0/{TABLE}").status == 0
    published.s3.faults.append(Fault(operation="GET", status=503))
    outcome = here.run("prefetch", "v1.1.0", VBOFS_TIMEOUT="1")
    assert outcome.status == errors.PrefetchIncomplete.exit_status, outcome
    last = outcome.err.splitlines()[-1]
    assert last.startswith("vbofs: 3 files could not be fetched: ")
    assert last.endswith("; run it again to fetch what is missing")
    offline = here.run("prefetch", "v1.1.0", "--offline")
    assert offline.status == errors.PrefetchIncomplete.exit_status
    assert "runs with --offline" in offline.err
    assert (
        here.run("prefetch", f"v1.0.0/{TABLE}", "--offline").out == "everything is here already\n"
    )


def test_a_file_that_is_gone_costs_only_itself(here, published):
    published.s3.faults.append(Fault(operation="GET", key=TWO, status=404, code="NoSuchVersion"))
    outcome = here.run("prefetch", "v1.1.0")
    assert outcome.status == errors.PrefetchIncomplete.exit_status
    assert f"  v1.1.0/{TWO}: " in outcome.err
    assert "1 file could not be fetched" in outcome.err
    assert cached(here, "v1.1.0")[ONE] == [[0, SIZE]]


def test_what_does_not_fit_is_refused_before_anything_is_fetched(here, published):
    outcome = here.run("prefetch", "v1.0.0", VBOFS_CACHE_SIZE="4M")
    assert outcome.status == errors.CacheTooSmall.exit_status
    assert "17.8 MB do not fit into the cache, which has room for 4.0 MB" in outcome.err
    assert published.ranges(ONE) == []


def test_more_than_ten_gigabytes_want_a_yes(at_s3, published):
    if shutil.disk_usage(at_s3.root).free < 13 * 1000**3:
        pytest.skip("this disk has no room for 11 GB")
    key = f"{PROJECT}/behavior_sessions/huge.nwb"
    version_id = published.s3.put_virtual(BUCKET, key, 11 * 1000**3, last_modified=DAY)
    line = {"url": f"{URL}/{key}", "version_id": version_id, "file_hash": "0" * 128}
    document = published.document("1.0.0", {})
    published.manifest("1.0.0", {**document, "data_files": {"1": line}})
    room = {"VBOFS_CACHE_SIZE": "100G", "VBOFS_KEEP_FREE": "0"}
    outcome = at_s3.run("prefetch", "v1.0.0", **room)
    assert outcome.status == errors.PrefetchTooLarge.exit_status
    assert outcome.err.splitlines()[-1] == (
        "vbofs: 11.0 GB are a lot to fetch; if that is meant, say --yes"
    )
    assert published.ranges("behavior_sessions/huge.nwb") == []
    running = at_s3.start(*VBOFS, "prefetch", "v1.0.0", "--yes", env=room, **PIPES)
    eventually(lambda: published.ranges("behavior_sessions/huge.nwb"))
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=30) == 130
    running.communicate()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([], 2, "Name a PATH, a query, a --release or --from-record"),
        (["nowhere"], 49, "nowhere is on no mount of vbofs, and no path in a release"),
        (["/etc"], 49, "/etc is on no mount of vbofs"),
        (["v1.0.0/nothing"], 49, "there is no v1.0.0/nothing in any release that is here"),
        (["v9.0.0"], 40, "9.0.0"),
        (["v1.0.0", "--release", "v1.1.0"], 50, "the path is in 1.0.0, and --release says 1.1.0"),
        (["v1.0.0", "--only", "a", "--without", "b"], 50, "exclude each other"),
        (["v1.0.0", "--only", "dff"], 49, "no array in these files is called 'dff'"),
        (["--from-record", "/nowhere"], 45, "/nowhere cannot be read"),
    ],
)
def test_what_makes_no_sense_is_one_line(here, words, status, said):
    outcome = here.run("prefetch", *words)
    assert (outcome.status, outcome.out) == (status, ""), outcome
    assert said in outcome.err.splitlines()[-1]
    assert outcome.err.count("vbofs: ") == 1


def test_without_h5py_it_says_what_to_install(here, tmp_path):
    (tmp_path / "h5py.py").write_text("raise ImportError('not here')")
    outcome = here.run("prefetch", "v1.0.0", "--only", "dff", PYTHONPATH=str(tmp_path))
    assert outcome.status == errors.ExtraMissing.exit_status
    assert "pip install 'vbofs[hdf5]'" in outcome.err


# --- parts of files


def test_a_record_is_fetched_to_the_byte(here, published):
    whole = published.pin("1.1.0", TWO)
    document = json.loads(_record(published))
    (here.root / "record.json").write_bytes(_record(published))
    outcome = here.run("prefetch", "--from-record", str(here.root / "record.json"))
    assert outcome.status == 0, outcome
    # And the tables of both releases, which views and vbofs find are made of.
    assert "4 files, 1 of them in part" in outcome.err
    assert sorted(published.ranges(ONE)) == [(0, BLOCK_SIZE), (9 << 20, (9 << 20) + 2 * BLOCK_SIZE)]
    assert_each_byte_once(published, TWO, whole.size)
    assert cached(here, "v1.1.0")[TABLE] == [[0, len(b"id\n2\n")]]
    document["files"][0]["version_id"] = "another"
    (here.root / "record.json").write_text(json.dumps(document))
    outcome = here.run("prefetch", "--from-record", str(here.root / "record.json"))
    assert outcome.status == errors.NotInDataset.exit_status
    assert "is in no release of this dataset" in outcome.err


def test_with_paths_or_a_release_only_what_was_recorded_of_them_is_fetched(here, published):
    path = here.root / "record.json"
    path.write_bytes(_record(published))
    outcome = here.run("prefetch", "v1.1.0/behavior_sessions", "--from-record", str(path))
    assert outcome.status == 0, outcome
    assert published.ranges(ONE)  # Both releases pin it, so it is of this one too.
    here.run("evict", "--all")
    published.s3.clear_log()
    outcome = here.run("prefetch", f"v1.1.0/{TWO}", "--from-record", str(path))
    assert outcome.status == 0, outcome
    assert "2 files: " in outcome.err  # And the table.
    assert published.ranges(ONE) == []
    mounted = here.mount()
    outcome = here.run("prefetch", str(mounted.path), "--from-record", str(path))
    assert "4 files, 1 of them in part" in outcome.err  # The root says which mount, no more.
    outcome = here.run("prefetch", f"v1.0.0/{TABLE}", "--from-record", str(path))
    assert outcome.status == errors.NotInDataset.exit_status
    assert "nothing of the record is among the files that are named" in outcome.err


def test_what_is_no_record_is_said_before_anybody_is_asked(here, published):
    path = here.root / "record.json"
    path.write_text("{")
    asked = len(published.s3.requests)
    outcome = here.run("prefetch", "--from-record", str(path))
    assert outcome.status == errors.RecordInvalid.exit_status
    assert outcome.err.startswith(f"vbofs: {path}: it is not JSON")
    assert len(published.s3.requests) == asked
    outcome = here.run("prefetch", "--only", "dff", "--from-record", str(path))
    assert outcome.status == errors.SettingsInvalid.exit_status


def _record(published):
    one, two = published.pin("1.0.0", ONE), published.pin("1.1.0", TWO)
    extents = {one: [(1, 2), (9 << 20, (9 << 20) + BLOCK_SIZE + 1)], two: [(0, two.size)]}
    files = [
        record.RecordedFile(
            path=path,
            releases=[release],
            key=version.key,
            version_id=version.version_id,
            etag="x",
            blake2b="0" * 128,  # Not to be believed.
            size=version.size,
            extents=[Extent(*pair) for pair in extents[version]],
        )
        for version, release, path in ((one, "1.0.0", ONE), (two, "1.1.0", TWO))
    ]
    moment = datetime.fromtimestamp(0, UTC)
    return record.encode(
        record.Record(
            dataset="visual-behavior-ophys",
            bucket=BUCKET,
            project=PROJECT,
            region="us-west-2",
            vbofs="0.1.0",
            began=moment,
            ended=moment,
            files=files,
        )
    )


def test_only_named_arrays_come_and_can_be_read_when_the_network_is_gone(at_sample, sample):
    mounted = at_sample.mount()
    path = mounted / f"v1.1.0/{EXPERIMENT}"
    outcome = at_sample.run("prefetch", str(path), "--only", "dff,running")
    assert outcome.status == 0, outcome
    assert "1 file, 1 of them in part" in outcome.err
    (extents,) = cached(at_sample, str(path)).values()
    size = path.stat().st_size
    assert _bytes(extents) < 0.6 * size
    mounted.umount()
    offline = at_sample.mount("--offline")
    truth = sample.release("1.1.0").paths[EXPERIMENT]
    with h5py.File(offline / f"v1.1.0/{EXPERIMENT}") as mine, h5py.File(truth) as theirs:
        for name in ("processing/ophys/dff/traces/data", "processing/running/speed/data"):
            assert (mine[name][()] == theirs[name][()]).all()
        template = next(iter(mine["stimulus/templates"].values()))["data"]
        with pytest.raises(OSError, match=r"\[Errno 5\]|rror"):
            template[()]
    at_sample.expect("WARNING .*--offline")


def test_without_the_templates_all_the_rest_comes(at_sample):
    path = f"v1.1.0/{EXPERIMENT}"
    assert at_sample.run("prefetch", path, "--without", "templates").status == 0
    (extents,) = cached(at_sample, path).values()
    size = int(json.loads(at_sample.run("cache", "--json", path).out)["rows"][0]["size"])
    assert 0.5 * size < _bytes(extents) < 0.9 * size


def test_a_query_says_which_files(at_sample):
    mounted = at_sample.mount()
    outcome = at_sample.run("prefetch", str(mounted.path), "--experiment-id", "951980471")
    assert outcome.status == 0, outcome
    whole = [p for p, e in cached(at_sample, "v1.1.0").items() if e and p.endswith(".nwb")]
    assert whole == [EXPERIMENT]
    at_sample.run("evict", "--all")
    view = mounted / "v1.1.0/by-mouse"
    ident = EXPERIMENT[-13:-4]
    mouse = next(m for m in view.iterdir() if any(ident in one.name for one in m.iterdir()))
    linked = {os.path.realpath(one) for one in mouse.iterdir()}
    outcome = at_sample.run("prefetch", str(mouse))
    assert outcome.status == 0, outcome
    found = {p for p, e in cached(at_sample, "v1.1.0").items() if e and p.endswith(".nwb")}
    assert {str(mounted / "v1.1.0" / path) for path in found} == linked
    nobody = at_sample.run("prefetch", str(mounted.path), "--mouse", "1")
    assert nobody.status in (errors.NotInDataset.exit_status, errors.UnknownColumn.exit_status)


def test_a_progress_bar_is_for_terminals(here):
    spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    words = (*VBOFS, "prefetch", "v1.1.0")
    outcome = here.execute(sys.executable, "-c", spawn, *words, TERM="xterm", COLUMNS="120")
    assert outcome.status == 0, outcome
    assert "━" in outcome.out
    assert "fetched in" in outcome.out
