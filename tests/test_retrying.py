"""Asking again: from where the bytes stopped, as long as it may help, and no longer."""

from __future__ import annotations

import errno
import itertools
import random

import pytest
import trio

from tests.conftest import contents
from vbofs import errors
from vbofs.errors import RemoteError, WrongResponse
from vbofs.model import Extent
from vbofs.remote.protocol import Collected
from vbofs.remote.retrying import LONGEST_WAIT, Retrying

SIZE = 1000
CONTENT = contents(SIZE)
PERMANENT = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, RemoteError) and not kind.retryable
]


@pytest.fixture
def blob(memory):
    return memory.put("key", CONTENT)


@pytest.fixture
def retrying(remote):
    return Retrying(remote, 60)


async def fetch(store, blob, start=0, stop=SIZE):
    sink = Collected(stop - start)
    await store.fetch(blob, Extent(start, stop), sink)
    return sink.getvalue()


async def test_the_next_attempt_begins_where_the_bytes_stopped(
    retrying, remote, blob, autojump_clock
):
    remote.failures.extend([(300, RemoteError("one")), (0, RemoteError("two"))])
    remote.failures.append((699, WrongResponse("three")))
    assert await fetch(retrying, blob) == CONTENT
    assert remote.fetched == [(0, SIZE), (300, SIZE), (300, SIZE), (999, SIZE)]
    assert retrying.retries == 3


async def test_a_failure_after_the_last_byte_is_none(retrying, remote, blob, autojump_clock):
    remote.failures.append((SIZE, RemoteError("too late")))
    assert await fetch(retrying, blob) == CONTENT
    assert remote.fetched == [(0, SIZE)]


async def test_an_extent_keeps_its_place(retrying, remote, blob, autojump_clock):
    remote.failures.append((50, RemoteError("one")))
    assert await fetch(retrying, blob, 100, 300) == CONTENT[100:300]
    assert remote.fetched == [(100, 300), (150, 300)]


@pytest.mark.parametrize("kind", PERMANENT)
async def test_what_is_wrong_for_good_is_asked_once(kind, retrying, remote, blob, autojump_clock):
    remote.failures.extend([(0, kind("for good"))] * 2)
    with pytest.raises(kind, match="for good"):
        await fetch(retrying, blob)
    assert len(remote.fetched) == 1
    assert trio.current_time() == autojump_clock.current_time()


async def test_a_bug_is_not_asked_twice(retrying, remote, blob, autojump_clock):
    remote.failures.extend([(0, KeyError("bug"))] * 2)
    with pytest.raises(KeyError):
        await fetch(retrying, blob)
    assert len(remote.fetched) == 1


@pytest.mark.parametrize("timeout", [0.5, 10, 60])
async def test_the_deadline_is_kept_and_the_last_error_is_the_one(
    timeout, remote, blob, autojump_clock
):
    remote.failures.extend((0, RemoteError(f"attempt {n}")) for n in range(1, 1000))
    start = trio.current_time()
    with pytest.raises(RemoteError) as caught:
        await fetch(Retrying(remote, timeout), blob)
    assert trio.current_time() - start < timeout
    assert str(caught.value) == f"attempt {len(remote.fetched)}"
    assert len(remote.fetched) > 1


async def test_an_answer_that_breaks_off_late_is_tried_again_for_as_long_as_any(
    remote, blob, autojump_clock
):
    remote.hold(at=500)
    begun = trio.current_time()

    async def break_off():
        await trio.sleep(100)
        remote.failures.extend((0, RemoteError("again")) for _ in range(1000))
        remote.store.fetch = broken
        remote.let_go()

    async def broken(*what):
        raise RemoteError("broken off")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(break_off)
        with pytest.raises(RemoteError, match="again"):
            await fetch(Retrying(remote, 60), blob)
    assert 150 < trio.current_time() - begun < 160


async def test_a_clock_that_jitter_cannot_stretch(remote, blob, autojump_clock):
    """No wait is longer than the longest, and there are enough attempts for the time there is."""
    remote.failures.extend((0, RemoteError("again")) for _ in range(1000))
    times = []
    pour = remote.fetch

    async def watched(*what):
        times.append(trio.current_time())
        await pour(*what)

    remote.fetch = watched
    with pytest.raises(RemoteError):
        await fetch(Retrying(remote, 600), blob)
    waits = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert max(waits) <= LONGEST_WAIT
    assert max(waits[:3]) <= 1
    assert 60 < len(waits) < 400


async def test_clients_that_failed_together_do_not_come_back_together(memory, blob, autojump_clock):
    random.seed(1)
    times = []

    async def client():
        failed = False

        class Once:
            async def fetch(self, blob, extent, sink):
                nonlocal failed
                if not failed:
                    failed = True
                    raise RemoteError("once")
                times.append(trio.current_time())
                await memory.fetch(blob, extent, sink)

        await fetch(Retrying(Once(), 60), blob)

    async with trio.open_nursery() as clients:
        for _ in range(20):
            clients.start_soon(client)
    assert len(set(times)) > 15


async def test_listings_and_heads_are_tried_again_too(retrying, remote, blob, autojump_clock):
    remote.page_errors.append(RemoteError("one"))
    remote.head_errors.append(RemoteError("two"))
    page = await retrying.page("key")
    assert [listed.version for listed in page.listed] == [blob.version]
    assert (await retrying.head(blob.version)).facts.size == SIZE
    assert retrying.retries == 2


async def test_cancelling_ends_the_waiting_at_once(remote, blob, autojump_clock):
    remote.failures.extend((0, RemoteError("again")) for _ in range(1000))
    with trio.move_on_after(30) as scope:
        await fetch(Retrying(remote, 1e9), blob)
    assert scope.cancelled_caught


def test_the_error_of_a_denied_bucket_is_the_errno_of_one():
    assert errors.AccessDenied.errno == errno.EACCES
