"""Cached bytes against what was written, and against what was published."""

from __future__ import annotations

import pytest

from tests.conftest import contents
from tests.kept_blobs import flip, keep, place
from vbofs.blocks.audit import audit
from vbofs.blocks.coverage import look
from vbofs.blocks.extents import BLOCK_SIZE

SIZE = 70 * BLOCK_SIZE + 100


@pytest.fixture
def audited(store):
    """``audited(blob)``: the verdict, and the bytes that were reported on the way."""

    def run(blob):
        steps = []
        return audit(store.folder, look(store.folder, blob), steps.append), sum(steps)

    return run


def test_a_whole_blob_is_what_was_published_and_that_is_remembered(store, memory, audited):
    blob, _ = keep(store, memory, SIZE)
    assert audited(blob) == ((SIZE, 0, True), SIZE)
    assert look(store.folder, blob).verified


def test_of_a_part_the_blocks_are_compared_and_no_more_is_said(store, memory, audited):
    blob, _ = keep(store, memory, SIZE, blocks=[1, 2, 68, 70])
    assert audited(blob) == ((3 * BLOCK_SIZE + 100, 0, None), 3 * BLOCK_SIZE + 100)


def test_a_damaged_block_is_dropped_and_the_others_stay(store, memory, audited):
    blob, _ = keep(store, memory, SIZE)
    store.file(blob).mark_verified()
    flip(place(store, blob), 5 * BLOCK_SIZE + 17)
    verdict, _ = audited(blob)
    assert (verdict.damaged, verdict.matches) == (1, None)
    coverage = look(store.folder, blob)
    assert (coverage.missing(), coverage.verified) == ([5], False)


def test_a_blob_that_is_not_what_was_published_is_dropped(store, memory, audited):
    blob, _ = keep(store, memory, SIZE)
    other = type(blob)(blob.version, blob.size, blob.etag, blob.mtime, "0" * 128)
    assert audited(other)[0].matches is False
    assert look(store.folder, blob).bytes == 0


def test_a_blob_that_was_cut_off_is_damage(store, memory, audited):
    blob, _ = keep(store, memory, SIZE)
    with place(store, blob).open("r+b") as file:
        file.truncate(10 * BLOCK_SIZE)
    verdict, _ = audited(blob)
    assert (verdict.damaged, verdict.matches) == (61, None)


def test_nothing_is_said_of_a_blob_without_a_published_digest(store, memory, audited):
    content = contents(100)
    blob = memory.put("x", content)
    bare = type(blob)(blob.version, blob.size, blob.etag, blob.mtime)
    assert store.put(store.file(bare), 0, memoryview(content))
    assert audited(bare)[0] == (100, 0, None)
    assert not look(store.folder, bare).verified
