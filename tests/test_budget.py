"""Memory lent to those who wait: never more than there is, in the order of asking."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from vbofs.blocks.budget import (
    PER_FILE,
    PER_FLIGHT,
    RESIDENT,
    TRANSFERS,
    WITH_TRANSFERS,
    Budget,
    Shares,
    allows_transfers,
)
from vbofs.blocks.extents import BLOCK_SIZE
from vbofs.blocks.fetcher import MOST_CHASES, Fetcher
from vbofs.blocks.flights import Priority
from vbofs.blocks.store import open_store
from vbofs.config import LEAST_MEMORY

MB = 1_000_000


@pytest.mark.parametrize("memory", [LEAST_MEMORY, WITH_TRANSFERS, 256 * MB, 4000 * MB])
def test_the_shares_are_less_than_the_whole(memory):
    shares = Shares.of(memory)
    ours = shares.reads + shares.chases + shares.ahead * PER_FLIGHT + shares.files * PER_FILE
    others = RESIDENT + (TRANSFERS if allows_transfers(memory) else 0)
    assert ours <= memory - others
    assert shares.reads >= 2 * 9 * BLOCK_SIZE  # The largest read of all.
    assert shares.files >= 200


async def test_what_is_free_is_lent_at_once():
    budget = Budget(100)
    with trio.CancelScope() as scope:
        scope.cancel()  # Whoever waits in here is thrown out.
        async with budget.lent(60), budget.lent(40):
            assert repr(budget) == "<Budget 100 of 100, 0 waiting>"
    assert repr(budget) == "<Budget 0 of 100, 0 waiting>"


async def test_the_order_is_that_of_asking_and_the_sum_never_more_than_there_is(autojump_clock):
    budget, order, lent = Budget(100), [], 0

    async def borrow(nth, size):
        nonlocal lent
        async with budget.lent(size):
            order.append(nth)
            lent += min(size, 100)
            assert lent <= 100
            await trio.sleep(1)
            lent -= min(size, 100)

    async with trio.open_nursery() as readers:
        for nth, size in enumerate((60, 70, 51, 1000, 99, 100, 80)):
            readers.start_soon(borrow, nth, size)
            await wait_all_tasks_blocked()
    assert order == list(range(7))
    assert repr(budget) == "<Budget 0 of 100, 0 waiting>"


async def test_whoever_goes_away_while_he_waits_takes_nothing_along(autojump_clock):
    budget = Budget(100)
    async with trio.open_nursery() as readers:
        async with budget.lent(100):
            scopes = [trio.CancelScope() for _ in range(3)]
            for scope in scopes:

                async def wait(scope=scope):
                    with scope:
                        async with budget.lent(70):
                            await trio.sleep(1)

                readers.start_soon(wait)
                await wait_all_tasks_blocked()
            scopes[0].cancel()
            await wait_all_tasks_blocked()
            assert budget.waiting == 2
        scopes[1].cancel()  # It has been given its share in this very moment.
    assert repr(budget) == "<Budget 0 of 100, 0 waiting>"


# --- the fetcher keeps to it


@pytest.fixture
async def frugal(nursery, store, remote):
    """A fetcher with memory for one read of four blocks, and for eight blocks ahead."""
    shares = Shares(8 * BLOCK_SIZE, 4 * BLOCK_SIZE, 8, 10, 0)
    return Fetcher(nursery, store, remote, 4, shares)


async def test_reads_beyond_the_memory_wait_before_they_ask_for_anything(frugal, remote, put):
    blobs = [put(4 * BLOCK_SIZE, f"file{n}") for n in range(5)]
    remote.hold()
    async with trio.open_nursery() as readers:
        for blob, _ in blobs:
            readers.start_soon(frugal.have, blob, range(4))
        await wait_all_tasks_blocked()
        assert len(remote.fetched) == 1
        assert frugal.under_way == 4
        remote.let_go()
    assert len(remote.fetched) == 5
    for blob, content in blobs:
        assert b"".join((await frugal.have(blob, range(4))).values()) in (b"", content)


async def test_a_read_larger_than_the_memory_is_answered_all_the_same(frugal, put):
    blob, content = put(40 * BLOCK_SIZE)
    loose = await frugal.have(blob, range(40))
    assert b"".join(loose.values()) == content


async def test_guesses_do_not_take_the_memory_of_reads(frugal, remote, put):
    blob, _ = put(8 * BLOCK_SIZE)
    other, _ = put(4 * BLOCK_SIZE, "other")
    remote.hold()
    async with trio.open_nursery() as tasks:
        for start in (0, 4):
            blocks = range(start, start + 4)
            tasks.start_soon(lambda b=blocks: frugal.have(blob, b, priority=Priority.CHASE))
        tasks.start_soon(frugal.have, other, range(4))
        await wait_all_tasks_blocked()
        assert len(remote.fetched) == 2  # One guess, and the read.
        remote.let_go()


async def test_guesses_that_wait_in_hundreds_are_no_longer_made(frugal, remote, put, nursery):
    blob, _ = put(4 * BLOCK_SIZE)
    remote.hold()
    assert frugal.may_chase
    for _ in range(MOST_CHASES + 1):
        nursery.start_soon(lambda: frugal.have(blob, range(4), priority=Priority.CHASE))
    await wait_all_tasks_blocked()
    assert not frugal.may_chase
    remote.let_go()
    await wait_all_tasks_blocked()
    assert frugal.may_chase


async def test_what_all_readers_together_want_ahead_has_a_limit(frugal, remote, put):
    blobs = [put(64 * BLOCK_SIZE, f"file{n}")[0] for n in range(10)]
    remote.hold()
    for blob in blobs:
        frugal.want(blob, range(64))
    assert frugal.under_way == 8
    remote.let_go()
    await wait_all_tasks_blocked()
    frugal.want(blobs[-1], range(64))
    assert frugal.under_way == 8
    await wait_all_tasks_blocked()


async def test_no_more_is_fetched_ahead_than_a_small_cache_can_hold(tmp_path, nursery, remote, put):
    store = open_store(tmp_path / "small", 16 * BLOCK_SIZE)
    fetcher = Fetcher(nursery, store, remote, 4)
    blob, _ = put(64 * BLOCK_SIZE)
    fetcher.want(blob, range(64))
    assert fetcher.under_way == 4
    await wait_all_tasks_blocked()
