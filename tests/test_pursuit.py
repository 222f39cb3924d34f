"""The chase under way: what it saves an HDF5 reader, and what it never costs anybody else.

Each fetch takes one second of a clock that jumps, so seconds are waits in a row.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial

import pytest
import trio

from tests.hdf5_files import beside_chunks, scattered, small_before_large, values_apart
from tests.hdf5_traces import list_all, list_attributes, list_values, reads_of
from vbofs.blocks import pursuit
from vbofs.blocks.extents import BLOCK_SIZE, block_count, covering
from vbofs.blocks.fetcher import Fetcher
from vbofs.blocks.hdf5 import Chase, chase
from vbofs.blocks.pursuit import Pursuit
from vbofs.blocks.readahead import BESIDE, COMPANION, LEAST_WHOLE
from vbofs.blocks.reader import BlobReader
from vbofs.errors import BlockUnavailable, RemoteError
from vbofs.kept import Kept
from vbofs.model import Extent

EXPERIMENT = "behavior_ophys_experiments/behavior_ophys_experiment_951980471.nwb"


@pytest.fixture(scope="module")
def recording(sample):
    """A small recording, and the reads of a program that lists it all."""
    path = sample.release("1.1.0").paths[EXPERIMENT]
    return path.read_bytes(), reads_of(path, list_attributes)


@pytest.fixture
def apart(monkeypatch, tmp_path):
    """A file searched as a large one, with small arrays far from their headers."""
    monkeypatch.setattr(chase, "LITTLE", 0)
    path = values_apart(tmp_path / "apart.h5")
    return path, path.read_bytes()


@pytest.fixture
async def slow(remote, nursery, store):
    """A fetcher over a network of one second."""
    fetch = remote.fetch

    async def delayed(blob, extent, sink):
        await trio.sleep(1)
        await fetch(blob, extent, sink)

    remote.fetch = delayed
    return Fetcher(nursery, store, remote, 16)


@pytest.fixture
def chasing(store, slow, nursery):
    """``chasing(blob)``: a reader with a pursuit; what is known is shared by all of them."""
    known: dict[str, list[Extent]] = {}

    def make(blob):
        return BlobReader(blob, store, slow, Pursuit(blob, store, slow, nursery, known))

    return make


def arrays_of(content):
    """Where the large arrays of a whole file in memory lie."""
    chase = Chase(len(content))
    chase.opening()
    asks = chase.learn(0, memoryview(content))
    assert not asks
    return chase.arrays


async def replay(reader, reads, content):
    """Seconds, so waits in a row, that the reads took."""
    began = trio.current_time()
    for read in reads:
        got = await reader.read(read.start, read.size)
        assert got == content[read.start : read.stop]
        await trio.lowlevel.checkpoint()  # The kernel's requests are tasks of their own.
    return round(trio.current_time() - began)


async def test_a_reader_that_follows_pointers_waits_a_few_times_only(
    autojump_clock, recording, chasing, slow, store, memory
):
    content, reads = recording
    plain = BlobReader(memory.put("plain", content), store, slow)
    alone = await replay(plain, reads, content)
    chased = await replay(chasing(memory.put("chased", content)), reads, content)
    assert chased <= 6
    assert alone >= 2 * chased


async def test_nothing_is_fetched_twice_and_no_more_than_the_budget(
    autojump_clock, recording, chasing, remote, memory
):
    content, reads = recording
    await replay(chasing(memory.put("f", content)), reads, content)
    extents = sorted(remote.fetched)
    assert all(a.stop <= b.start for a, b in itertools.pairwise(extents))


async def test_a_copy_from_front_to_back_is_left_alone(
    autojump_clock, recording, chasing, slow, memory
):
    content, _ = recording
    reader = chasing(memory.put("f", content))
    for start in range(0, len(content), BLOCK_SIZE):
        step = min(BLOCK_SIZE, len(content) - start)
        assert await reader.read(start, step) == content[start : start + step]
    assert slow.statistics().chased == 0


async def test_a_file_whose_metadata_are_known_is_not_chased_again(
    autojump_clock, recording, chasing, slow, memory
):
    content, reads = recording
    blob = memory.put("f", content)
    await replay(chasing(blob), reads, content)
    before = slow.statistics()
    assert await replay(chasing(blob), reads, content) == 0
    assert replace(slow.statistics(), hits=0) == replace(before, hits=0)


@pytest.mark.parametrize("content", [b"\x89HDF\r\n\x1a\n" + b"\xff" * 2**20, b"\0" * 2**20])
async def test_content_that_is_no_hdf5_is_read_all_the_same(
    autojump_clock, chasing, memory, content
):
    reader = chasing(memory.put("f", content))
    for start in (0, 700_000, 300_000, 900_000):
        assert await reader.read(start, 4096) == content[start : start + 4096]


async def test_a_pursuit_ends_with_its_file(autojump_clock, recording, chasing, slow, memory):
    content, reads = recording
    reader = chasing(memory.put("f", content))
    await replay(reader, reads[:3], content)
    await reader.read(len(content) // 2, 10)
    reader.close()
    await trio.sleep(5)
    asked = slow.statistics().chased
    await trio.sleep(50)
    assert slow.statistics().chased == asked
    assert slow.statistics().flying == slow.statistics().queued == 0


async def test_a_network_that_fails_costs_the_chase_and_no_log(
    autojump_clock, recording, chasing, remote, memory
):
    content, reads = recording
    reader = chasing(memory.put("f", content))
    await replay(reader, reads[:1], content)
    remote.failures.extend([(0, RemoteError("broken line"))] * 40)
    with pytest.raises(BlockUnavailable, match="broken line"):
        await reader.read(len(content) // 2, 10)
    await trio.sleep(10)
    remote.failures.clear()
    await replay(reader, reads, content)


async def test_what_an_open_wanted_is_fetched_at_once_when_it_was_evicted(
    autojump_clock, recording, chasing, store, memory
):
    content, reads = recording
    blob = memory.put("f", content)
    reader = chasing(blob)
    first = await replay(reader, reads, content)
    reader.close()
    store.file(blob).forget(range(block_count(blob.size)))
    again = await replay(chasing(blob), reads, content)
    assert again <= 3 < first


async def test_a_profile_from_elsewhere_names_no_block_that_is_not_there(
    autojump_clock, recording, chasing, store, memory
):
    content, reads = recording
    blob = memory.put("f", content)
    folder = store.folder.parent / "profiles" / blob.ident[:2]
    Kept(folder / blob.ident, list[int]).save([0, -5, 10**12, 3, 3])
    await replay(chasing(blob), reads, content)


async def test_reading_one_array_fetches_no_more_beyond_it_than_a_small_companion(
    autojump_clock, recording, chasing, remote, memory
):
    content, reads = recording
    blob = memory.put("f", content)
    await replay(chasing(blob), reads, content)
    reader = chasing(blob)
    await replay(reader, reads, content)
    array = max(arrays_of(content), key=lambda extent: extent.size)
    before = len(remote.fetched)
    for start in range(array.start, array.stop, 64 << 10):
        stop = min(start + (64 << 10), array.stop)
        assert await reader.read(start, stop - start) == content[start:stop]
    await trio.sleep(60)
    last = (array.stop + BESIDE + COMPANION) // BLOCK_SIZE
    assert all(covering(extent)[-1] <= last for extent in remote.fetched[before:])


async def test_a_look_at_the_first_bytes_costs_head_and_tail_and_no_more(
    autojump_clock, recording, chasing, remote, memory
):
    content, _ = recording
    reader = chasing(memory.put("f", content))
    assert await reader.read(0, 8) == content[:8]
    assert await reader.read(0, 512) == content[:512]
    await trio.sleep(60)
    reader.close()
    assert sum(extent.size for extent in remote.fetched) <= 6 * BLOCK_SIZE


async def test_who_rests_after_a_listing_waits_for_nothing_when_he_reads_values(
    autojump_clock, apart, chasing, slow, memory
):
    path, content = apart
    listing, values = reads_of(path, list_all), reads_of(path, list_values)
    reader = chasing(memory.put("f", content))
    assert await replay(reader, listing, content) > 1
    asked = slow.statistics().chased
    await reader.read(len(content) // 2, 4096)
    assert slow.statistics().chased == asked, "who waits for something does not rest"
    await trio.sleep(10)
    assert slow.statistics().chased > asked
    assert await replay(reader, values, content) == 0


async def test_who_closes_the_file_after_a_listing_has_no_values_fetched(
    autojump_clock, apart, chasing, slow, memory
):
    path, content = apart
    listing = reads_of(path, list_all)
    reader = chasing(memory.put("f", content))
    await replay(reader, listing, content)
    reader.close()
    asked = slow.statistics().chased
    await trio.sleep(10)
    assert slow.statistics().chased == asked


def arrays_by_name(file):
    found = []
    file.visititems(lambda _, item: found.append(item))
    return [item for item in found if hasattr(item, "shape")]


def read_all(file):
    for array in arrays_by_name(file):
        array[()]


def read_all_from_behind(file):
    for array in reversed(arrays_by_name(file)):
        array[()]


def as_the_kernel_does(reads, most=64 << 10):
    return [
        Extent(at, min(at + most, read.stop))
        for read in reads
        for at in range(read.start, read.stop, most)
    ]


@pytest.fixture
def by_name(monkeypatch, tmp_path):
    """A file searched as a large one, whose arrays do not lie in the order of their names."""
    monkeypatch.setattr(chase, "LITTLE", 0)
    return scattered(tmp_path / "scattered.h5", [40], size=LEAST_WHOLE * 2)


async def test_who_reads_one_array_after_the_other_by_name_waits_a_few_times_only(
    autojump_clock, by_name, chasing, memory
):
    content = by_name.read_bytes()
    waits = [
        await replay(chasing(memory.put(job.__name__, content)), reads, content)
        for job in (read_all, read_all_from_behind)
        for reads in [as_the_kernel_does(reads_of(by_name, job))]
    ]
    assert waits[0] <= 15 < 20 <= waits[1], "of who goes elsewhere it is not known where"


async def test_who_reads_arrays_by_name_has_no_more_fetched_than_he_read(
    autojump_clock, monkeypatch, tmp_path, chasing, remote, memory
):
    monkeypatch.setattr(chase, "LITTLE", 0)
    path = scattered(tmp_path / "scattered.h5", [60], size=1 << 20)
    content = path.read_bytes()
    reader = chasing(memory.put("f", content))
    reads = as_the_kernel_does(reads_of(path, read_all))
    some = reads[: len(reads) // 4]
    await replay(reader, some, content)
    await trio.sleep(60)
    read = {block for one in some for block in covering(one)}
    metadata = {b for one in reads if one.size < 2048 for b in covering(one)}
    fetched = {block for extent in remote.fetched for block in covering(extent)}
    assert len(read) * 3 // 2 < len(fetched - metadata) <= 2 * len(read)


async def test_who_reads_large_arrays_by_name_waits_for_none_of_the_small_ones(
    autojump_clock, monkeypatch, tmp_path, chasing, memory
):
    monkeypatch.setattr(chase, "LITTLE", 0)
    path = small_before_large(tmp_path / "f.h5")
    content = path.read_bytes()
    large = reads_of(path, lambda file: [array[()] for array in arrays_called(file, "large")])
    small = reads_of(path, lambda file: [array[()] for array in arrays_called(file, "small")])
    reader = chasing(memory.put("f", content))
    await replay(reader, as_the_kernel_does(large), content)
    await trio.sleep(5)
    assert await replay(reader, small, content) == 0


def arrays_called(file, name):
    return [group[name] for group in file.values() if name in group]


async def test_who_has_read_much_may_have_a_large_tree_of_chunks_at_once(
    autojump_clock, monkeypatch, tmp_path, chasing, memory
):
    monkeypatch.setattr(chase, "LITTLE", 0)
    monkeypatch.setattr(pursuit, "Chase", partial(Chase, budget=8 * BLOCK_SIZE))
    path = beside_chunks(tmp_path / "f.h5")
    content = path.read_bytes()
    walk = reads_of(path, list_all)
    for jobs, least, most in ([walk], 50, 60), ([reads_of(path, read_plain), walk], 1, 8):
        reader = chasing(memory.put(f"after {len(jobs)}", content))
        for reads in jobs:
            waits = await replay(reader, as_the_kernel_does(reads), content)
        assert least <= waits <= most


def read_plain(file):
    file["plain"][()]
