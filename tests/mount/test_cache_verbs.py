"""cache, verify, evict, unpin, export, import: beside a mount, without one, and off the network."""

from __future__ import annotations

import json
import os

import pytest

from tests.mount.reading import opened, walked
from tests.s3 import Fault
from vbofs import errors
from vbofs.blocks.extents import BLOCK_SIZE

FILE = "behavior_sessions/one.nwb"
OTHER = "behavior_sessions/two.nwb"
TABLE = "project_metadata/ophys_sessions.csv"
SIZE = (2 << 20) + 77


@pytest.fixture
def here(at_s3, published):
    """Two releases that share a file; one has another besides."""
    published.release("1.0.0", {FILE: SIZE, TABLE: b"id\n1\n"})
    files = {FILE: published.pin("1.0.0", FILE), OTHER: 1 << 20, TABLE: b"id\n2\n"}
    published.release("1.1.0", files)
    return at_s3


@pytest.fixture
def filled(here, published):
    """All of v1.1.0 is cached, and the network is gone."""
    assert here.run("prefetch", "v1.1.0").status == 0
    published.s3.down()
    yield here
    published.s3.up()


def document(machine, *words):
    outcome = machine.run("cache", "--json", *words)
    assert outcome.status == 0, outcome
    return json.loads(outcome.out)


def flip(machine, size, at):
    """Change a byte of the cached file of *size* bytes."""
    (path,) = [p for p in (machine.cache / "blobs").glob("??/*") if p.stat().st_size == size]
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))


# --- cache


def test_cache_tells_of_each_release_off_the_network(filled):
    told = document(filled)
    rows = {row["release"]: row for row in told["rows"]}
    assert rows["1.1.0"]["whole"] == rows["1.1.0"]["files"] == rows["1.1.0"]["verified"] == 3
    assert rows["1.1.0"]["cached"] == rows["1.1.0"]["size"] == SIZE + (1 << 20) + 5
    assert (rows["1.0.0"]["whole"], rows["1.0.0"]["cached"]) == (1, SIZE)
    assert told["cached"] == SIZE + (1 << 20) + 5  # A shared file is counted once.
    text = filled.run("cache").out
    assert "v1.1.0   3.1 MB, 100 %  3.1 MB      3      3" in text
    assert "█" * 24 in text
    assert filled.run("cache", "--all").out.splitlines()[-1].startswith("4 files: 3 cached whole;")


def test_cache_draws_where_in_a_file_the_blocks_lie(here):
    mounted = here.mount()
    with opened(mounted / f"v1.0.0/{FILE}") as fd:
        os.pread(fd, 10, SIZE - 10)
    text = here.run("cache", str(mounted / f"v1.0.0/{FILE}")).out
    assert "···············" in text.splitlines()[2]
    assert text.splitlines()[2].rstrip().endswith("·▒")
    (row,) = document(here, f"v1.0.0/{FILE}")["rows"]
    assert row["extents"] == [[2 << 20, SIZE]]


def test_nothing_is_cached_is_no_error_but_nothing_known_is(here):
    outcome = here.run("cache", "--offline")
    assert outcome.status == errors.NoReleases.exit_status
    here.run("releases")
    assert document(here)["cached"] == 0
    assert here.run("cache", "--all").out.splitlines()[-1] == (
        "4 files: 0 cached whole; 0 bytes, 0 % of 3.1 MB"
    )


# --- verify


def test_verify_compares_whole_files_with_their_manifests_off_the_network(filled):
    outcome = filled.run("verify", "--all")
    assert outcome == (
        0,
        "3 whole files, 3.1 MB: each has the blake2b that its release's manifest says\n",
        "",
    )


def test_verify_drops_a_damaged_block_which_is_then_fetched_again(here, published):
    mounted = here.mount()
    truth = (mounted / f"v1.0.0/{FILE}").read_bytes()
    mounted.umount()
    flip(here, SIZE, 300_000)
    outcome = here.run("verify", "v1.0.0")
    assert outcome.status == errors.VerifyMismatch.exit_status
    assert f"v1.0.0/{FILE}: 1 block not as written; dropped" in outcome.err
    assert "0 files not as published, 1 damaged block in 1 file" in outcome.err
    second = here.run("verify", "v1.0.0")
    assert second.status == 0
    assert "1 file cached in part, 2.0 MB" in second.out
    published.s3.clear_log()
    mounted = here.mount()
    assert (mounted / f"v1.0.0/{FILE}").read_bytes() == truth
    block = 300_000 // BLOCK_SIZE
    assert published.ranges(FILE) == [(block * BLOCK_SIZE, (block + 1) * BLOCK_SIZE)]


def test_verify_finds_wrong_bytes_that_every_header_vouched_for(here, published):
    published.s3.faults.append(Fault(key=FILE, operation="GET", flip_at=1000, times=1))
    mounted = here.mount()
    wrong = (mounted / f"v1.0.0/{FILE}").read_bytes()
    mounted.kill()  # Before its own verifier, which waits for readers to rest.
    assert wrong != published.truth("1.0.0", FILE)
    outcome = here.run("verify", "--all")
    assert outcome.status == errors.VerifyMismatch.exit_status
    assert f"{FILE}: not what was published; dropped" in outcome.err
    again = here.mount()
    assert (again / f"v1.0.0/{FILE}").read_bytes() == published.truth("1.0.0", FILE)


def test_verify_tells_a_running_mount_which_then_trusts_no_page_of_the_file(here, published):
    published.s3.faults.append(Fault(key=FILE, operation="GET", flip_at=1000, times=1))
    mounted = here.mount()
    here.expect("ERROR .*(is not as published|does not match)")
    (mounted / f"v1.0.0/{FILE}").read_bytes()
    assert here.run("verify", str(mounted.path)).status == errors.VerifyMismatch.exit_status
    assert mounted.status()["verifier"]["mismatched"] >= 1
    assert (mounted / f"v1.0.0/{FILE}").read_bytes() == published.truth("1.0.0", FILE)


# --- evict and pins


def test_evict_drops_files_under_a_mount_that_goes_on(here, published):
    mounted = here.mount()
    path = mounted / f"v1.0.0/{FILE}"
    with opened(path) as fd:
        assert os.pread(fd, SIZE, 0) == published.truth("1.0.0", FILE)
        outcome = here.run("evict", str(path))
        assert (outcome.status, "1 file evicted, 2.1 MB free" in outcome.out) == (0, True), outcome
        assert document(here, f"v1.0.0/{FILE}")["rows"][0]["cached"] == 0
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        assert os.pread(fd, SIZE, 0) == published.truth("1.0.0", FILE)


def test_pinned_files_stay_until_they_are_unpinned_or_meant(here):
    assert here.run("prefetch", "v1.1.0", "--pin").out.endswith("; 3 files pinned\n")
    outcome = here.run("evict", "--all")
    assert outcome.out == "0 files evicted, 0 bytes free; 3 files kept, being pinned\n"
    assert here.run("unpin", f"v1.1.0/{OTHER}").out == "1 file unpinned\n"
    assert here.run("evict", "v1.1.0").out.startswith("1 file evicted, 1.0 MB free; 2 files kept")
    assert document(here)["pinned"] == 2
    assert here.run("evict", "v1.1.0", "--pinned").out.startswith("2 files evicted, ")
    assert document(here)["pinned"] == 0
    assert here.run("unpin", "--all").out == "0 files unpinned\n"


def test_a_running_mount_evicts_pinned_files_last(here):
    here.run("prefetch", f"v1.0.0/{FILE}", "--pin")
    mounted = here.mount("--cache-size", "3M")
    (mounted / f"v1.1.0/{OTHER}").read_bytes()
    (mounted / f"v1.1.0/{TABLE}").read_bytes()
    (mounted / f"v1.0.0/{TABLE}").read_bytes()
    mounted.requests()
    rows = {row["path"]: row for row in document(here, "v1.1.0")["rows"]}
    assert rows[FILE]["cached"] == SIZE
    assert rows[OTHER]["cached"] < 1 << 20


@pytest.mark.parametrize("verb", ["evict", "verify", "unpin"])
def test_a_verb_that_is_told_nothing_does_nothing(here, verb):
    outcome = here.run(verb)
    assert (outcome.status, outcome.out) == (2, "")
    assert "Name a PATH, a query, a --release or --all." in outcome.err


def test_a_query_asks_the_network_for_tables_that_are_not_cached(at_sample):
    at_sample.run("releases")
    outcome = at_sample.run("evict", "--experiment-id", "951980471")
    assert (outcome.status, outcome.out) == (0, "0 files evicted, 0 bytes free\n"), outcome
    at_sample.run("evict", "--all")
    offline = at_sample.run("evict", "--experiment-id", "951980471", "--offline")
    assert offline.status == errors.Offline.exit_status
    assert offline.err.count("\n") == 1


# --- export and import


def test_export_makes_the_tree_of_the_mount_and_import_takes_it_back(filled, published):
    out = filled.root / "out"
    outcome = filled.run("export", str(out))
    assert outcome.status == 0, outcome
    assert "3 files, 3.1 MB, verified in" in outcome.out
    assert walked(out) == {f"v1.1.0/{path}" for path in (FILE, OTHER, TABLE)}
    assert (out / f"v1.1.0/{FILE}").read_bytes() == published.truth("1.0.0", FILE)
    assert "(3 already there)" in filled.run("export", str(out)).out
    filled.run("evict", "--all")
    assert (out / f"v1.1.0/{FILE}").read_bytes() == published.truth("1.0.0", FILE)
    (out / f"v1.1.0/{FILE}").rename(out / "another name")
    os.mkfifo(out / "fifo")
    (out / "mine.txt").write_text("of no release")
    (out / "alike").write_bytes(b"x" * SIZE)
    imported = filled.run("import", str(out), VBOFS_TIMEOUT="1")
    assert imported.out == ("3 files imported and verified, 3.1 MB; 3 of no release, ignored\n"), (
        imported
    )
    assert document(filled)["rows"][-1]["verified"] == 3
    assert "0 files imported" in filled.run("import", str(out), "--offline").out
    offline = filled.mount("--offline")
    assert (offline / f"v1.1.0/{OTHER}").read_bytes() == published.truth("1.1.0", OTHER)


def test_export_as_a_cache_of_allensdk_has_what_that_looks_for(filled, published):
    out = filled.root / "sdk"
    outcome = filled.run("export", "--layout", "allensdk", f"v1.1.0/{FILE}", str(out))
    assert outcome.status == 0, outcome
    where = "visual-behavior-ophys-1.1.0"
    manifest = "visual-behavior-ophys_project_manifest_v1.1.0.json"
    expected = {f"{where}/{FILE}", f"{where}/{TABLE}", manifest, "_downloaded_data.json"}
    assert walked(out) == expected
    assert json.loads((out / manifest).read_text())["manifest_version"] == "1.1.0"
    pin = published.pin("1.1.0", FILE)
    known = json.loads((out / "_downloaded_data.json").read_text())
    assert known[f"{out}/{where}/{FILE}"] == pin.digest()
    (out / "_downloaded_data.json").write_text(json.dumps({"/mine": "hash"}))
    filled.run("export", "--layout", "allensdk", f"v1.1.0/{OTHER}", str(out))
    known = json.loads((out / "_downloaded_data.json").read_text())
    assert known["/mine"] == "hash"
    assert f"{out}/{where}/{OTHER}" in known


def test_export_lets_no_unverified_byte_out_and_says_what_it_left(filled):
    flip(filled, SIZE, 300_000)
    (filled.root / "out/v1.1.0/behavior_sessions").mkdir(parents=True)
    (filled.root / "out" / f"v1.1.0/{OTHER}").write_text("mine")
    outcome = filled.run("export", "--release", "v1.1.0", str(filled.root / "out"))
    assert outcome.status == errors.ExportIncomplete.exit_status
    assert f"{FILE}: not all of it is cached and sound" in outcome.err
    assert f"{OTHER}: another file is there" in outcome.err
    assert walked(filled.root / "out") == {f"v1.1.0/{TABLE}", f"v1.1.0/{OTHER}"}
    assert (filled.root / "out" / f"v1.1.0/{OTHER}").read_text() == "mine"
    partly = filled.run("export", "--release", "v1.0.0", str(filled.root / "partly"))
    assert partly.status == errors.ExportIncomplete.exit_status
    assert f"v1.0.0/{TABLE}: not all of it is cached" in partly.err


def test_export_goes_neither_onto_a_mount_nor_into_the_cache(here):
    mounted = here.mount()
    for place in (mounted / "out", here.cache / "out"):
        outcome = here.run("export", str(place))
        assert outcome.status == errors.ExportIncomplete.exit_status, outcome
    empty = here.run("export", str(here.root / "out"))
    assert "nothing to export" in empty.err


def test_export_where_it_may_not_write_is_one_line(filled):
    outcome = filled.run("export", "/proc/out")
    assert outcome.status == errors.ExportIncomplete.exit_status


def test_import_of_what_cannot_be_read_or_is_the_cache_is_refused(here):
    here.run("releases")
    for place in (here.root / "nowhere", here.cache, here.home):
        outcome = here.run("import", str(place))
        assert outcome.status == errors.ImportImpossible.exit_status, outcome
        assert outcome.err.count("\n") == 1


def test_import_beside_a_mount_warms_it(here, published):
    mounted = here.mount()
    source = here.root / "downloaded"
    source.mkdir()
    (source / "x").write_bytes(published.truth("1.0.0", FILE))
    (source / "link").symlink_to("x")
    (source / "broken").symlink_to("nowhere")
    outcome = here.run("import", str(source))
    assert outcome.out.startswith("1 file imported and verified, 2.1 MB; 1 skipped: "), outcome
    assert (mounted / f"v1.0.0/{FILE}").read_bytes() == published.truth("1.0.0", FILE)
    assert published.ranges(FILE) == []
