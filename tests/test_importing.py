"""Files from outside become blocks only if their bytes are what was published."""

from __future__ import annotations

import os

import pytest

from tests.conftest import contents
from tests.kept_blobs import flip, keep, place
from vbofs.blocks.coverage import look
from vbofs.blocks.extents import BLOCK_SIZE
from vbofs.blocks.importing import adopt, identify, opened
from vbofs.blocks.store import open_store
from vbofs.errors import CacheFull
from vbofs.model import Extent

SIZE = 5 * BLOCK_SIZE + 100


def silent(done):
    """Nobody watches."""


@pytest.fixture
def source(tmp_path, memory):
    """A published blob, its bytes, and a file of them under a name of no meaning."""
    content = contents(SIZE, "published")
    path = tmp_path / "whatever.txt"
    path.write_bytes(content)
    return memory.put("x.nwb", content), content, path


def test_a_file_with_the_published_bytes_becomes_a_verified_blob(store, source):
    blob, content, path = source
    steps = []
    with opened(path) as fd:
        identity = identify(fd, {SIZE}, steps.append)
        assert identity.digest == blob.digest
        assert adopt(store, blob, fd, identity, steps.append)
    assert sum(steps) == 2 * SIZE
    assert store.file(blob).read(Extent(0, SIZE)) == content
    assert look(store.folder, blob).verified


def test_a_file_of_another_size_is_not_read(source):
    with opened(source[2]) as fd:
        assert identify(fd, {SIZE + 1}, silent) is None


def test_a_file_that_changes_between_the_looks_is_refused_where_it_differs(store, source):
    blob, _, path = source
    with opened(path) as fd:
        identity = identify(fd, {SIZE}, silent)
        flip(path, 3 * BLOCK_SIZE)
        assert not adopt(store, blob, fd, identity, silent)
        coverage = look(store.folder, blob)
        assert (coverage.missing(), coverage.verified) == ([3, 4, 5], False)
        os.truncate(path, BLOCK_SIZE)
        assert not adopt(store, blob, fd, identity, silent)


def test_blocks_that_are_here_are_compared_and_damaged_ones_replaced(store, memory, source):
    blob, content, path = source
    keep(store, memory, SIZE, "other")
    for block in (0, 1):
        piece = memoryview(content)[block * BLOCK_SIZE :][:BLOCK_SIZE]
        assert store.put(store.file(blob), block, piece)
    flip(place(store, blob), 5)
    with opened(path) as fd:
        assert adopt(store, blob, fd, identify(fd, {SIZE}, silent), silent)
    assert store.file(blob).read(Extent(0, SIZE)) == content


def test_a_cache_with_no_room_says_so(tmp_path, source, expects_log):
    expects_log("the cache takes no more")
    blob, _, path = source
    with opened(path) as fd, pytest.raises(CacheFull):
        adopt(open_store(tmp_path / "tiny", 0), blob, fd, identify(fd, {SIZE}, silent), silent)


def test_what_is_no_ordinary_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, tmp_path / "nothing", "/dev/null"):
        with pytest.raises(OSError, match=r"no ordinary file|No such file"), opened(path):
            pass
