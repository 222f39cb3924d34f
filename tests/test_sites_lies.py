"""A cache that is real HTTP and lies: nothing it says gets through, and nobody sees an error."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from tests.conftest import contents
from tests.contract.shelves import programmable_shelf, settings_for
from tests.s3 import Fault, ProgrammableS3
from vbofs.model import Extent
from vbofs.remote import sites as sites_module
from vbofs.remote.protocol import Collected
from vbofs.remote.sites import SiteCaches, open_site_caches

SIZE = 300_000
CONTENT = contents(SIZE)
EXTENT = Extent(1000, 201_000)

LIES = {
    "503": dict(status=503),
    "502 of nginx": dict(status=502, html=True),
    "404": dict(code="NoSuchKey"),
    "403": dict(code="AccessDenied"),
    "a page of HTML": dict(html=True),
    "the whole object": dict(whole=True),
    "another range": dict(content_range_shift=100),
    "another version": dict(headers={"x-amz-version-id": "another"}),
    "another object": dict(headers={"ETag": '"0123"'}),
    "a shorter body": dict(truncate_body=1000),
    "packed": dict(gzip=True),
    "a redirect": dict(status=302, location="http://127.0.0.1:1/elsewhere"),
    "an end in the middle": dict(close_at=100_000),
    "a reset in the middle": dict(reset_at=100_000),
    "no HTTP": dict(raw=b"SSH-2.0-OpenSSH_9.2\r\n"),
    "silence": dict(stall_at=-1),
    "silence in the middle": dict(stall_at=100_000),
    "a trickle": dict(trickle=(50, 0.02)),
}


@pytest.fixture(scope="module")
def origin():
    with programmable_shelf() as made:
        yield made


@pytest.fixture(scope="module")
def liar(origin):
    """A server with the same objects."""
    with ProgrammableS3() as server:
        server.buckets = origin.server.buckets
        yield server


@pytest.fixture(scope="module")
def connected(origin, liar):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sites_module, "PATIENCE", sites_module.PATIENCE._replace(read=0.3))
        settings = settings_for(origin.server.url, site_cache=liar.url)
        made = open_site_caches(origin.store, settings)
    yield made
    made.close()


@pytest.fixture
def sites(connected, origin, liar):
    """The cache before the origin, as a daemon finds it that has just begun."""
    [[cache]] = connected._groups
    fresh = type(cache)(cache.url, cache.store)
    origin.server.clear_log()
    liar.clear_log()
    yield SiteCaches(origin.store, [[fresh]])
    liar.heal()
    liar.up()


@pytest.fixture(scope="module")
def blob(origin):
    return replace(origin.put("key", CONTENT), digest="published")


async def fetch(store, blob):
    sink = Collected(EXTENT.size)
    await store.fetch(blob, EXTENT, sink)
    return sink.getvalue()


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
async def test_nothing_a_cache_says_gets_through(lie, sites, liar, origin, blob, expects_log):
    liar.faults.append(Fault(operation="GET", **lie))
    expects_log(f"the site cache {liar.url} is passed by for a while", times=1)
    with trio.fail_after(5):
        assert await fetch(sites, blob) == CONTENT[EXTENT.start : EXTENT.stop]
    assert len(liar.requests) == 1
    [asked] = origin.server.requests
    assert asked.range
    assert asked.range[1] == EXTENT.stop


async def test_a_cache_that_refuses_connections_costs_one_try(
    sites, liar, origin, blob, expects_log
):
    liar.down()
    expects_log("nothing answers at", times=1)
    for _ in range(3):
        assert await fetch(sites, blob) == CONTENT[EXTENT.start : EXTENT.stop]
    assert sites.statistics()[0].failed == 1
    assert len(origin.server.requests) == 3


async def test_an_honest_cache_is_asked_alone_and_for_a_path_and_a_version(
    sites, liar, origin, blob, monkeypatch
):
    assert await fetch(sites, blob) == CONTENT[EXTENT.start : EXTENT.stop]
    [asked] = liar.requests
    assert asked.target == f"/contract-bucket/key?versionId={blob.version.version_id}"
    assert asked.headers["range"] == "bytes=1000-200999"
    assert "authorization" not in asked.headers
    assert origin.server.requests == []


async def test_no_proxy_is_on_the_way_to_a_cache(origin, liar, blob, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    sites = open_site_caches(origin.store, settings_for(origin.server.url, site_cache=liar.url))
    try:
        assert await fetch(sites, blob) == CONTENT[EXTENT.start : EXTENT.stop]
        assert sites.statistics()[0].requests == 1
    finally:
        sites.close()
