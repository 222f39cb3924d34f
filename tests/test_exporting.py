"""Verified files out of the cache: the right bytes under their name, or no name."""

from __future__ import annotations

import fcntl
import os

import pytest

from tests.conftest import contents
from tests.kept_blobs import flip, keep, place
from vbofs.blocks.coverage import drop
from vbofs.blocks.exporting import Outcome, _draft, _draft_name, _is_at, export
from vbofs.blocks.extents import BLOCK_SIZE
from vbofs.catalog.layouts import AllenSDK, Plain

SIZE = 70 * BLOCK_SIZE + 100
MADE = (Outcome.CLONED, Outcome.COPIED)  # As the disk under the tests can or cannot share.


@pytest.fixture
def exported(store, tmp_path):
    def run(blob, name="out/a/b.nwb"):
        return export(store.folder, blob, tmp_path / name, lambda done: None)

    return run


def left(folder):
    return sorted(os.listdir(folder))


def test_a_whole_blob_becomes_an_ordinary_file(store, memory, exported, tmp_path):
    blob, content = keep(store, memory, SIZE)
    assert exported(blob) in MADE
    out = tmp_path / "out/a/b.nwb"
    assert out.read_bytes() == content
    facts = out.stat()
    assert (facts.st_mode & 0o777, facts.st_mtime, facts.st_nlink) == (0o644, blob.mtime, 1)
    assert left(out.parent) == ["b.nwb"]
    drop(store.folder, blob)
    assert out.read_bytes() == content, "the export is a file of its own"


def test_a_second_export_finds_it_there(store, memory, exported, tmp_path):
    blob, content = keep(store, memory, SIZE)
    exported(blob)
    assert exported(blob) is Outcome.THERE
    assert (tmp_path / "out/a/b.nwb").read_bytes() == content


@pytest.mark.parametrize("other", [b"mine", contents(SIZE, "other")])
def test_what_stands_there_is_left_alone(store, memory, exported, tmp_path, other):
    blob, _ = keep(store, memory, SIZE)
    (tmp_path / "b.nwb").write_bytes(other)
    assert exported(blob, "b.nwb") is Outcome.OTHER
    assert (tmp_path / "b.nwb").read_bytes() == other


def test_a_dangling_link_is_not_written_through(store, memory, exported, tmp_path):
    blob, _ = keep(store, memory, SIZE)
    (tmp_path / "b.nwb").symlink_to(tmp_path / "elsewhere")
    assert exported(blob, "b.nwb") is Outcome.OTHER
    (tmp_path / ".c.nwb.vbofs-part").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        exported(blob, "c.nwb")
    assert not (tmp_path / "elsewhere").exists()


def test_a_blob_of_which_a_block_is_missing_or_damaged_leaves_no_file(
    store, memory, exported, tmp_path
):
    partly, _ = keep(store, memory, SIZE, "partly", blocks=range(70))
    damaged, _ = keep(store, memory, SIZE, "damaged")
    flip(place(store, damaged), 3 * BLOCK_SIZE)
    assert exported(partly) is exported(damaged) is Outcome.UNSOUND
    assert left(tmp_path / "out/a") == []
    assert store.file(damaged).missing(range(71)) == [3]


def test_a_blob_that_is_not_what_was_published_leaves_no_file(store, memory, exported, tmp_path):
    blob, _ = keep(store, memory, SIZE)
    other = type(blob)(blob.version, blob.size, blob.etag, blob.mtime, "0" * 128)
    assert exported(other) is Outcome.UNSOUND
    assert left(tmp_path / "out/a") == []


def test_what_a_kill_left_is_used_again_and_what_another_writes_is_not_touched(
    store, memory, exported, tmp_path
):
    blob, content = keep(store, memory, SIZE)
    draft = tmp_path / ".b.nwb.vbofs-part"
    draft.write_bytes(b"half" * (1 << 22))
    with draft.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            exported(blob, "b.nwb")
        assert draft.stat().st_size == 4 << 22
    assert exported(blob, "b.nwb") in MADE
    assert (tmp_path / "b.nwb").read_bytes() == content
    assert not draft.exists()


def test_a_draft_that_another_finishes_at_this_moment_is_not_cut_off(
    store, memory, exported, tmp_path
):
    blob, content = keep(store, memory, SIZE)
    with _draft(tmp_path / "b.nwb") as theirs:
        os.pwrite(theirs, content, 0)
        os.rename(_draft_name(tmp_path / "b.nwb"), tmp_path / "b.nwb")
        # Whoever opened the draft before it was renamed has the finished file in his hands.
        assert not _is_at(theirs, _draft_name(tmp_path / "b.nwb"))
        assert exported(blob, "b.nwb") is Outcome.THERE
    assert (tmp_path / "b.nwb").read_bytes() == content


def test_layouts_are_those_of_a_mount_and_of_allensdk():
    plain, sdk = Plain("visual-behavior-ophys"), AllenSDK("some/visual-behavior-ophys")
    assert plain.path("1.0.1", "a/b.nwb") == "v1.0.1/a/b.nwb"
    assert sdk.path("1.0.1", "a/b.nwb") == "visual-behavior-ophys-1.0.1/a/b.nwb"
    assert sdk.manifest("1.0.1") == "visual-behavior-ophys_project_manifest_v1.0.1.json"
