"""Whole blobs against their publisher's digests: a lie that every header vouched for comes out."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.conftest import contents
from vbofs.blocks.extents import BLOCK_SIZE
from vbofs.errors import BlockUnavailable

SIZE = 3 * BLOCK_SIZE + 5


@pytest.fixture
def lie(memory):
    """``lie(blob)``: from now on the bucket answers with other bytes of the same number."""

    def make(blob, content):
        memory._objects[blob.version.key][blob.version.version_id] = (content, blob.mtime)

    return make


@pytest.fixture
def rest(fetcher):
    """``await rest()``: until the verifier has nothing left to do.

    The clock jumps in tests that name autojump_clock themselves, and not for this fixture's sake.
    """

    async def until():
        await wait_all_tasks_blocked()
        while fetcher.verifier.statistics().pending:
            await trio.sleep(0.1)

    return until


async def test_a_blob_is_verified_when_its_last_block_is_here(
    fetcher, store, reader_of, put, rest, autojump_clock
):
    blob, content = put(SIZE)
    reader = reader_of(blob)
    await reader.read(0, BLOCK_SIZE)
    await rest()
    assert not store.file(blob).verified
    assert await reader.read(0, SIZE) == content
    await rest()
    assert store.file(blob).verified
    assert fetcher.verifier.statistics().verified == 1


async def test_a_blob_without_a_published_digest_is_left_alone(
    fetcher, store, reader_of, memory, put, rest, autojump_clock
):
    blob, _ = put(SIZE)
    bare = type(blob)(blob.version, blob.size, blob.etag, blob.mtime)
    await reader_of(bare).read(0, SIZE)
    await rest()
    statistics = fetcher.verifier.statistics()
    assert (statistics.verified, statistics.mismatched) == (0, 0)


async def test_bytes_that_are_not_the_publishers_are_dropped_and_fetched_past_any_cache(
    store, reader_of, remote, put, lie, rest, autojump_clock, expects_log
):
    expects_log("does not match its release's blake2b; it is dropped", times=1)
    blob, content = put(SIZE)
    lie(blob, contents(SIZE, "another"))
    reader = reader_of(blob)
    await reader.read(0, SIZE)
    await rest()
    assert remote.distrusted == [blob.version]
    assert store.file(blob).missing(range(4)) == [0, 1, 2, 3]
    lie(blob, content)
    assert await reader.read(0, SIZE) == content
    await rest()
    assert store.file(blob).verified


async def test_bytes_that_are_wrong_twice_are_given_to_nobody(
    fetcher, reader_of, put, lie, rest, autojump_clock, expects_log
):
    expects_log("does not match its release's blake2b", times=2)
    blob, _ = put(SIZE)
    lie(blob, contents(SIZE, "another"))
    for _ in range(2):
        await reader_of(blob).read(0, SIZE)
        await rest()
    with pytest.raises(BlockUnavailable, match="not those of its release"):
        await reader_of(blob).read(0, 10)
    assert fetcher.verifier.statistics().condemned == 1


async def test_a_block_damaged_on_disk_is_no_lie_of_the_publisher(
    fetcher, store, reader_of, put, rest, autojump_clock
):
    blob, content = put(SIZE)
    reader = reader_of(blob)
    await reader.read(0, SIZE)
    path = store.folder / blob.ident[:2] / blob.ident
    path.write_bytes(b"\0" + content[1:])
    await rest()
    assert await reader.read(0, SIZE) == content
    await rest()
    assert fetcher.verifier.statistics().mismatched == 0
    assert store.file(blob).verified


async def test_readers_who_never_rest_delay_a_verdict_and_do_not_prevent_it(
    fetcher, store, reader_of, put, autojump_clock, nursery
):
    blob, _ = put(SIZE)
    other, _ = put(SIZE, "other")
    reader = reader_of(other)

    async def never_rest():
        while True:
            await reader.read(0, 10)
            await trio.sleep(0.3)

    nursery.start_soon(never_rest)
    await reader_of(blob).read(0, SIZE)
    # Counted and not timed: the clock jumps, and the thread that hashes does not.
    while not store.file(blob).verified:
        await trio.sleep(0.1)
