"""What stands between the node's own cache and the bucket, as the settings say."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from tests.conftest import contents
from tests.contract.shelves import programmable_shelf, settings_for
from tests.s3 import ProgrammableS3
from vbofs.blocks.blobfile import BlobFile
from vbofs.blocks.extents import BLOCK_SIZE
from vbofs.blocks.store import open_store
from vbofs.daemon.sources import sources
from vbofs.errors import Offline, SettingsInvalid
from vbofs.model import Extent
from vbofs.remote.protocol import Collected

CONTENT = contents(2 * BLOCK_SIZE)


@pytest.fixture(scope="module")
def origin():
    with programmable_shelf() as made:
        yield made


@pytest.fixture(scope="module")
def blob(origin):
    return replace(origin.put("key", CONTENT), digest="published")


@pytest.fixture
def cache(origin):
    with ProgrammableS3() as server:
        server.buckets = origin.server.buckets
        yield server


@pytest.fixture
def lower(tmp_path, blob):
    """A lower cache that has the first block."""
    open_store(tmp_path / "lower", 1 << 30)
    file = BlobFile(tmp_path / "lower" / "blobs" / blob.ident[:2] / blob.ident, blob)
    file.put(0, memoryview(CONTENT)[:BLOCK_SIZE])
    return tmp_path / "lower"


async def fetch(remote, blob):
    sink = Collected(len(CONTENT))
    await remote.blocks.fetch(blob, Extent(0, len(CONTENT)), sink)
    return sink.getvalue()


async def test_the_nearest_is_asked_first(origin, cache, lower, blob):
    origin.server.clear_log()
    settings = settings_for(origin.server.url, site_cache=cache.url, lower_cache=lower)
    async with sources(settings) as remote, trio.open_nursery() as nursery:
        remote.attend(nursery)
        assert await fetch(remote, blob) == CONTENT
        nursery.cancel_scope.cancel()
    [asked] = cache.requests
    assert asked.range == (BLOCK_SIZE, 2 * BLOCK_SIZE)
    assert origin.server.requests == []


async def test_listings_go_past_all_caches_and_are_counted_with_the_rest(origin, cache, blob):
    origin.server.clear_log()
    async with sources(settings_for(origin.server.url, site_cache=cache.url)) as remote:
        await remote.listings.page("")
        assert await fetch(remote, blob) == CONTENT
        asked = remote.retrying.requests()
    assert (asked.list, asked.get) == (1, 1)
    assert [one.operation for one in origin.server.requests] == ["LIST_VERSIONS"]
    assert [one.operation for one in cache.requests] == ["GET"]


async def test_that_the_bucket_is_away_says_nothing_of_the_way_to_a_cache(cache, blob):
    settings = settings_for("http://127.0.0.1:1", site_cache=cache.url, timeout=0.3)
    async with sources(settings) as remote:
        with pytest.raises(Exception, match="connection is refused"):
            await remote.listings.page("")
        assert await fetch(remote, blob) == CONTENT
        assert remote.retrying.network.away_since is None


async def test_with_no_caches_there_is_the_bucket_alone(origin, blob):
    async with sources(settings_for(origin.server.url)) as remote:
        assert remote.sites is remote.lower is None
        assert remote.blocks is remote.retrying
        assert remote.listings.network is remote.retrying.network
        assert await fetch(remote, blob) == CONTENT


async def test_off_the_network_nobody_is_asked_but_the_lower_cache(cache, lower, blob):
    settings = settings_for(cache.url, site_cache=cache.url, lower_cache=lower, offline=True)
    async with sources(settings) as remote:
        assert remote.sites is None
        sink = Collected(len(CONTENT))
        with pytest.raises(Offline):
            await remote.blocks.fetch(blob, Extent(0, len(CONTENT)), sink)
        assert sink.getvalue()[:BLOCK_SIZE] == CONTENT[:BLOCK_SIZE]
    assert cache.requests == []


async def test_what_cannot_be_used_leaves_nothing_open(origin, lower):
    settings = settings_for(origin.server.url, lower_cache=lower, lower_cache_owner="no-such-user")
    with pytest.raises(SettingsInvalid, match="lower_cache_owner"):
        async with sources(settings):
            raise AssertionError("not reached")
