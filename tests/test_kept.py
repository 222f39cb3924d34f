"""Small state on disk: the value that was saved, or none; never another."""

from __future__ import annotations

import os
import threading

import pytest

from vbofs.dataset import Document, Listing
from vbofs.dataset.facts import FactTable
from vbofs.kept import Kept
from vbofs.model import ObjectFacts, ObjectVersion

TABLE = {"some/key": {"v1": ObjectFacts(1, "etag", 2)}}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "value"


def test_a_value_comes_back_as_it_was(path):
    Kept(path, FactTable).save(TABLE)
    assert Kept(path, FactTable).load() == TABLE


def test_a_listing_comes_back_with_its_types(path):
    version = ObjectVersion("b", "k", "v")
    listing = Listing([Document("n", version, ObjectFacts(1, "e", 2), "1.0.0")], [], 3.5)
    Kept(path, Listing).save(listing)
    assert Kept(path, Listing).load() == listing


def test_nothing_was_kept_yet(path):
    assert Kept(path, FactTable).load() is None


def test_the_last_value_counts(path):
    kept = Kept(path, int)
    for n in range(3):
        kept.save(n)
    assert kept.load() == 2
    assert os.listdir(path.parent) == ["value"]


def test_a_value_with_any_byte_damaged_is_as_good_as_none(path):
    kept = Kept(path, FactTable)
    kept.save(TABLE)
    sound = path.read_bytes()
    for at in range(len(sound)):
        path.write_bytes(sound[:at] + bytes([sound[at] ^ 4]) + sound[at + 1 :])
        assert kept.load() is None, at


def test_a_value_cut_anywhere_is_as_good_as_none(path):
    kept = Kept(path, FactTable)
    kept.save(TABLE)
    sound = path.read_bytes()
    for length in range(len(sound)):
        path.write_bytes(sound[:length])
        assert kept.load() is None, length


def test_a_value_of_another_format_is_as_good_as_none(path):
    Kept(path, FactTable, form=2).save(TABLE)
    assert Kept(path, FactTable).load() is None


def test_a_value_of_another_shape_is_as_good_as_none(path):
    Kept(path, list[int]).save([1])
    assert Kept(path, FactTable).load() is None


def test_a_value_nested_beyond_reason_is_as_good_as_none(path):
    kept = Kept(path, list)
    body = b"\x91" * 100_000 + b"\x90"
    path.parent.mkdir()
    path.write_bytes(kept._head(body) + b"\n" + body)
    assert kept.load() is None


def test_a_file_that_cannot_be_read_is_as_good_as_none_and_is_said(path, expects_log):
    expects_log("cannot be read, so it is fetched again")
    path.mkdir(parents=True)
    assert Kept(path, FactTable).load() is None


def test_a_disk_that_refuses_costs_the_keeping_only(path, expects_log):
    expects_log("cannot be kept", times=2)
    path.parent.write_text("a file where the folder should be")
    Kept(path, FactTable).save(TABLE)
    path.parent.unlink()
    path.mkdir(parents=True)
    Kept(path, FactTable).save(TABLE)
    assert os.listdir(path.parent) == ["value"]


def test_a_reader_sees_the_old_value_or_the_new_one_and_nothing_between(path):
    values = [{f"key {n}": {"v": ObjectFacts(n, "e" * 5000, n)}} for n in range(2)]
    Kept(path, FactTable).save(values[0])
    done = threading.Event()

    def write():
        for n in range(200):
            Kept(path, FactTable).save(values[n % 2])
        done.set()

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    while not done.is_set():
        assert Kept(path, FactTable).load() in values
    for writer in writers:
        writer.join()
    assert os.listdir(path.parent) == ["value"]


def test_a_file_that_is_too_large_to_be_ours_is_not_read(path):
    Kept(path, bytes).save(b"x" * 1000)
    assert Kept(path, bytes, largest=2000).load() == b"x" * 1000
    assert Kept(path, bytes, largest=1000).load() is None
    os.truncate(path, 1 << 40)
    assert Kept(path, bytes).load() is None
