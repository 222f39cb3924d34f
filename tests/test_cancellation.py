"""Readers go away at every phase of a read; nobody else loses a block, and nothing stays behind."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from vbofs.blocks.extents import BLOCK_SIZE
from vbofs.blocks.fetcher import Fetcher
from vbofs.blocks.reader import BlobReader
from vbofs.errors import BlockUnavailable

SIZE = 4 * BLOCK_SIZE


async def reading(reader, answers, scope):
    with scope:
        answers.append(bytes(await reader.read(0, SIZE)))


async def is_empty(fetcher):
    await wait_all_tasks_blocked()
    return not fetcher.under_way and repr(fetcher) == "<Fetcher 0 flying, 0 queued>"


@pytest.mark.parametrize("gone", [0, 1, 4])
async def test_cancelling_one_reader_leaves_the_others_their_blocks(
    gone, fetcher, reader_of, remote, put
):
    blob, content = put(SIZE)
    remote.hold(at=BLOCK_SIZE + 7)
    answers, scopes = [], [trio.CancelScope() for _ in range(5)]
    async with trio.open_nursery() as readers:
        for scope in scopes:
            readers.start_soon(reading, reader_of(blob), answers, scope)
        await wait_all_tasks_blocked()
        scopes[gone].cancel()
        await wait_all_tasks_blocked()
        remote.let_go()
    assert answers == [content] * 4
    assert len(remote.fetched) == 1
    assert await is_empty(fetcher)


@pytest.mark.parametrize("at", [0, 7, BLOCK_SIZE, 2 * BLOCK_SIZE + 7, SIZE])
async def test_a_reader_cancelled_at_any_byte_wastes_nothing(at, fetcher, reader_of, remote, put):
    blob, content = put(SIZE)
    remote.hold(at=at)
    scope = trio.CancelScope()
    async with trio.open_nursery() as readers:
        readers.start_soon(reading, reader_of(blob), [], scope)
        await wait_all_tasks_blocked()
        scope.cancel()
    assert fetcher.statistics().flying  # The request outlives the one who asked for it.
    remote.let_go()
    assert await reader_of(blob).read(0, SIZE) == content
    assert len(remote.fetched) == 1
    assert await is_empty(fetcher)


async def test_a_reader_cancelled_before_it_begins_asks_for_nothing_lasting(
    fetcher, reader_of, put
):
    blob, _ = put(SIZE)
    scope = trio.CancelScope()
    scope.cancel()
    await reading(reader_of(blob), [], scope)
    await wait_all_tasks_blocked()
    assert await is_empty(fetcher)


async def test_all_readers_gone_the_fetch_still_lands_on_disk(
    fetcher, reader_of, remote, store, put
):
    blob, _content = put(SIZE)
    remote.hold()
    async with trio.open_nursery() as readers:
        for _ in range(3):
            readers.start_soon(reader_of(blob).read, 0, SIZE)
        await wait_all_tasks_blocked()
        readers.cancel_scope.cancel()
    remote.let_go()
    await wait_all_tasks_blocked()
    assert store.file(blob).missing(range(0, 4)) == []
    assert await is_empty(fetcher)


async def test_nobody_hangs_when_the_mount_goes_away(store, remote, put):
    blob, _ = put(SIZE)
    remote.hold(at=BLOCK_SIZE)
    errors = []

    async def read(reader):
        with pytest.raises(BlockUnavailable, match="going away"):
            await reader.read(0, SIZE)
        errors.append(1)

    async with trio.open_nursery() as readers, trio.open_nursery() as mount:
        fetcher = Fetcher(mount, store, remote, 1)
        for start in range(3):
            reader = BlobReader(blob, store, fetcher)
            readers.start_soon(read, reader)
            fetcher.want(put(SIZE, f"ahead{start}")[0], range(0, 4))
        await wait_all_tasks_blocked()
        mount.cancel_scope.cancel()
    assert len(errors) == 3
    assert await is_empty(fetcher)


async def test_asking_while_the_mount_goes_away_is_an_error_and_no_hang(store, remote, put):
    blob, _ = put(SIZE)
    async with trio.open_nursery() as mount:
        fetcher = Fetcher(mount, store, remote, 4)
        mount.cancel_scope.cancel()
        with trio.CancelScope(shield=True), pytest.raises(BlockUnavailable):
            await fetcher.have(blob, range(0, 1))
    assert await is_empty(fetcher)


async def test_asking_when_the_mount_has_gone_is_an_error_every_time(store, remote, put):
    blob, _ = put(SIZE)
    async with trio.open_nursery() as mount:
        fetcher = Fetcher(mount, store, remote, 4)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="closed"):
            await fetcher.have(blob, range(0, 1))


async def test_a_thread_that_goes_on_after_cancellation_finds_nobody_and_harms_nobody(
    store, remote, put
):
    """S3's thread may pour for a while after its fetch was cancelled: into a sink of its own."""
    blob, content = put(SIZE)
    sinks = []

    async def fetch(blob, extent, sink):
        sinks.append(sink)
        await trio.sleep_forever()

    remote.fetch = fetch
    async with trio.open_nursery() as mount:
        fetcher = Fetcher(mount, store, remote, 4)
        fetcher.want(blob, range(0, 4))
        await wait_all_tasks_blocked()
        mount.cancel_scope.cancel()
    for at in range(0, SIZE, BLOCK_SIZE):
        sinks[0].get_buffer()[:BLOCK_SIZE] = content[at : at + BLOCK_SIZE]
        sinks[0].buffer_updated(BLOCK_SIZE)
    await wait_all_tasks_blocked()
    assert await is_empty(fetcher)
    assert store.file(blob).missing(range(0, 4)) == []
