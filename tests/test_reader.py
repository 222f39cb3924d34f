"""One open file: its bytes are the object's, whatever the disk, the cache or the network do."""

from __future__ import annotations

import random
import subprocess

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import contents
from tests.test_store import root_only, small_disk
from vbofs.blocks.extents import BLOCK_SIZE, PART_SIZE
from vbofs.blocks.fetcher import Fetcher
from vbofs.blocks.reader import BlobReader
from vbofs.blocks.store import open_store
from vbofs.errors import BlockUnavailable, RemoteError
from vbofs.remote.memory import MemoryObjectStore

__all__ = ["small_disk"]

SIZE = PART_SIZE + 5 * BLOCK_SIZE + 123
CONTENT = contents(SIZE)
PIECE = 128 << 10


def path_of(store, blob):
    return store.folder / blob.ident[:2] / blob.ident


async def read_all(reader, piece=PIECE):
    pieces = [await reader.read(at, piece) for at in range(0, reader.blob.size, piece)]
    return b"".join(pieces)


@given(st.lists(st.tuples(st.integers(0, SIZE + 10), st.integers(0, 1 << 20)), max_size=12))
async def test_any_reads_in_any_order_are_the_bytes_of_the_object(tmp_path_factory, reads):
    remote = MemoryObjectStore("b")
    blob = remote.put("k", CONTENT)
    store = open_store(tmp_path_factory.mktemp("cache"), 1 << 30)
    async with trio.open_nursery() as nursery:
        reader = BlobReader(blob, store, Fetcher(nursery, store, remote, 4))
        for offset, size in reads:
            assert await reader.read(offset, size) == CONTENT[offset : offset + size]
        nursery.cancel_scope.cancel()


async def test_many_readers_at_once_each_get_their_bytes(reader_of, put):
    blob, content = put(SIZE)
    chance = random.Random(3)

    async def read(reader):
        for _ in range(20):
            at, size = chance.randrange(SIZE), chance.randrange(1 << 20)
            assert await reader.read(at, size) == content[at : at + size]

    shared = reader_of(blob)
    async with trio.open_nursery() as readers:
        for n in range(10):
            readers.start_soon(read, shared if n % 2 else reader_of(blob))


async def test_a_read_at_the_end_is_short_and_beyond_it_empty(reader_of, put):
    blob, content = put(BLOCK_SIZE + 10)
    reader = reader_of(blob)
    assert await reader.read(BLOCK_SIZE, 4096) == content[-10:]
    assert await reader.read(BLOCK_SIZE + 10, 4096) == b""
    assert await reader.read(1 << 40, 4096) == b""


async def test_an_empty_file_is_empty_and_asks_for_nothing(reader_of, remote, put):
    blob, _ = put(0)
    assert await reader_of(blob).read(0, 4096) == b""
    assert remote.fetched == []


async def test_a_lone_read_costs_one_block(reader_of, remote, put):
    blob, _ = put(SIZE)
    await reader_of(blob).read(SIZE // 2, 100)
    assert sum(extent.size for extent in remote.fetched) == BLOCK_SIZE


async def test_a_sequential_reader_asks_in_few_requests_and_for_no_byte_twice(
    reader_of, remote, put
):
    blob, content = put(4 * PART_SIZE)
    assert await read_all(reader_of(blob)) == content
    assert sum(extent.size for extent in remote.fetched) == blob.size
    assert len(remote.fetched) < 20


async def test_a_second_reading_asks_the_network_for_nothing(reader_of, remote, put):
    blob, content = put(SIZE)
    await read_all(reader_of(blob))
    remote.fetched.clear()
    assert await read_all(reader_of(blob)) == content
    assert remote.fetched == []


# --- trouble underneath


@pytest.mark.parametrize("blocks", [0, 1, 3, 10])
async def test_a_file_larger_than_the_cache_is_read_all_the_same(
    blocks, tmp_path, remote, put, nursery, expects_log
):
    if blocks < 4:  # Blocks are kept up to four at a time.
        expects_log("the cache takes no more", times=1)
    store = open_store(tmp_path / "tiny", blocks * BLOCK_SIZE)
    blob, content = put(SIZE)
    reader = BlobReader(blob, store, Fetcher(nursery, store, remote, 4))
    assert await read_all(reader) == content
    assert await read_all(reader, 1 << 20) == content
    assert store.statistics().used <= max(blocks, 1) * BLOCK_SIZE


async def test_a_block_damaged_between_reads_is_fetched_again(reader_of, remote, store, put):
    blob, content = put(4 * BLOCK_SIZE)
    reader = reader_of(blob)
    await reader.read(0, blob.size)
    with path_of(store, blob).open("r+b") as data:
        data.seek(2 * BLOCK_SIZE + 9)
        data.write(b"\0\0\0\0")
    assert await reader.read(0, blob.size) == content
    assert remote.fetched[1:] == [(2 * BLOCK_SIZE, 3 * BLOCK_SIZE)]


async def test_more_damage_than_there_are_rounds_is_made_up_for_in_one(
    reader_of, remote, store, put
):
    blob, content = put(20 * BLOCK_SIZE)
    reader = reader_of(blob)
    await reader.read(0, blob.size)
    path_of(store, blob).write_bytes(b"\0" * blob.size)
    store.file(blob).forget([0])
    remote.fetched.clear()
    assert await reader.read(0, blob.size) == content
    assert sum(extent.size for extent in remote.fetched) == blob.size
    assert len(remote.fetched) <= 3


async def test_damage_outside_of_a_read_costs_it_nothing(reader_of, remote, store, put):
    blob, content = put(4 * BLOCK_SIZE)
    reader = reader_of(blob)
    await reader.read(0, blob.size)
    path_of(store, blob).write_bytes(content[:BLOCK_SIZE] + b"\0" * 3 * BLOCK_SIZE)
    assert await reader.read(0, BLOCK_SIZE) == content[:BLOCK_SIZE]
    assert len(remote.fetched) == 1


async def test_a_cache_deleted_under_an_open_file_is_no_trouble(reader_of, store, put):
    blob, content = put(4 * BLOCK_SIZE)
    reader = reader_of(blob)
    await reader.read(0, BLOCK_SIZE)
    for path in path_of(store, blob).parent.iterdir():
        path.unlink()
    assert await reader.read(0, blob.size) == content


@root_only
async def test_a_disk_that_refuses_everything_costs_speed_and_no_byte(
    small_disk, remote, put, nursery, expects_log
):
    expects_log("the cache takes no more", times=1)
    store = open_store(small_disk, None)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    blob, content = put(SIZE)
    reader = BlobReader(blob, store, Fetcher(nursery, store, remote, 4))
    assert await read_all(reader) == content
    assert store.statistics().refused > 0


@root_only
async def test_a_disk_that_refuses_is_not_read_ahead_for(
    small_disk, remote, put, nursery, expects_log
):
    """Blocks that cannot be kept would be thrown away, and fetched a second time."""
    expects_log("the cache takes no more", times=1)
    store = open_store(small_disk, None)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    blob, _ = put(SIZE)
    await read_all(BlobReader(blob, store, Fetcher(nursery, store, remote, 4)))
    assert sum(extent.size for extent in remote.fetched) == SIZE


@root_only
async def test_a_disk_that_is_full_costs_no_byte(small_disk, remote, put, nursery):
    store = open_store(small_disk, 1 << 30)
    blob, content = put(SIZE)
    reader = BlobReader(blob, store, Fetcher(nursery, store, remote, 4))
    assert await read_all(reader) == content
    assert await read_all(reader, 1 << 20) == content


async def test_a_network_that_fails_is_one_error_and_then_forgotten(
    reader_of, remote, put, expects_log
):
    blob, content = put(SIZE)
    reader = reader_of(blob)
    remote.failures.append((100, RemoteError("broken line")))
    with pytest.raises(BlockUnavailable, match="broken line"):
        await reader.read(0, 10)
    assert await reader.read(0, 10) == content[:10]


async def test_a_cache_that_loses_blocks_as_they_land_ends_in_an_error(
    reader_of, store, put, memory
):
    """Not for ever: whoever spoils the cache that fast would keep the reader in a loop."""
    blob, _ = put(2 * BLOCK_SIZE)
    rounds = []

    class Spoiled:
        def note_read(self):
            """Nothing waits for a rest here."""

        async def have(self, blob, blocks, *, but, ahead):
            rounds.append(blocks)
            await trio.lowlevel.checkpoint()
            return {}

    with pytest.raises(BlockUnavailable, match="as fast as they are fetched"):
        await BlobReader(blob, store, Spoiled()).read(0, 10)
    assert len(rounds) < 10
