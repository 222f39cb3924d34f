"""A network that goes away: one asks for all, those who wait are told, and it is found again."""

from __future__ import annotations

import errno
import random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.conftest import contents
from vbofs.blocks.extents import BLOCK_SIZE
from vbofs.blocks.fetcher import Fetcher
from vbofs.errors import (
    BlockUnavailable,
    EndpointDown,
    NetworkUnreachable,
    Offline,
    RemoteError,
)
from vbofs.model import Extent
from vbofs.remote.network import FRESH, LONGEST_PAUSE, NEWS, Network
from vbofs.remote.protocol import Collected
from vbofs.remote.retrying import Retrying

SIZE = 1000
CONTENT = contents(SIZE)


class Cable:
    """A store behind a cable that a test pulls out; notes when somebody tried."""

    def __init__(self, store):
        self._store = store
        self.error = None
        self.tries = []
        self.slow = 0.0

    async def fetch(self, blob, extent, sink):
        self.tries.append(trio.current_time())
        await trio.sleep(self.slow)
        if self.error:
            raise self.error
        await self._store.fetch(blob, extent, sink)


@pytest.fixture
def cable(memory):
    random.seed(1)
    return Cable(memory)


@pytest.fixture
def blob(memory):
    return memory.put("key", CONTENT)


async def fetch(store, blob):
    sink = Collected(SIZE)
    await store.fetch(blob, Extent(0, SIZE), sink)
    return sink.getvalue()


@pytest.mark.parametrize("kind", [EndpointDown, NetworkUnreachable])
async def test_two_hundred_who_wait_make_a_few_attempts_a_second(kind, cable, blob, autojump_clock):
    retrying = Retrying(cable, 60)
    cable.error = kind("nobody there")
    with pytest.raises(kind):
        await fetch(retrying, blob)
    assert 120 < len(cable.tries) < 250
    cable.tries.clear()
    failed = []

    async def read():
        with pytest.raises(kind):
            await fetch(retrying, blob)
        failed.append(trio.current_time())

    before = trio.current_time()
    async with trio.open_nursery() as readers:
        for _ in range(200):
            readers.start_soon(read)
    assert max(failed) - before <= 2 * LONGEST_PAUSE
    assert len(cable.tries) <= 3


async def test_those_who_began_before_it_went_wait_as_long_as_there_is_hope(
    cable, blob, autojump_clock
):
    retrying = Retrying(cable, 60)
    cable.error = EndpointDown("nobody there")
    answers = []

    async def read(after):
        await trio.sleep(after)
        answers.append(await fetch(retrying, blob))

    async with trio.open_nursery() as readers:
        for nth in range(50):
            readers.start_soon(read, nth)
        await trio.sleep(55)
        assert not answers
        assert len(cable.tries) < 250
        cable.error = None
        await trio.sleep(LONGEST_PAUSE + 0.01)
        assert answers == [CONTENT] * 50


async def test_a_network_that_is_back_is_found_by_the_first_who_asks(cable, blob, autojump_clock):
    retrying = Retrying(cable, 5)
    cable.error = NetworkUnreachable("no route")
    for _ in range(3):
        with pytest.raises(NetworkUnreachable, match="no route"):
            await fetch(retrying, blob)
    assert retrying.network.is_lost
    assert retrying.network.away_since
    cable.error = None
    before = trio.current_time()
    with pytest.raises(NetworkUnreachable):  # It has just been found out: that is news.
        await fetch(retrying, blob)
    assert trio.current_time() == before
    await trio.sleep(FRESH)
    assert await fetch(retrying, blob) == CONTENT
    assert trio.current_time() - before <= LONGEST_PAUSE
    assert not retrying.network.is_lost
    assert retrying.network.away_since is None
    assert await fetch(retrying, blob) == CONTENT


async def test_nobody_waits_long_for_an_attempt_that_hangs(cable, blob, autojump_clock):
    retrying = Retrying(cable, 5)
    cable.error = EndpointDown("nobody there")
    with pytest.raises(EndpointDown):
        await fetch(retrying, blob)
    await trio.sleep(LONGEST_PAUSE)
    cable.slow = 100.0
    async with trio.open_nursery() as readers:
        readers.start_soon(fetch, retrying, blob)
        await wait_all_tasks_blocked()
        before = trio.current_time()
        with pytest.raises(EndpointDown):
            await fetch(retrying, blob)
        assert trio.current_time() - before <= NEWS + 0.2
        readers.cancel_scope.cancel()
    cable.error, cable.slow = None, 0.0
    await trio.sleep(1)
    assert await fetch(retrying, blob) == CONTENT  # Whoever hung was let go, and holds up nobody.


async def test_an_answer_that_nobody_likes_is_an_answer(cable, blob, autojump_clock):
    retrying = Retrying(cable, 2)
    cable.error = EndpointDown("nobody there")
    with pytest.raises(EndpointDown):
        await fetch(retrying, blob)
    await trio.sleep(1)
    cable.error = RemoteError("503")
    with pytest.raises(RemoteError, match="503"):
        await fetch(retrying, blob)
    assert retrying.network.away_since is None


async def test_two_stores_share_what_they_know(cable, blob, autojump_clock):
    network = Network(5)
    one, two = Retrying(cable, 5, network), Retrying(cable, 3, network)
    cable.error = EndpointDown("nobody there")
    with pytest.raises(EndpointDown):
        await fetch(one, blob)
    cable.tries.clear()
    before = trio.current_time()
    with pytest.raises(EndpointDown):
        await fetch(two, blob)
    assert trio.current_time() - before <= LONGEST_PAUSE
    assert len(cable.tries) <= 1


async def test_readers_in_an_outage_are_told_one_after_the_other_and_all_soon(
    cable, store, nursery, put, autojump_clock
):
    """Two hundred readers, and connections for thirty-two of them."""
    fetcher = Fetcher(nursery, store, Retrying(cable, 60), 32)
    blob, content = put(200 * BLOCK_SIZE)
    cable.error = NetworkUnreachable("no route")
    failed = []

    async def read(block):
        with pytest.raises(BlockUnavailable) as caught:
            await fetcher.have(blob, range(block, block + 1))
        assert caught.value.errno == errno.ENETUNREACH
        failed.append(trio.current_time())

    async with trio.open_nursery() as readers:
        for block in range(0, 400, 2):
            readers.start_soon(read, block % 200)
    assert max(failed) <= 60 + 10
    assert len(cable.tries) < 32 + 60 / (LONGEST_PAUSE / 2) + 20
    cable.error = None
    await trio.sleep(1)
    assert (await fetcher.have(blob, range(1)))[0] == content[:BLOCK_SIZE]
    await wait_all_tasks_blocked()


def test_who_cannot_be_reached_says_so_to_programs():
    for kind in (EndpointDown, NetworkUnreachable, Offline):
        assert kind.errno == errno.ENETUNREACH


class Patient(Collected):
    """A sink that another process may fill, and one that would not be waited for."""

    def is_patient(self):
        return True

    def place(self, extent):
        raise NotImplementedError

    elsewhere = kept = refused = place


async def test_who_finds_out_whether_the_network_is_back_asks_by_himself(
    cable, blob, autojump_clock
):
    """The process for transfers may stand still, and all would wait till it is given up."""
    patient = []

    async def fetched(blob, extent, sink, fetch=cable.fetch):
        patient.append(sink.is_patient())
        await fetch(blob, extent, sink)

    cable.fetch = fetched
    retrying = Retrying(cable, 2)
    await retrying.fetch(blob, Extent(0, SIZE), Patient(SIZE))
    assert patient == [True]
    cable.error = EndpointDown("nobody there")
    with pytest.raises(EndpointDown):
        await retrying.fetch(blob, Extent(0, SIZE), Patient(SIZE))
    assert patient[1]
    assert patient[2:]
    assert not any(patient[2:])
    cable.error = None
    await trio.sleep(LONGEST_PAUSE)
    patient.clear()
    for _ in range(2):
        await retrying.fetch(blob, Extent(0, SIZE), Patient(SIZE))
    assert patient == [False, True]
