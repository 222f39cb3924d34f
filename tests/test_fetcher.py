"""Who is fetching what: one request for many readers, demand first, blocks as they land."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from vbofs.blocks.extents import BLOCK_SIZE, BLOCKS_PER_PART
from vbofs.blocks.fetcher import Fetcher
from vbofs.blocks.flights import Priority
from vbofs.errors import BlockUnavailable, ObjectMissing, RemoteError
from vbofs.model import Extent

FEW = 6 * BLOCK_SIZE


def extent(blocks):
    return Extent(blocks.start * BLOCK_SIZE, blocks.stop * BLOCK_SIZE)


async def assert_empty(fetcher):
    await wait_all_tasks_blocked()
    assert repr(fetcher) == "<Fetcher 0 flying, 0 queued>"
    assert fetcher.under_way == 0


async def test_blocks_that_are_asked_for_come(fetcher, store, put):
    blob, content = put(FEW)
    await fetcher.have(blob, range(0, 6))
    assert store.file(blob).read(Extent(0, FEW)) == content
    await assert_empty(fetcher)


async def test_what_is_here_is_not_fetched_again(fetcher, remote, put):
    blob, _ = put(FEW)
    await fetcher.have(blob, range(0, 6))
    assert await fetcher.have(blob, range(0, 6)) == {}
    assert remote.fetched == [(0, FEW)]


async def test_only_what_is_missing_is_fetched(fetcher, remote, put):
    blob, _ = put(FEW)
    await fetcher.have(blob, range(2, 4))
    await fetcher.have(blob, range(0, 6))
    assert remote.fetched[0] == extent(range(2, 4))
    assert sorted(remote.fetched[1:]) == [extent(range(0, 2)), extent(range(4, 6))]


async def test_fifty_readers_of_one_block_are_one_fetch(fetcher, remote, put):
    blob, content = put(BLOCK_SIZE)
    answers = []

    async def read():
        answers.append(await fetcher.have(blob, range(0, 1)))

    async with trio.open_nursery() as readers:
        for _ in range(50):
            readers.start_soon(read)
    assert len(remote.fetched) == 1
    assert answers == [{0: content}] * 50
    assert fetcher.statistics().joined == 49
    await assert_empty(fetcher)


async def test_readers_of_overlapping_blocks_share_what_is_on_its_way(fetcher, remote, put):
    blob, _ = put(FEW)
    async with trio.open_nursery() as readers:
        for start in range(3):
            readers.start_soon(fetcher.have, blob, range(start, start + 3))
    assert sum(e.size for e in remote.fetched) == 5 * BLOCK_SIZE


async def test_a_failure_reaches_all_waiters_and_the_next_asks_again(
    fetcher, remote, put, expects_log
):
    blob, content = put(BLOCK_SIZE)
    remote.failures.append((0, RemoteError("broken line")))
    errors = []

    async def read():
        with pytest.raises(BlockUnavailable, match=r"file: broken line") as caught:
            await fetcher.have(blob, range(0, 1))
        errors.append(caught.value)

    async with trio.open_nursery() as readers:
        for _ in range(5):
            readers.start_soon(read)
    assert len({id(error) for error in errors}) == 5  # Tracebacks must not grow on one error.
    assert len(remote.fetched) == 1
    assert await fetcher.have(blob, range(0, 1)) == {0: content}
    assert fetcher.last_error == "broken line"
    await assert_empty(fetcher)


async def test_a_failure_holds_none_of_the_frames_it_came_through(
    fetcher, remote, put, expects_log
):
    blob, _ = put(BLOCK_SIZE)
    try:
        raise OSError("reset")
    except OSError as reset:
        error = RemoteError("broken line")
        error.__cause__ = reset
        reset.__context__ = error  # As after a second raise.
    remote.failures.append((0, error))
    with pytest.raises(BlockUnavailable):
        await fetcher.have(blob, range(0, 1))
    assert error.__traceback__ is None
    assert error.__cause__.__traceback__ is None


async def test_blocks_that_landed_before_a_failure_are_kept(
    fetcher, remote, store, put, expects_log
):
    blob, content = put(FEW)
    remote.failures.append((2 * BLOCK_SIZE + 5, RemoteError("broken line")))
    with pytest.raises(BlockUnavailable):
        await fetcher.have(blob, range(0, 6))
    assert store.file(blob).read(Extent(0, 2 * BLOCK_SIZE)) == content[: 2 * BLOCK_SIZE]
    await fetcher.have(blob, range(0, 6))
    assert remote.fetched[1:] == [extent(range(2, 6))]


async def test_an_answer_that_ends_early_is_no_block(fetcher, memory, put):
    blob, _ = put(BLOCK_SIZE)
    memory._objects[blob.version.key][blob.version.version_id] = (b"short", 0)
    with pytest.raises(BlockUnavailable, match="ended early"):
        await fetcher.have(blob, range(0, 1))
    await assert_empty(fetcher)


async def test_an_object_that_is_gone_is_said_by_name(fetcher, memory, put, expects_log):
    blob, _ = put(BLOCK_SIZE)
    memory._objects.clear()
    with pytest.raises(BlockUnavailable) as caught:
        await fetcher.have(blob, range(0, 1))
    assert isinstance(caught.value.__cause__, ObjectMissing)


async def test_a_bug_in_the_remote_is_loud_once_and_kills_nothing(
    fetcher, remote, put, expects_log
):
    expects_log("a bug; the readers see EIO", times=1)
    blob, content = put(BLOCK_SIZE)
    remote.failures.append((0, KeyError("nonsense")))
    with pytest.raises(BlockUnavailable):
        await fetcher.have(blob, range(0, 1))
    assert await fetcher.have(blob, range(0, 1)) == {0: content}


# --- blocks land one by one


async def test_the_first_block_is_read_while_the_rest_is_under_way(fetcher, remote, put):
    blob, content = put(FEW)
    remote.hold(at=BLOCK_SIZE)
    fetcher.want(blob, range(0, 6))
    assert await fetcher.have(blob, range(0, 1)) in ({}, {0: content[:BLOCK_SIZE]})
    assert remote.under_way == 1
    remote.let_go()
    await fetcher.have(blob, range(0, 6))
    assert remote.fetched == [(0, FEW)]


async def test_a_block_that_is_evicted_before_its_request_ends_is_fetched_anew(
    fetcher, remote, store, put
):
    """Its flight has nothing more to bring: whoever joined it would wait for all the rest."""
    blob, content = put(8 * BLOCK_SIZE)
    remote.hold(4 * BLOCK_SIZE)
    fetcher.want(blob, range(8))
    await wait_all_tasks_blocked()
    store.file(blob).forget([0])
    assert await fetcher.have(blob, range(1)) == {0: content[:BLOCK_SIZE]}
    remote.let_go()
    assert (await fetcher.have(blob, range(4, 8))).keys() <= set(range(4, 8))
    await assert_empty(fetcher)


async def test_a_block_that_is_not_whole_yet_is_not_there(fetcher, remote, store, put):
    blob, _ = put(FEW)
    remote.hold(at=BLOCK_SIZE - 1)
    fetcher.want(blob, range(0, 6))
    await wait_all_tasks_blocked()
    with trio.move_on_after(0) as scope:
        await fetcher.have(blob, range(0, 1))
    assert scope.cancelled_caught
    assert store.file(blob).missing(range(0, 6)) == list(range(0, 6))


# --- demand first


async def test_demand_overtakes_read_ahead_that_has_not_begun(fetcher, remote, put):
    ahead, _ = put(6 * BLOCKS_PER_PART * BLOCK_SIZE, "ahead")
    wanted, _content = put(BLOCK_SIZE, "wanted")
    remote.hold()
    fetcher.want(ahead, range(0, 6 * BLOCKS_PER_PART))
    async with trio.open_nursery() as readers:
        readers.start_soon(fetcher.have, wanted, range(0, 1))
        await wait_all_tasks_blocked()
        assert remote.keys.count("ahead") == 3  # One connection of four is kept for demand.
        assert remote.keys[-1] == "wanted"
        readers.cancel_scope.cancel()
    fetcher.abandon(ahead)
    remote.let_go()


async def test_a_reader_hurries_read_ahead_that_has_not_begun(fetcher, remote, put):
    blob, _ = put(6 * BLOCKS_PER_PART * BLOCK_SIZE)
    remote.hold()
    fetcher.want(blob, range(0, 6 * BLOCKS_PER_PART))
    last = range(5 * BLOCKS_PER_PART, 5 * BLOCKS_PER_PART + 1)
    async with trio.open_nursery() as readers:
        readers.start_soon(fetcher.have, blob, last)
        await wait_all_tasks_blocked()
        assert remote.fetched[-1].start == last.start * BLOCK_SIZE
        fetcher.abandon(blob)
        remote.let_go()


async def test_no_more_requests_are_under_way_than_there_are_connections(fetcher, remote, put):
    blobs = [put(BLOCK_SIZE, f"b{n}")[0] for n in range(30)]
    remote.hold()
    async with trio.open_nursery() as readers:
        for blob in blobs:
            readers.start_soon(fetcher.have, blob, range(0, 1))
        await wait_all_tasks_blocked()
        assert remote.under_way == 4
        remote.let_go()
    assert remote.peak == 4
    await assert_empty(fetcher)


async def test_chases_take_more_of_the_connections_than_read_ahead_and_leave_some_for_demand(
    nursery, store, remote, put
):
    fetcher = Fetcher(nursery, store, remote, 16)
    wanted, *guesses, missed = (put(BLOCK_SIZE, f"b{n}")[0] for n in range(22))
    remote.hold()
    async with trio.open_nursery() as readers:
        for blob in guesses:
            readers.start_soon(partial(fetcher.have, blob, range(1), priority=Priority.CHASE))
        await wait_all_tasks_blocked()
        assert remote.under_way == 14
        fetcher.want(wanted, range(1))
        readers.start_soon(fetcher.have, missed, range(1))
        await wait_all_tasks_blocked()
        assert remote.under_way == 15
        remote.let_go()


async def test_no_request_is_larger_than_a_part(fetcher, remote, put):
    blob, _ = put(3 * BLOCKS_PER_PART * BLOCK_SIZE)
    await fetcher.have(blob, range(BLOCKS_PER_PART // 2, 2 * BLOCKS_PER_PART))
    part = BLOCKS_PER_PART * BLOCK_SIZE
    assert sorted(remote.fetched) == [(part // 2, part), (part, 2 * part)]


# --- letting go


async def test_closing_a_file_drops_what_has_not_begun(fetcher, remote, put):
    blob, _ = put(6 * BLOCKS_PER_PART * BLOCK_SIZE)
    remote.hold()
    fetcher.want(blob, range(0, 6 * BLOCKS_PER_PART))
    fetcher.abandon(blob)
    assert fetcher.statistics().queued == 0
    remote.let_go()
    await wait_all_tasks_blocked()
    assert len(remote.fetched) == 3
    await assert_empty(fetcher)


async def test_closing_a_file_ends_what_is_under_way_and_keeps_what_has_come(
    fetcher, remote, store, put
):
    blob, _ = put(BLOCKS_PER_PART * BLOCK_SIZE)
    remote.hold(at=10 * BLOCK_SIZE)
    fetcher.want(blob, range(0, BLOCKS_PER_PART))
    await wait_all_tasks_blocked()
    assert remote.under_way == 1
    fetcher.abandon(blob)
    await wait_all_tasks_blocked()
    assert remote.under_way == 0
    assert fetcher.statistics().failed == 0
    assert not set(range(8)) & set(store.file(blob).missing(range(0, 10)))
    await assert_empty(fetcher)
    remote.let_go()


async def test_who_comes_just_after_a_file_was_closed_gets_his_bytes(fetcher, remote, put):
    blob, content = put(BLOCKS_PER_PART * BLOCK_SIZE)
    remote.hold(at=10 * BLOCK_SIZE)
    fetcher.want(blob, range(0, BLOCKS_PER_PART))
    await wait_all_tasks_blocked()
    fetcher.abandon(blob)  # No checkpoint: what was under way does not know of it yet.
    remote.let_go()
    loose = await fetcher.have(blob, range(20, 22))
    assert loose[20] == content[20 * BLOCK_SIZE : 21 * BLOCK_SIZE]


async def test_a_request_that_is_nearly_done_is_let_finish(fetcher, remote, put):
    blob, _ = put(20 * BLOCK_SIZE)
    remote.hold(at=12 * BLOCK_SIZE)
    fetcher.want(blob, range(0, 20))
    await wait_all_tasks_blocked()
    fetcher.abandon(blob)
    await wait_all_tasks_blocked()
    assert remote.under_way == 1
    remote.let_go()


async def test_a_thread_that_still_pours_for_a_closed_file_is_stopped(fetcher, remote, put):
    blob, _ = put(BLOCKS_PER_PART * BLOCK_SIZE)
    sinks = []

    async def fetch(blob, extent, sink):
        sinks.append(sink)
        await trio.sleep_forever()

    remote.fetch = fetch
    fetcher.want(blob, range(0, BLOCKS_PER_PART))
    await wait_all_tasks_blocked()
    fetcher.abandon(blob)
    with pytest.raises(BlockUnavailable, match="nobody wants it"):
        sinks[0].get_buffer()


async def test_closing_a_file_takes_nothing_from_those_who_wait(fetcher, remote, put):
    blobs = [put(BLOCK_SIZE, f"b{n}") for n in range(8)]
    remote.hold()
    async with trio.open_nursery() as readers:
        for blob, _ in blobs:
            readers.start_soon(fetcher.have, blob, range(0, 1))
        await wait_all_tasks_blocked()
        for blob, _ in blobs:
            fetcher.abandon(blob)
        remote.let_go()
    assert len(remote.fetched) == 8
