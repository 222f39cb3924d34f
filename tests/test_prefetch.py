"""Fetching ahead: each byte once, after everybody else, and as far as it got when it is stopped."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.conftest import contents
from vbofs.blocks.extents import BLOCK_SIZE, PART_SIZE
from vbofs.blocks.fetcher import Fetcher
from vbofs.blocks.prefetch import Prefetch, Want
from vbofs.blocks.store import open_store
from vbofs.errors import ObjectMissing, RemoteError
from vbofs.model import Extent

FEW = 5 * BLOCK_SIZE + 7


@pytest.fixture
def job(store, fetcher):
    """``job(blob, …)``: a prefetch of these, whole."""

    def make(*blobs, extents=None):
        wants = [Want(blob.version.key, blob, extents) for blob in blobs]
        return Prefetch(wants, store, fetcher, trio.Semaphore(4))

    return make


def asked(remote):
    return sum(extent.size for extent in remote.fetched)


async def test_whole_blobs_come_once_and_are_verified(job, store, remote, put, autojump_clock):
    blobs = [put(PART_SIZE + FEW, "a")[0], put(FEW, "b")[0], put(0, "empty")[0]]
    prefetch = job(*blobs)
    await prefetch.run()
    progress = prefetch.progress
    assert (progress.files_done, progress.failures, progress.stopped) == (3, 0, "")
    assert asked(remote) == progress.bytes == PART_SIZE + 2 * FEW
    assert all(store.file(blob).verified for blob in blobs[:2])
    assert progress.finished
    remote.fetched.clear()
    await job(*blobs).run()
    assert remote.fetched == []


async def test_a_request_is_a_part_at_the_most(job, remote, put, autojump_clock):
    await job(put(2 * PART_SIZE + FEW)[0]).run()
    assert sorted(e.start for e in remote.fetched) == [0, PART_SIZE, 2 * PART_SIZE]


async def test_of_extents_only_the_blocks_that_hold_them_come(job, remote, put):
    blob, _ = put(20 * BLOCK_SIZE)
    parts = (Extent(5, 6), Extent(BLOCK_SIZE * 3 - 1, BLOCK_SIZE * 4), Extent(1 << 40, 1 << 41))
    prefetch = job(blob, extents=parts)
    await prefetch.run()
    assert sorted(remote.fetched) == [
        Extent(0, BLOCK_SIZE),
        Extent(2 * BLOCK_SIZE, 4 * BLOCK_SIZE),
    ]
    assert (prefetch.progress.files_done, prefetch.progress.bytes) == (1, 3 * BLOCK_SIZE)
    assert prefetch.progress.verified == 0


async def test_what_was_stopped_goes_on_where_it_was(job, remote, put, store, autojump_clock):
    blob, content = put(6 * PART_SIZE)
    remote.hold(at=3 * BLOCK_SIZE)  # Of each part three blocks come.
    prefetch = job(blob)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(prefetch.run)
        await wait_all_tasks_blocked()
        prefetch.stop("enough")
    assert (prefetch.progress.stopped, prefetch.progress.files_done) == ("enough", 0)
    remote.let_go()
    await wait_all_tasks_blocked()  # What was under way lands.
    await job(blob).run()
    assert asked(remote) == len(content)
    assert store.file(blob).read(Extent(0, len(content))) == content


async def test_a_reader_comes_first_and_is_left_most_of_the_connections(
    job, fetcher, remote, put, nursery
):
    large, _ = put(8 * PART_SIZE, "large")
    small, _ = put(BLOCK_SIZE, "small")
    ahead, _ = put(BLOCK_SIZE, "ahead")
    remote.hold()
    nursery.start_soon(job(large).run)
    await wait_all_tasks_blocked()
    assert remote.keys == ["large"] * 2  # Of four connections.
    fetcher.note_read()
    fetcher.want(ahead, range(1))
    nursery.start_soon(fetcher.have, small, range(1))
    await wait_all_tasks_blocked()
    assert remote.keys == ["large"] * 2 + ["ahead", "small"]
    nursery.cancel_scope.cancel()


async def test_while_somebody_reads_one_request_at_a_time_is_ahead(
    job, fetcher, remote, put, nursery, autojump_clock
):
    fetcher.note_read()
    remote.hold()
    nursery.start_soon(job(put(8 * PART_SIZE)[0]).run)
    await wait_all_tasks_blocked()
    assert remote.under_way == 1
    nursery.cancel_scope.cancel()


async def test_a_prefetch_joins_a_readers_flight_and_a_reader_a_prefetchs(
    job, fetcher, remote, put, autojump_clock
):
    blob, _ = put(4 * BLOCK_SIZE)
    remote.hold()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fetcher.have, blob, range(0, 2))
        await wait_all_tasks_blocked()
        nursery.start_soon(job(blob).run)
        await wait_all_tasks_blocked()
        nursery.start_soon(fetcher.have, blob, range(1, 4))
        await wait_all_tasks_blocked()
        remote.let_go()
    assert asked(remote) == 4 * BLOCK_SIZE


async def test_a_reader_who_closes_the_file_takes_nothing_from_a_prefetch(
    job, fetcher, remote, put, autojump_clock
):
    blob, _ = put(8 * PART_SIZE)
    prefetch = job(blob)
    remote.hold()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(prefetch.run)
        await wait_all_tasks_blocked()
        fetcher.abandon(blob)
        remote.let_go()
    assert (prefetch.progress.files_done, prefetch.progress.failures) == (1, 0)
    assert asked(remote) == 8 * PART_SIZE


async def test_a_blob_that_is_gone_does_not_keep_the_others(job, remote, put, autojump_clock):
    remote.failures.append((0, ObjectMissing("gone for good")))
    blobs = [put(BLOCK_SIZE, name)[0] for name in "abc"]
    prefetch = job(*blobs)
    await prefetch.run()
    progress = prefetch.progress
    assert (progress.files_done, progress.failures, progress.stopped) == (2, 1, "")
    assert list(progress.failed.values()) == ["a: gone for good"]


async def test_what_would_fail_for_all_is_not_tried_with_each(job, remote, put, autojump_clock):
    blobs = [put(BLOCK_SIZE, str(n))[0] for n in range(50)]
    remote.failures.extend((0, RemoteError("no way there")) for _ in blobs)
    prefetch = job(*blobs)
    await prefetch.run()
    assert prefetch.progress.stopped == "no way there"
    assert len(remote.fetched) < 10


async def test_wrong_bytes_are_fetched_again_and_refused_the_second_time(
    job, memory, store, remote, put, expects_log, autojump_clock
):
    blob, content = put(FEW)
    memory._objects[blob.version.key][blob.version.version_id] = (contents(FEW, "lie"), blob.mtime)
    expects_log("does not match its release's blake2b", times=2)
    prefetch = job(blob)
    await prefetch.run()
    assert prefetch.progress.failures == 1
    assert "its bytes are not those of its release" in prefetch.progress.failed[blob.version.key]
    assert asked(remote) == 2 * len(content)
    assert store.file(blob).missing(range(6)) == list(range(6))


async def test_a_cache_that_takes_no_more_ends_it(tmp_path, nursery, remote, put, expects_log):
    expects_log("the cache takes no more")
    store = open_store(tmp_path / "tiny", 0)
    fetcher = Fetcher(nursery, store, remote, 4)
    blobs = [put(PART_SIZE, str(n))[0] for n in range(20)]
    prefetch = Prefetch([Want("x", blob) for blob in blobs], store, fetcher, trio.Semaphore(4))
    await prefetch.run()
    assert "the cache takes no more" in prefetch.progress.stopped
    assert asked(remote) < 8 * PART_SIZE


async def test_a_waiter_of_the_verifier_does_not_wait_for_readers_to_rest(
    fetcher, store, put, autojump_clock
):
    blob, _ = put(FEW)
    await fetcher.have(blob, range(6))

    async def read_on():
        while True:
            fetcher.note_read()
            await trio.sleep(0.5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_on)
        assert await fetcher.verifier.settle(blob) is True
        nursery.cancel_scope.cancel()
    assert store.file(blob).verified
    assert await fetcher.verifier.settle(blob) is True


async def test_a_blob_that_is_not_all_here_is_not_settled(fetcher, put):
    blob, _ = put(FEW)
    await fetcher.have(blob, range(2))
    assert await fetcher.verifier.settle(blob) is None


def test_want_counts_blocks_once_and_none_outside(memory):
    blob = memory.put("x", contents(3 * BLOCK_SIZE))
    overlapping = (Extent(0, BLOCK_SIZE + 1), Extent(BLOCK_SIZE, 2 * BLOCK_SIZE))
    assert Want("x", blob, overlapping).blocks == [0, 1]
    assert Want("x", blob, ()).blocks == []
    assert list(Want("x", blob).blocks) == [0, 1, 2]
