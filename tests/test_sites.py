"""A site's caches: who is asked, what happens when they fail, and what is never asked of them."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
import trio.testing

from tests.conftest import contents
from tests.model.remote import ScriptedStore
from vbofs.errors import (
    AccessDenied,
    EndpointDown,
    ObjectMissing,
    RemoteError,
    SettingsInvalid,
    WrongResponse,
)
from vbofs.model import Blob, Extent
from vbofs.remote.breaker import FIRST_WAIT, LONGEST_WAIT, Breaker
from vbofs.remote.protocol import Collected
from vbofs.remote.retrying import Retrying
from vbofs.remote.sites import MOST_TRIES, QUARANTINE, STRIPE, SiteCache, SiteCaches
from vbofs.remote.sites import open_site_caches as open_caches

SIZE = 1000
CONTENT = contents(SIZE)
WHOLE = Extent(0, SIZE)
BY = "is passed by for a while"


class Near(ScriptedStore):
    """A cache that has everything, as one that asks the origin does."""

    def close(self):
        self.closed = True


@pytest.fixture
def blob(memory):
    return memory.put("key", CONTENT)


@pytest.fixture
def make(memory, remote):
    """``make([["a", "b"], ["c"]])``: groups of caches of these names before the origin."""

    def build(groups):
        return SiteCaches(
            remote, [[SiteCache(f"http://{name}", Near(memory)) for name in g] for g in groups]
        )

    return build


@pytest.fixture
def sites(make):
    return make([["a", "b"], ["c"]])


@pytest.fixture
async def attended(sites, nursery):
    nursery.start_soon(sites.attend)
    return sites


def caches(sites):
    return list(sites._caches())


def ranked(sites, blob, extent=WHOLE):
    """All caches, in the order in which they are asked for *extent*."""
    return list(sites._candidates(blob, extent))


async def fetch(store, blob, start=0, stop=SIZE):
    sink = Collected(stop - start)
    await store.fetch(blob, Extent(start, stop), sink)
    return sink.getvalue()


async def test_the_first_cache_gives_everything(sites, remote, blob):
    first, *others = ranked(sites, blob)
    assert await fetch(sites, blob) == CONTENT
    assert first.store.fetched == [(0, SIZE)]
    assert not any(cache.store.fetched for cache in others)
    assert remote.fetched == []


async def test_groups_are_tried_in_order_and_members_of_one_share_the_load(make, memory):
    sites = make([["a", "b", "c", "d"], ["spare"]])
    firsts = Counter()
    for number in range(400):
        blob = memory.put(f"key {number}", CONTENT)
        order = [cache.url for cache in ranked(sites, blob)]
        assert order[-1] == "http://spare"
        firsts[order[0]] += 1
    assert set(firsts) == {"http://a", "http://b", "http://c", "http://d"}
    assert min(firsts.values()) > 60


async def test_parts_of_one_blob_are_spread_and_a_part_stays_where_it_is(sites, blob):
    def first(start):
        return ranked(sites, blob, Extent(start, start + 1))[0]

    assert len({first(part * STRIPE) for part in range(20)}) == 2
    assert all(first(part * STRIPE) is first((part + 1) * STRIPE - 1) for part in range(20))


async def test_every_node_and_every_order_of_writing_makes_the_same_choice(make, blob):
    one, other = make([["a", "b", "c"]]), make([["c", "a", "b"]])
    for part in range(50):
        extent = Extent(part * STRIPE, part * STRIPE + 1)
        urls = [[cache.url for cache in ranked(sites, blob, extent)] for sites in (one, other)]
        assert urls[0] == urls[1]


async def test_a_cache_that_is_away_moves_its_own_parts_and_no_others(make, blob):
    sites = make([["a", "b", "c"]])
    extents = [Extent(part * STRIPE, part * STRIPE + 1) for part in range(100)]
    before = [ranked(sites, blob, extent)[0] for extent in extents]
    away = caches(sites)[0]
    away.breaker.trip(60)
    after = [ranked(sites, blob, extent)[0] for extent in extents]
    moved = {cache for cache, now in zip(before, after, strict=True) if cache is not now}
    assert moved == {away}


async def test_what_a_cache_began_is_ended_by_the_next_and_then_by_the_origin(
    sites, remote, blob, expects_log
):
    first, second, third = ranked(sites, blob)
    first.store.failures.append((300, RemoteError("one")))
    second.store.failures.append((300, RemoteError("two")))
    expects_log(BY, times=2)
    assert await fetch(sites, blob) == CONTENT
    assert first.store.fetched == [(0, SIZE)]
    assert second.store.fetched == [(300, SIZE)]
    assert third.store.fetched == []  # A reader waits: two tries are enough.
    assert remote.fetched == [(600, SIZE)]
    assert MOST_TRIES == 2


@pytest.mark.parametrize(
    "error", [RemoteError, WrongResponse, ObjectMissing, AccessDenied, EndpointDown]
)
async def test_whatever_a_cache_answers_the_origin_is_the_judge(
    error, sites, remote, blob, expects_log
):
    first, second, third = ranked(sites, blob)
    for cache in (first, second):
        cache.store.failures.append((0, error("no")))
    expects_log(f"the site cache {first.url} {BY}: no", times=1)
    expects_log(f"the site cache {second.url} {BY}: no", times=1)
    assert await fetch(sites, blob) == CONTENT
    assert [cache.statistics().failed for cache in (first, second, third)] == [1, 1, 0]
    assert [cache.statistics().away for cache in (first, second, third)] == [True, True, False]
    assert await fetch(sites, blob) == CONTENT
    assert third.store.fetched == [(0, SIZE)]
    assert len(remote.fetched) == 1


async def test_no_cache_is_blamed_for_what_the_origin_cannot_do_either(sites, remote, blob):
    first, second, _ = ranked(sites, blob)
    for cache in (first, second):
        cache.store.failures.append((0, RemoteError("504")))
    remote.failures.append((0, ObjectMissing("gone")))
    with pytest.raises(ObjectMissing, match="gone"):
        await fetch(sites, blob)
    assert not any(cache.statistics().away for cache in caches(sites))


async def test_a_failure_after_the_last_byte_is_none(sites, remote, blob, expects_log):
    ranked(sites, blob)[0].store.failures.append((SIZE, RemoteError("too late")))
    expects_log(BY)
    assert await fetch(sites, blob) == CONTENT
    assert remote.fetched == []


async def test_readers_see_no_error_when_all_caches_are_down(
    attended, remote, blob, autojump_clock, allows_log
):
    allows_log(BY)
    for cache in caches(attended):
        cache.store.failures.extend([(0, EndpointDown("refused"))] * 99)
    retrying = Retrying(attended, 60)
    for _ in range(50):
        assert await fetch(retrying, blob) == CONTENT
        await trio.sleep(1)
    assert retrying.retries == 0
    assert len(remote.fetched) == 50
    # Looked at now and then, seldomer and seldomer.
    assert all(3 <= len(cache.store.fetched) <= 12 for cache in caches(attended)[:2])


async def test_a_cache_that_is_back_is_asked_again(
    attended, remote, blob, autojump_clock, expects_log
):
    first, *others = ranked(attended, blob)
    for cache in others:
        cache.breaker.trip(1e9)
    first.store.failures.extend([(0, EndpointDown("refused"))] * 2)
    expects_log(f"{first.url} {BY}", times=1)
    for _ in range(12):
        assert await fetch(attended, blob) == CONTENT
        await trio.sleep(1)
    assert not first.statistics().away
    asked = len(remote.fetched)
    assert 2 <= asked <= 8
    assert await fetch(attended, blob) == CONTENT
    assert len(remote.fetched) == asked


async def test_no_reader_waits_for_a_cache_that_may_be_back(
    attended, remote, blob, autojump_clock, expects_log
):
    first, *others = ranked(attended, blob)
    for cache in others:
        cache.breaker.trip(1e9)
    first.store.failures.append((0, EndpointDown("refused")))
    expects_log(BY)
    await fetch(attended, blob)
    await trio.sleep(FIRST_WAIT)
    first.store.hold()  # It accepts, and says nothing.
    with trio.fail_after(0.1):
        for _ in range(3):
            assert await fetch(attended, blob) == CONTENT
    await trio.testing.wait_all_tasks_blocked()
    assert first.store.under_way == 1  # One looks, and no more.
    first.store.let_go()
    await trio.testing.wait_all_tasks_blocked()
    assert not first.statistics().away


async def test_a_bug_in_a_look_is_loud_and_kills_nothing(
    attended, blob, autojump_clock, expects_log
):
    first, *others = ranked(attended, blob)
    for cache in others:
        cache.breaker.trip(1e9)
    first.store.failures.extend([(0, EndpointDown("refused")), (0, KeyError("bug"))])
    expects_log(BY)
    expects_log("a bug; it is taken to be away", times=1)
    for _ in range(12):
        assert await fetch(attended, blob) == CONTENT
        await trio.sleep(1)
    assert not first.statistics().away


async def test_bytes_that_proved_wrong_are_asked_of_the_origin_and_their_cache_of_nothing(
    sites, remote, memory, blob, autojump_clock, expects_log
):
    first, second, _ = ranked(sites, blob)
    await fetch(sites, blob)
    expects_log(f"bytes of it came through the site cache {first.url}", times=1)
    sites.distrust(blob.version)
    assert remote.distrusted == [blob.version]
    assert (first.statistics().mismatched, first.statistics().away) == (1, True)
    assert not second.statistics().away
    assert await fetch(sites, blob) == CONTENT
    assert remote.fetched == [(0, SIZE)]
    for number in range(20):
        await fetch(sites, memory.put(f"other {number}", CONTENT))
    assert first.store.fetched == [(0, SIZE)]
    await trio.sleep(QUARANTINE)
    assert first.breaker.admits()
    # That very file never comes through a cache again.
    assert ranked(sites, blob) == []


async def test_documents_without_a_digest_come_from_the_origin(sites, remote, blob):
    undigested = Blob(blob.version, blob.size, blob.etag, blob.mtime)
    assert await fetch(sites, undigested) == CONTENT
    assert remote.fetched == [(0, SIZE)]
    await sites.head(blob.version)
    await sites.page("")
    assert not any(cache.store.fetched for cache in caches(sites))


async def test_requests_of_all_are_counted_together(sites, memory, remote, blob):
    await fetch(sites, blob)
    assert sites.requests().get == 4 * memory.requests().get  # All four are one store here.


async def test_closing_closes_the_caches(sites):
    sites.close()
    assert all(cache.store.closed for cache in caches(sites))


def test_signed_access_and_a_site_s_cache_do_not_go_together(make_settings, remote):
    settings = make_settings(site_cache="http://a", profile="somebody")
    with pytest.raises(SettingsInvalid, match="--site-cache: caches are for anonymous access"):
        open_caches(remote, settings)


# --- the breaker


async def test_waits_double_up_to_a_limit_and_differ(autojump_clock):
    waits = []
    breaker = Breaker()
    assert breaker.failed()
    for _ in range(10):
        began = trio.current_time()
        while not breaker.admits():
            await trio.sleep(0.1)
        waits.append(trio.current_time() - began)
        assert not breaker.failed()
    for nth, wait in enumerate(waits):
        longest = min(FIRST_WAIT * 2**nth, LONGEST_WAIT)
        assert longest / 2 - 0.2 <= wait <= longest + 0.2
    assert breaker.admits() is False


async def test_of_many_failures_at_once_the_first_counts(autojump_clock):
    breaker = Breaker()
    assert [breaker.failed() for _ in range(30)] == [True] + [False] * 29
    await trio.sleep(FIRST_WAIT)
    assert breaker.admits()
    assert not breaker.admits()  # One looks.
    breaker.gave_up()
    assert breaker.admits()
    assert breaker.succeeded()
    assert not breaker.succeeded()
    assert breaker.is_closed
    assert breaker.admits()


async def test_what_was_asked_before_the_breaker_opened_does_not_close_it(autojump_clock):
    breaker = Breaker()
    breaker.failed()
    assert not breaker.succeeded()
    assert not breaker.is_closed
    await trio.sleep(FIRST_WAIT)
    assert breaker.admits()
    breaker.trip(1000)  # Meanwhile its bytes have proved wrong.
    assert not breaker.succeeded()
    await trio.sleep(999)
    assert not breaker.admits()
    await trio.sleep(1)
    assert breaker.admits()
