"""Whole blobs against their publisher's digests."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from vbofs.blocks.extents import BLOCK_SIZE
from vbofs.blocks.reader import BlobReader
from vbofs.errors import BlockUnavailable
from vbofs.model import Extent

SIZE = 5 * BLOCK_SIZE + 77


async def at_rest(fetcher):
    """Wait until nothing is left to verify; a thread hashes, so the clock is a real one."""
    await wait_all_tasks_blocked()
    with trio.fail_after(20):
        while fetcher.verifier.statistics().pending:
            await trio.sleep(0.01)


async def test_a_blob_is_verified_when_its_last_block_is_here(fetcher, store, put):
    blob, content = put(SIZE)
    reader = BlobReader(blob, store, fetcher)
    assert await reader.read(0, BLOCK_SIZE) == content[:BLOCK_SIZE]
    assert fetcher.verifier.statistics().pending == 0
    assert await reader.read(0, SIZE) == content
    await at_rest(fetcher)
    assert store.file(blob).verified
    assert fetcher.verifier.statistics().verified == 1


async def test_a_changed_block_takes_the_stamp_away(fetcher, store, put):
    blob, content = put(SIZE)
    await BlobReader(blob, store, fetcher).read(0, SIZE)
    await at_rest(fetcher)
    file = store.file(blob)
    file.put(0, memoryview(content[:BLOCK_SIZE]))
    assert not file.verified
    file.mark_verified()
    file.forget([3])
    assert not file.verified


async def test_a_blob_without_a_digest_is_never_verified(fetcher, store, put):
    blob, content = put(SIZE)
    blob = replace(blob, digest="")
    assert await BlobReader(blob, store, fetcher).read(0, SIZE) == content
    await at_rest(fetcher)
    assert not store.file(blob).verified


async def test_wrong_bytes_are_dropped_once_and_condemned_twice(fetcher, store, put, expects_log):
    expects_log("does not match its release's blake2b", times=2)
    blob, _ = put(SIZE)
    blob = replace(blob, digest="0" * 128)
    reader = BlobReader(blob, store, fetcher)
    for _ in range(2):
        await reader.read(0, SIZE)
        await at_rest(fetcher)
        assert store.file(blob).read(Extent(0, 10)) is None
        assert reader.is_suspect
    with pytest.raises(BlockUnavailable, match="not those of its release"):
        await reader.read(0, 10)
    statistics = fetcher.verifier.statistics()
    assert (statistics.mismatched, statistics.condemned, statistics.verified) == (2, 1, 0)


async def test_bytes_that_are_right_the_second_time_are_served_and_verified(
    fetcher, store, remote, put, expects_log
):
    expects_log("does not match its release's blake2b", times=1)
    blob, content = put(SIZE)
    other, _ = put(SIZE, key="poisoned")
    real = remote.fetch
    remote.fetch = lambda wanted, extent, sink: real(other, extent, sink)
    reader = BlobReader(blob, store, fetcher)
    await reader.read(0, SIZE)
    remote.fetch = real
    await at_rest(fetcher)
    assert remote.distrusted == [blob.version]
    assert await reader.read(0, SIZE) == content
    await at_rest(fetcher)
    assert store.file(blob).verified
