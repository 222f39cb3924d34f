"""Content that lies: it costs no more than the budget, a little work, a little memory; no error."""

import functools
import io
import random
import struct
import tracemalloc

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_hdf5 import NOWHERE, SIGNATURE, header
from vbofs.blocks.extents import BLOCK_SIZE, block_count, covering, span
from vbofs.blocks.hdf5 import Chase
from vbofs.blocks.hdf5.chase import STRUCTURES
from vbofs.blocks.hdf5.parsers import PARSERS, pointers_in
from vbofs.blocks.hdf5.pointer import LARGEST_STRUCTURE, Kind, Pointer
from vbofs.model import Extent

BUDGET = 5 * BLOCK_SIZE
MOST_CALLS = 2000  # Of learn(): each block of the default budget several times.
#: Those that are parsed; the others are only fetched.
KINDS = [kind for kind in Kind if kind in PARSERS]


def explore(content, order=(), size=None, budget=BUDGET):
    """Feed *content* to a chase: blocks as in *order*, then whatever is asked for, as it is asked.

    A block that lies beyond *content* is zero.  Checks what a chase promises on the way.
    """
    size = len(content) if size is None else size
    chase = Chase(size, budget=budget)
    opening = chase.opening()
    asked, covered = [], {block for extent in opening for block in covering(extent)}
    queue = [*order, *sorted(covered)]
    while queue:
        extent = span(range(queue[0], queue.pop(0) + 1), size)
        piece = bytes(content[extent.start : extent.stop])
        wanted = chase.learn(extent.start, memoryview(piece.ljust(extent.size, b"\0")))
        asked += wanted
        blocks = [block for ask in wanted for block in covering(ask)]
        covered.update(set(blocks).difference(order))
        queue += blocks
    for block in range(block_count(min(size, 64 * BLOCK_SIZE))):  # Every one is waited for.
        read = span(range(block, block + 1), size)
        for wanted in (chase.missed(read), chase.saw(Extent(read.start, read.start + 4096))):
            asked += wanted
            covered.update(block for ask in wanted for block in covering(ask))
    assert all(0 <= extent.start < extent.stop <= size for extent in asked)
    assert len(set(asked)) == len(asked)
    assert sum(extent.size for extent in [*opening, *asked]) <= budget
    assert sum(span(range(b, b + 1), size).size for b in covered) <= budget
    return chase


@functools.cache
def sample(libver):
    """Some blocks of the real thing, with everything that is followed in it."""
    file = io.BytesIO()
    with h5py.File(file, "w", libver=libver) as hdf5:
        hdf5["type"] = np.dtype([("a", "i4"), ("b", "f8")])
        hdf5.create_dataset("typed", (3,), dtype=hdf5["type"])
        for number in range(40):
            group = hdf5.create_group(f"group_{number}/inner")
            group.attrs["text"] = "some text"
            group["trace"] = np.zeros(2000)
            group["name"] = "a name"
            group["names"] = ["one", "two", "three"]
        for number in range(60):
            hdf5["group_1"].attrs[f"attribute_{number}"] = f"value {number}"
        chunked = hdf5.create_dataset(
            "chunked", (40, 40), "f8", chunks=(10, 10), compression="gzip"
        )
        chunked[:] = 1.0
        region = hdf5.create_dataset("region", (1,), dtype=h5py.regionref_dtype)
        region[0] = chunked.regionref[1:3]
    return file.getvalue()


@functools.cache
def marked(libver):
    """Where in the sample there is something."""
    return [at for at, byte in enumerate(sample(libver)) if byte]


libvers = st.sampled_from(["earliest", "latest"])


@given(st.binary(max_size=2000), st.integers(0, 4))
def test_bytes_at_random_are_harmless(content, version):
    explore(content)
    explore(SIGNATURE + bytes([version]) + content)


@given(libvers, st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=200))
def test_any_change_of_real_metadata_is_harmless(libver, changes):
    content = bytearray(sample(libver))
    places = marked(libver)
    for place, byte in changes:
        content[places[place % len(places)]] = byte
    explore(content)


@given(libvers, st.lists(st.tuples(st.integers(0), st.integers(0, 63)), max_size=50))
def test_any_flipped_bit_of_an_address_is_harmless(libver, changes):
    content = bytearray(sample(libver))
    places = marked(libver)
    for place, bit in changes:
        at = places[place % len(places)] // 8 * 8
        (word,) = struct.unpack_from("<Q", content.ljust(at + 8, b"\0"), at)
        content[at : at + 8] = struct.pack("<Q", word ^ 1 << bit)
    explore(content)


@given(libvers, st.floats(0, 1), st.integers(0, 1 << 41))
def test_a_file_that_is_cut_or_longer_than_it_says_is_harmless(libver, part, size):
    content = sample(libver)
    explore(content[: int(part * len(content))])
    explore(content, size=len(content) + size)


@given(libvers, st.data())
def test_the_order_in_which_blocks_come_does_not_matter(libver, data):
    content = sample(libver)
    order = data.draw(st.permutations(range(block_count(len(content)))))
    found = explore(content, budget=1 << 30).statistics().found
    assert found > 100
    chase = explore(content, order, budget=1 << 30)
    assert chase.finished
    assert chase.statistics().found == found


@given(st.sampled_from(KINDS), st.binary(max_size=300), st.integers(0, NOWHERE))
def test_no_parser_raises(kind, content, start):
    shape = {Kind.OCHK: True, Kind.CHUNKS: 3}.get(kind)
    if kind in (Kind.FHDB, Kind.FHIB, Kind.BTIN):
        return  # Reached through their headers, below.
    list(pointers_in(content, Pointer(start, start + len(content), kind, shape)))
    signed = kind.name.encode() + content
    list(pointers_in(signed, Pointer(start, start + len(signed), kind, shape)))


@given(st.binary(min_size=160, max_size=400), st.binary(max_size=2000))
def test_no_parser_of_what_is_below_a_header_raises(heading, content):
    for kind in (Kind.FRHP, Kind.BTHD):
        for below in pointers_in(kind.name.encode() + b"\0" + heading, Pointer(0, 400, kind)):
            for byte in (b"\0", b"\1"):
                list(pointers_in(below.kind.name.encode() + byte + content, below))


# --- content made to be expensive


def superblock(root, size):
    start = SIGNATURE + bytes([2, 8, 8, 0])
    return start + struct.pack("<QQQQI", 0, NOWHERE, size, root, 0)


def expensive(addresses, claimed):
    """A block that is one long list of continuations, each to a header of *claimed* bytes."""
    count = (BLOCK_SIZE // 2 - 2048) // 24
    bodies = [(0x10, struct.pack("<QQ", next(addresses), claimed)) for _ in range(count)]
    return (superblock(1024, 1 << 42).ljust(1024, b"\0") + header(*bodies)).ljust(BLOCK_SIZE, b"\0")


def everywhere():
    randomly = random.Random(1)
    while True:
        yield randomly.randrange(1 << 42)


def nearby():
    randomly = random.Random(1)
    while True:
        yield randomly.randrange(100 * BLOCK_SIZE) // 24 * 24


def here():
    yield from range(1040, 1 << 42, 24)


def feed_on(block):
    """A chase through a file in which every block is *block*, and how many calls that took."""
    chase = Chase(1 << 42)
    queue, calls = [0], 0
    while queue and calls < 2 * MOST_CALLS:
        calls += 1
        asked = chase.learn(queue.pop() * BLOCK_SIZE, block)
        queue += [number for extent in asked for number in covering(extent)]
    return chase, calls


@pytest.mark.parametrize("addresses", [everywhere, nearby, here])
@pytest.mark.parametrize("claimed", [24, 512, 60_000])
def test_a_million_children_cost_bounded_work(addresses, claimed):
    chase, calls = feed_on(memoryview(expensive(addresses(), claimed)))
    assert calls < MOST_CALLS
    assert chase.statistics().asked <= 16 << 20
    assert chase.statistics().found <= STRUCTURES
    assert chase._effort > -LARGEST_STRUCTURE


@pytest.mark.parametrize("addresses", [everywhere, nearby, here])
def test_a_million_children_cost_bounded_memory(addresses):
    block = memoryview(expensive(addresses(), 512))
    tracemalloc.start()
    chase, _ = feed_on(block)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert chase.statistics().found > 1000
    assert kept < 1.1 * (1 << 20)
    assert peak < 4 << 20


def test_a_finished_chase_and_a_stranger_of_a_block_leave_nothing_behind():
    chase = Chase(1 << 40)
    block = memoryview(bytes(BLOCK_SIZE))
    chase.learn(0, memoryview((superblock(1 << 39, 1 << 40)).ljust(BLOCK_SIZE, b"\0")))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(1, 20_000):
        chase.learn(number * BLOCK_SIZE, block)
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert not chase.finished
    assert kept < 128 << 10
