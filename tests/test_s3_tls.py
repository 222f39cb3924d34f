"""S3 over TLS: whom nobody vouches for gets no question, and connections are made ahead."""

from __future__ import annotations

import pytest
import trio

from tests.conftest import contents
from tests.contract.shelves import programmable_shelf, settings_for
from tests.s3 import Fault
from tests.s3.secure import SecureFront
from vbofs.errors import AccessDenied, RemoteError
from vbofs.model import Extent
from vbofs.remote.protocol import Collected
from vbofs.remote.s3 import S3ObjectStore

SIZE = 300_000
CONTENT = contents(SIZE)


@pytest.fixture(scope="module")
def shelf():
    with programmable_shelf() as made:
        yield made


@pytest.fixture
def blob(shelf):
    shelf.clear()
    shelf.server.clear_log()
    yield shelf.put("p/file", CONTENT)
    shelf.server.heal()


@pytest.fixture
def front(shelf, tmp_path):
    with SecureFront(shelf.server.url, tmp_path) as made:
        yield made


@pytest.fixture
def store(front, monkeypatch):
    """A client that trusts the front's authority."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(front.bundle))
    made = S3ObjectStore(settings_for(front.url))
    yield made
    made.close()


@pytest.fixture
def wary(front, monkeypatch):
    """One that does not."""
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    made = S3ObjectStore(settings_for(front.url))
    yield made
    made.close()


async def fetch(store, blob):
    sink = Collected(SIZE)
    await store.fetch(blob, Extent(0, SIZE), sink)
    return sink.getvalue()


async def test_everything_goes_over_tls(store, blob, front):
    assert await fetch(store, blob) == CONTENT
    assert (await store.head(blob.version)).facts.size == SIZE
    assert [listed.version for listed in (await store.page("p/")).listed] == [blob.version]
    assert front.handshakes() >= 2


@pytest.mark.parametrize("ask", ["fetch", "head", "page"])
async def test_a_server_for_whom_nobody_vouches_is_asked_nothing(wary, shelf, blob, ask):
    asked = {
        "fetch": lambda: fetch(wary, blob),
        "head": lambda: wary.head(blob.version),
        "page": lambda: wary.page("p/"),
    }
    await wary.prepare(blob.version, 3)
    with pytest.raises(RemoteError, match="certificate") as caught:
        await asked[ask]()
    assert "\n" not in str(caught.value)
    assert shelf.server.requests == []


async def test_a_certificate_for_another_name_is_none(
    shelf, blob, tmp_path, monkeypatch, allows_log
):
    allows_log("did not match expected hostname")  # urllib3's.
    with SecureFront(shelf.server.url, tmp_path, "s3.example") as front:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(front.bundle))
        store = S3ObjectStore(settings_for(front.url))
        await store.prepare(blob.version, 3)
        with pytest.raises(AccessDenied, match="a certificate for another name") as caught:
            await fetch(store, blob)
        assert "versionId" not in str(caught.value)
        store.close()
    assert shelf.server.requests == []


async def test_handshakes_are_over_before_anything_is_asked(store, shelf, blob, front):
    await store.prepare(blob.version, 5)
    assert (front.handshakes(5), shelf.server.requests) == (5, [])
    shelf.server.faults = [Fault(delay=0.05)]  # Or one connection could do for all of them.
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(fetch, store, blob)
    assert front.handshakes() == 5
