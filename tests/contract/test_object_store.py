"""What every object store promises (remote/protocol.py), whatever stands behind it."""

from __future__ import annotations

import contextlib
import os

import pytest
import trio

from tests.conftest import contents
from tests.contract.shelves import (
    MemoryShelf,
    MotoShelf,
    ProgrammableShelf,
    moto_server,
)
from tests.s3 import ProgrammableS3
from vbofs.blocks.lower import LowerCache
from vbofs.blocks.store import open_store
from vbofs.errors import BucketMissing, ObjectMissing
from vbofs.model import Extent
from vbofs.remote.protocol import Collected
from vbofs.remote.retrying import Retrying
from vbofs.remote.sites import SiteCaches

SIZE = 300_000
CONTENT = contents(SIZE)


@pytest.fixture(scope="module", params=["memory", "programmable", "moto"])
def filled(request):
    with contextlib.ExitStack() as stack:
        if request.param == "memory":
            made = MemoryShelf()
        elif request.param == "moto":
            made = MotoShelf(stack.enter_context(moto_server()))
        else:
            made = ProgrammableShelf(stack.enter_context(ProgrammableS3()))
        yield made
        made.close()


@pytest.fixture
def shelf(filled):
    """An empty bucket; making a client for each test would take most of the time."""
    filled.clear()
    return filled


@pytest.fixture(params=["plain", "retrying", "sites", "lower"])
def store(request, shelf, tmp_path):
    if request.param == "retrying":
        return Retrying(shelf.store, 10)
    if request.param == "sites":
        return SiteCaches(shelf.store, [])
    if request.param == "lower":
        open_store(tmp_path / "lower", 1 << 20)
        return LowerCache(shelf.store, tmp_path / "lower", frozenset({os.geteuid()}))
    return shelf.store


async def fetch(store, blob, start, stop):
    sink = Collected(stop - start)
    await store.fetch(blob, Extent(start, stop), sink)
    return sink.getvalue()


async def pages(store, prefix, **words):
    found, marker = [], None
    while True:
        page = await store.page(prefix, marker=marker, **words)
        found.append(page.listed)
        marker = page.marker
        if marker is None:
            return found


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 1), (0, SIZE), (1, 2), (12_345, 234_567), (SIZE - 1, SIZE), (65_535, 65_537)],
)
async def test_an_extent_is_poured_exactly(store, shelf, start, stop):
    blob = shelf.put("a/file", CONTENT)
    assert await fetch(store, blob, start, stop) == CONTENT[start:stop]


async def test_who_prepares_asks_for_nothing_and_may_do_so_in_vain(store, shelf):
    blob = shelf.put("a/file", CONTENT)
    before = store.requests()
    await store.prepare(blob.version, 5)
    await store.prepare(blob.version._replace(key="nobody"), 0)
    assert store.requests() == before
    assert await fetch(store, blob, 0, 10) == CONTENT[:10]


async def test_many_fetches_at_once_do_not_mix(store, shelf):
    blob = shelf.put("a/file", CONTENT)

    async def check(start):
        assert await fetch(store, blob, start, start + 9_999) == CONTENT[start : start + 9_999]

    async with trio.open_nursery() as nursery:
        for start in range(0, SIZE - 10_000, 9_000):
            nursery.start_soon(check, start)


@pytest.mark.parametrize(
    "key", ["plain", "a b", "ü/é", "a+b&c=d", "100%", "a//b", "x?y#z", "<&>'\""]
)
async def test_a_key_may_be_spelled_with_anything(store, shelf, key):
    blob = shelf.put(f"p/{key}", b"content of it")
    assert await fetch(store, blob, 0, 13) == b"content of it"
    assert (await store.head(blob.version)).facts.size == 13
    [[listed]] = await pages(store, "p/")
    assert listed.version == blob.version


async def test_every_version_of_a_key_stays_what_it_was(store, shelf):
    blobs = [shelf.put("key", f"version {n}".encode()) for n in range(4)]
    assert len({blob.version for blob in blobs}) == 4
    for n, blob in enumerate(blobs):
        assert await fetch(store, blob, 0, blob.size) == f"version {n}".encode()


async def test_a_head_tells_the_facts_of_the_version_that_is_named(store, shelf):
    old = shelf.put("key", b"old")
    shelf.put("key", b"newer")
    listed = await store.head(old.version)
    assert listed.version == old.version
    assert listed.facts == (old.size, old.etag, old.mtime)


async def test_a_head_of_no_version_tells_the_current_one_by_name(store, shelf):
    shelf.put("key", b"old")
    new = shelf.put("key", b"newer")
    listed = await store.head(new.version._replace(version_id=""))
    assert (listed.version, listed.facts.size, listed.is_latest) == (new.version, 5, True)


async def test_a_version_that_is_not_there_is_missing(store, shelf):
    blob = shelf.put("key", b"content")
    other = shelf.put("other", b"another")
    for version in (
        blob.version._replace(version_id=other.version.version_id),
        blob.version._replace(key="nobody"),
    ):
        with pytest.raises(ObjectMissing):
            await store.head(version)
        with pytest.raises(ObjectMissing):
            await fetch(store, _renamed(blob, version), 0, 7)


async def test_a_bucket_that_is_not_there_is_missing(store, shelf):
    blob = shelf.put("key", b"content")
    with pytest.raises(BucketMissing, match="bucket"):
        await fetch(store, _renamed(blob, blob.version._replace(bucket="nobody-s-bucket")), 0, 7)


def _renamed(blob, version):
    return type(blob)(version, blob.size, blob.etag, blob.mtime)


# --- listings


async def test_a_listing_names_every_version_the_newest_as_the_latest(store, shelf):
    blobs = [shelf.put("p/key", f"v{n}".encode()) for n in range(3)]
    [listed] = await pages(store, "p/")
    assert [one.version for one in listed] == [blob.version for blob in reversed(blobs)]
    assert [one.is_latest for one in listed] == [True, False, False]
    assert [one.facts for one in listed] == [(b.size, b.etag, b.mtime) for b in reversed(blobs)]


async def test_a_listing_keeps_to_its_prefix_and_to_the_order_of_keys(store, shelf):
    for key in ("p/b", "p/a/1", "q/x", "p/c", "o"):
        shelf.put(key, b"")
    [listed] = await pages(store, "p/")
    assert [one.version.key for one in listed] == ["p/a/1", "p/b", "p/c"]


async def test_a_shallow_listing_names_what_lies_directly_there(store, shelf):
    for key in ("p/a", "p/deep/1", "p/deep/er/2", "p/z"):
        shelf.put(key, b"")
    [listed] = await pages(store, "p/", shallow=True)
    assert [one.version.key for one in listed] == ["p/a", "p/z"]


async def test_a_prefix_with_nothing_under_it_is_an_empty_page(store, shelf):
    shelf.put("p/a", b"")
    assert await pages(store, "nothing/") == [[]]


async def test_a_long_listing_comes_in_pages_and_whole(store, shelf):
    keys = [f"p/{n:04}" for n in range(1005)]
    shelf.put_all(keys)
    found = await pages(store, "p/")
    assert [len(page) for page in found] == [1000, 5]
    assert [one.version.key for page in found for one in page] == keys


# --- what was asked, and letting go


async def test_requests_and_bytes_are_counted(store, shelf):
    blob = shelf.put("key", CONTENT)
    before = store.requests()
    await fetch(store, blob, 10, 1010)
    await fetch(store, blob, 0, 1)
    await store.head(blob.version)
    await store.page("")
    counted = [now - then for now, then in zip(store.requests(), before, strict=True)]
    assert counted == [2, 1, 1, 1001]


async def test_cancelling_returns_at_once_and_the_store_goes_on(store, shelf):
    blob = shelf.put("key", CONTENT)
    with trio.fail_after(2):
        for work in (lambda: fetch(store, blob, 0, SIZE), lambda: store.page("")):
            with trio.CancelScope() as scope:
                scope.cancel()
                await work()
            assert scope.cancelled_caught
        assert await fetch(store, blob, 0, 10) == CONTENT[:10]
