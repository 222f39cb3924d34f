"""A slow read says why, and the attempts at the remote are counted by their outcome."""

from __future__ import annotations

import logging

import pytest
import trio

from tests.conftest import PROJECT
from vbofs.blocks.extents import BLOCK_SIZE
from vbofs.blocks.fetcher import Fetcher
from vbofs.errors import AccessDenied, BlockUnavailable, EndpointDown, RemoteError
from vbofs.remote.outcomes import Outcomes
from vbofs.remote.retrying import Retrying
from vbofs.remote.waits import Waits, begin, current, waiting_for


class Slow:
    """A remote that takes *seconds* for each fetch, after *failures*."""

    def __init__(self, store, seconds, failures=()):
        self._store, self._seconds, self._failures = store, seconds, list(failures)

    async def fetch(self, blob, extent, sink):
        with waiting_for("connection"):
            pass
        await trio.sleep(self._seconds)
        if self._failures:
            raise self._failures.pop(0)
        await self._store.fetch(blob, extent, sink)

    def distrust(self, version):
        self._store.distrust(version)


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO, "vbofs.blocks.slow")
    return lambda: [r.getMessage() for r in caplog.records if r.name == "vbofs.blocks.slow"]


@pytest.fixture
async def fetch(nursery, store, memory, put):
    """``await fetch(remote, …)``: read a block through it."""

    async def through(seconds, failures=(), timeout=60.0):
        blob, _ = put(200_000)
        remote = Retrying(Slow(memory, seconds, failures), timeout)
        return await Fetcher(nursery, store, remote, 2).have(blob, range(1))

    return through


async def test_a_slow_read_names_file_range_and_time(autojump_clock, fetch, said):
    await fetch(7.0)
    (line,) = said()
    assert line.startswith(
        f"slow read of {PROJECT}/file bytes 0-{BLOCK_SIZE}: 7.0 s; its request: "
    )


async def test_a_read_that_is_not_slow_says_nothing(autojump_clock, fetch, said):
    await fetch(4.9)
    assert said() == []


async def test_a_read_that_waited_for_attempts_says_how_many_and_for_which_error(
    autojump_clock, fetch, said
):
    await fetch(3.0, [EndpointDown("nobody there"), EndpointDown("nobody there")])
    (line,) = said()
    assert "3 attempts: nobody there" in line


async def test_a_slow_read_that_fails_says_so_too(autojump_clock, fetch, said):
    with pytest.raises(BlockUnavailable):
        await fetch(6.0, [AccessDenied("no")])
    assert len(said()) == 1


async def test_a_read_that_waited_in_the_queue_says_so(
    nursery, store, memory, put, said, autojump_clock
):
    blob, _ = put(4 * BLOCK_SIZE)
    fetcher = Fetcher(nursery, store, Slow(memory, 4.0), 1)
    async with trio.open_nursery() as readers:
        for block in range(3):
            readers.start_soon(fetcher.have, blob, range(block, block + 1))
            await trio.sleep(0.001)
    assert "4.0 s in the queue" in said()[0]
    assert "8.0 s in the queue" in said()[1]


# --- the note


def test_a_note_says_what_took_time_and_leaves_out_the_rest():
    waits = Waits(queue=0.01, connection=1.0, server=2.04, attempts=2, error="503")
    assert str(waits) == "1.0 s for a connection, 2.0 s for the server's answer, 2 attempts: 503"
    assert str(Waits(attempts=1)) == "the bytes came slowly"


def test_what_it_waits_for_at_the_moment_counts():
    waits = Waits()
    begin(waits)
    waits.server = 1.0
    with waiting_for("server"):
        waits.doing = "server", waits.doing[1] - 2.0
        assert str(waits) == "3.0 s for the server's answer"
    assert round(waits.server) == 3
    assert waits.doing is None
    assert round(waits.total()) == 3


async def test_the_note_is_each_tasks_own_and_goes_with_it_into_a_thread():
    async def one(waits):
        begin(waits)

        def work():
            current().attempts += 1
            with waiting_for("server"):
                pass

        await trio.to_thread.run_sync(work)

    notes = [Waits(), Waits()]
    async with trio.open_nursery() as nursery:
        for waits in notes:
            nursery.start_soon(one, waits)
    assert [waits.attempts for waits in notes] == [1, 1]
    assert all(waits.server > 0 for waits in notes)
    assert current() not in notes


# --- outcomes


def test_outcomes_count_errors_by_kind_and_latency_by_operation():
    outcomes = Outcomes()
    outcomes.note("GET", 0.02)
    outcomes.note("GET", 0.02, RemoteError("503"))
    outcomes.note("LIST", 0.02, AccessDenied("no"))
    statistics = outcomes.statistics()
    assert statistics.errors == {"RemoteError": 1, "AccessDenied": 1}
    assert sum(statistics.latency["GET"].counts) == 2
    assert sum(statistics.latency["LIST"].counts) == 1
    assert statistics.succeeded_at > 0


def test_the_remote_is_failing_from_the_first_failure_that_may_pass_to_the_next_success():
    outcomes = Outcomes()
    outcomes.note("GET", 1.0, AccessDenied("no"))
    assert outcomes.statistics().failing_since == 0
    outcomes.note("GET", 1.0, EndpointDown("first"))
    since = outcomes.statistics().failing_since
    outcomes.note("GET", 1.0, EndpointDown("second"))
    assert since > 0
    assert outcomes.statistics().failing_since == since
    assert outcomes.statistics().failing == "second"
    outcomes.note("GET", 1.0)
    assert outcomes.statistics().failing_since == 0
    assert outcomes.statistics().failing == ""
