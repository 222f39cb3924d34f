"""What the daemon has freed is the system's again: while somebody reads, and when nobody does."""

from __future__ import annotations

import json
import queue
import subprocess
import sys

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from vbofs.daemon import heaps

#: Half of all blocks is freed, between others that are not.
FREES = """
import json
from vbofs.daemon import heaps

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

heaps.share()
blocks = [bytes(64 << 10) for _ in range(1600)]
del blocks[::2]
before = heaps.free_bytes(), resident()
heaps.give_back()
print(json.dumps([*before, resident()]))
"""
FREED = 50_000_000


def test_what_is_freed_between_what_is_used_goes_back_to_the_system():
    said = subprocess.run([sys.executable, "-c", FREES], check=True, capture_output=True)
    free, before, after = json.loads(said.stdout)
    assert free > FREED
    assert before - after > FREED / 2  # What is left are ends of pages.


@pytest.fixture
def given(monkeypatch):
    """Has an item for each time that memory is given back by a process in which 100 bytes lie
    free; that is done by threads, for which a clock that jumps does not wait."""
    times = queue.SimpleQueue()
    monkeypatch.setattr(heaps, "free_bytes", lambda: 100)
    monkeypatch.setattr(heaps, "give_back", lambda: times.put(True))
    return times


async def once(given):
    """Wait until memory is given back; queue.Empty if it is not."""
    assert await trio.to_thread.run_sync(given.get, True, 10)


async def read_for(seconds, fetcher):
    for _ in range(seconds * 2):
        fetcher.note_read()
        await trio.sleep(0.5)


async def test_while_somebody_reads_too_much_is_given_back_each_second(
    fetcher, nursery, given, autojump_clock
):
    begun = trio.current_time()
    nursery.start_soon(heaps.tend, fetcher, 99)
    nursery.start_soon(read_for, 1_000_000, fetcher)
    for _ in range(10):
        await once(given)
    assert trio.current_time() - begun >= 9 * heaps.PAUSE
    nursery.cancel_scope.cancel()


async def test_what_is_not_too_much_is_given_back_when_nobody_reads_any_more(
    fetcher, nursery, given, autojump_clock
):
    nursery.start_soon(heaps.tend, fetcher, 100)
    await read_for(20, fetcher)
    assert given.empty()
    await once(given)


async def test_what_a_prefetch_leaves_is_given_back_too(
    fetcher, put, nursery, given, autojump_clock
):
    blob, _ = put(100)
    nursery.start_soon(heaps.tend, fetcher, 100)
    await fetcher.bring(blob, range(1))
    await once(given)


async def test_an_idle_daemon_does_not_wake_for_it(fetcher, nursery, given, autojump_clock):
    nursery.start_soon(heaps.tend, fetcher, 100)
    fetcher.note_read()
    await once(given)
    await wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().seconds_to_next_deadline == float("inf")
    await trio.sleep(1000)
    assert given.empty()


async def test_a_bug_in_it_is_no_end_of_the_mount(
    fetcher, nursery, given, monkeypatch, expects_log, autojump_clock
):
    monkeypatch.setattr(heaps, "free_bytes", lambda: 1 // 0)
    nursery.start_soon(heaps.tend, fetcher, 0)
    expects_log("a bug; the daemon will take more memory")
    await read_for(2, fetcher)
