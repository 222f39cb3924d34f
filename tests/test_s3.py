"""S3 on a bad day: no byte passes that was not asked for, and what breaks is tried again."""

from __future__ import annotations

import threading

import pytest
import trio
from botocore.awsrequest import AWSHTTPConnection
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection

from tests.conftest import contents
from tests.contract.shelves import programmable_shelf, settings_for
from tests.mount.waiting import eventually
from tests.s3 import Fault
from tests.s3.rawclient import RawClient
from vbofs import errors
from vbofs.errors import RemoteError, WrongResponse
from vbofs.model import Blob, Extent, ObjectFacts, ObjectVersion
from vbofs.remote import s3_ranges
from vbofs.remote.protocol import Collected, SinkFailed
from vbofs.remote.retrying import Retrying
from vbofs.remote.s3 import S3ObjectStore
from vbofs.remote.s3_line import Spare

SIZE = 200_000
CONTENT = contents(SIZE)
EXTENT = Extent(1000, 101_000)
GET = "GET"


@pytest.fixture(scope="module")
def common():
    """A server and a client of it for all tests: making one takes longer than using it."""
    with programmable_shelf() as made:
        yield made


@pytest.fixture(scope="module")
def impatient(common):
    """A client that notices a stall after half a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3_ranges, "READ_TIMEOUT", 0.5)
        made = S3ObjectStore(settings_for(common.server.url))
    yield made
    made.close()


@pytest.fixture
def shelf(common):
    common.clear()
    common.server.clear_log()
    yield common
    common.server.heal()
    common.server.up()


@pytest.fixture
def server(shelf):
    return shelf.server


@pytest.fixture
def store(shelf):
    return shelf.store


@pytest.fixture
def fresh(server):
    """A client that has learnt nothing from other tests."""
    made = S3ObjectStore(settings_for(server.url))
    yield made
    made.close()


@pytest.fixture
def blob(shelf):
    return shelf.put("p/file", CONTENT)


async def fetch(store, blob, extent=EXTENT):
    sink = Collected(extent.size)
    try:
        await store.fetch(blob, extent, sink)
    finally:
        # Whatever went wrong: what was poured is the beginning of what was asked for.
        poured = sink.getvalue()
        assert poured == CONTENT[extent.start : extent.start + len(poured)]
    assert len(poured) == extent.size


async def assert_fails(work, kind, text="", *, retryable=None):
    with pytest.raises(kind) as caught:
        await work
    message = str(caught.value)
    assert text in message
    assert "\n" not in message
    assert len(message) < 500
    if retryable is not None:
        assert caught.value.retryable is retryable


def words(value):
    """The name of a test that is about a fault."""
    return Fault(**value).words if isinstance(value, dict) else ""


LIES = [
    dict(content_range_shift=1),
    dict(content_range_shift=-1000),
    dict(content_length_lie=5),
    dict(content_length_lie=-5),
    dict(truncate_body=10),
    dict(whole=True),
    dict(gzip=True),
    dict(html=True),
    dict(html=True, status=200),
    dict(headers={"x-amz-version-id": "another"}),
    dict(headers={"ETag": '"another"'}),
    dict(headers={"Content-Range": None}),
    dict(headers={"Content-Range": "junk"}),
    dict(headers={"Content-Range": f"bytes 1000-100999/{SIZE + 1}"}),
    dict(headers={"Content-Encoding": "br"}),
    dict(body=b"something else"),
    dict(body=b""),
    dict(status=200, body=b""),
    dict(status=204),
    dict(status=304),
    dict(close_at=0),
    dict(close_at=50_000),
]


@pytest.mark.parametrize("lie", LIES, ids=words)
async def test_an_answer_that_is_not_what_was_asked_for_is_refused(server, store, blob, lie):
    server.faults = [Fault(**lie)]
    await assert_fails(fetch(store, blob), RemoteError)
    server.heal()
    await fetch(store, blob)


BREAKS = [
    dict(reset_at=-1),
    dict(reset_at=0),
    dict(reset_at=50_000),
    dict(close_at=-1),
    dict(stall_at=-1),
    dict(stall_at=0),
    dict(stall_at=50_000),
    dict(raw=b""),
    dict(raw=b"SSH-2.0-OpenSSH_9.2\r\n"),
    dict(raw=b"HTTP/1.1 206 Partial Content\r\nContent-Length: junk\r\n\r\n"),
    dict(raw=b"\x15\x03\x01\x00\x02\x02\x16"),
]


@pytest.mark.parametrize("fault", BREAKS, ids=words)
async def test_a_connection_that_breaks_is_worth_another_try(server, impatient, blob, fault):
    server.faults = [Fault(**fault)]
    await assert_fails(fetch(impatient, blob), RemoteError, "p/file", retryable=True)
    server.heal()
    await fetch(impatient, blob)


@pytest.mark.parametrize("fault", BREAKS[2:8:2], ids=words)
async def test_another_try_resumes_and_all_is_well(server, impatient, blob, fault):
    server.faults = [Fault(**fault, times=2)]
    await fetch(Retrying(impatient, 30), blob)
    assert server.bytes_sent < 2 * SIZE


async def test_bytes_that_follow_the_body_do_not_answer_the_next_request(server, store, blob):
    server.faults = [Fault(long_body=50, times=3)]
    for _ in range(6):
        await fetch(store, blob)


async def test_a_refused_answer_does_not_answer_the_next_request(server, store, blob):
    server.faults = [Fault(whole=True, times=1)]
    await assert_fails(fetch(store, blob), WrongResponse)
    for start in (0, 7, 99_999):
        await fetch(store, blob, Extent(start, start + 100))


async def test_a_connection_that_s3_closed_while_idle_is_no_error(server, store, blob):
    await fetch(store, blob)
    server.down()
    server.up()
    await fetch(store, blob)


async def test_a_small_piece_at_a_time_is_no_stall(server, store, blob):
    server.faults = [Fault(trickle=(20_000, 0.05))]
    await fetch(store, blob)


async def test_a_body_that_hardly_moves_is_given_up_like_a_stall(server, impatient, blob):
    server.faults = [Fault(trickle=(100, 0.1))]
    await assert_fails(fetch(impatient, blob), RemoteError, "bytes came in 0.5 s", retryable=True)


async def test_a_version_that_came_wrong_is_asked_for_past_any_cache(server, fresh, blob):
    await fetch(fresh, blob)
    fresh.distrust(blob.version)
    await fetch(fresh, blob)
    asked = [request.headers.get("cache-control") for request in server.requests]
    assert asked == [None, "no-cache"]


# --- the way there


async def test_nothing_that_listens_is_said_so(server, store, blob):
    server.down()
    for work in (fetch(store, blob), store.page("p/"), store.head(blob.version)):
        await assert_fails(work, errors.EndpointDown, server.url, retryable=True)


async def test_a_name_that_nobody_knows_is_said_so():
    store = S3ObjectStore(settings_for("http://nosuchhost.invalid:1"))
    await assert_fails(store.page("p/"), errors.NetworkUnreachable, "--offline", retryable=True)
    store.close()


@pytest.mark.parametrize("way", ["fetch", "head", "page"])
async def test_a_proxy_is_used_for_everything(server, shelf, blob, monkeypatch, way):
    monkeypatch.setenv("http_proxy", server.url)
    store = S3ObjectStore(settings_for("http://s3.invalid"))
    works = {"fetch": fetch, "head": lambda s, b: s.head(b.version)}
    await works.get(way, lambda s, b: s.page("p/"))(store, blob)
    store.close()
    [request] = server.requests
    assert request.target.startswith("http://s3.invalid/")


async def test_no_proxy_is_used_for_a_host_that_is_excepted(server, shelf, blob, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://nosuchhost.invalid:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    store = S3ObjectStore(settings_for(server.url))
    await fetch(store, blob)
    await store.page("p/")
    store.close()


async def test_a_stalled_request_is_abandoned_at_once(server, fresh, blob):
    server.faults = [Fault(stall_at=10)]
    with trio.fail_after(5), trio.move_on_after(0.05) as scope:
        await fetch(fresh, blob)
    assert scope.cancelled_caught
    server.heal()
    await fetch(fresh, blob)


async def test_no_more_requests_are_under_way_than_connections_allow(server, blob):
    store = S3ObjectStore(settings_for(server.url, connections=3))
    server.faults = [Fault(delay=0.02)]
    async with trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(fetch, store, blob)
    assert server.peak_in_flight == 3
    assert len({request.connection for request in server.requests}) <= 3
    store.close()


def test_a_profile_that_does_not_exist_is_said_by_name():
    with pytest.raises(errors.CredentialsMissing, match="--profile nobody"):
        S3ObjectStore(settings_for("http://127.0.0.1:1", profile="nobody"))


async def test_an_object_that_was_replaced_in_a_bucket_without_versions_says_what_to_do(server):
    server.create_bucket("flat", versioned=False)
    server.put("flat", "k", CONTENT)
    flat = server.version("flat", "k", "null")
    facts = ObjectFacts(flat.size, flat.etag.strip('"'), int(flat.last_modified))
    blob = Blob(ObjectVersion("flat", "k", "null"), *facts)
    store = S3ObjectStore(settings_for(server.url, "flat"))
    try:
        await fetch(store, blob)
        server.put("flat", "k", CONTENT[::-1])
        sink = Collected(EXTENT.size)
        await assert_fails(
            store.fetch(blob, EXTENT, sink), errors.ObjectMissing, "mount again", retryable=False
        )
        assert sink.getvalue() == b""
    finally:
        store.close()


class Spoilt(Collected):
    """A sink with a bug, in one of its two methods."""

    def __init__(self, where):
        super().__init__(EXTENT.size)
        self._where = where

    def get_buffer(self):
        return super().get_buffer()[: 1 / 0 if self._where == "get_buffer" else None]

    def buffer_updated(self, nbytes):
        super().buffer_updated(nbytes // (0 if self._where == "buffer_updated" else 1))


@pytest.mark.parametrize("where", ["get_buffer", "buffer_updated"])
async def test_a_bug_of_ours_is_no_error_of_the_network(server, store, blob, where):
    patient = Retrying(store, 60)
    with pytest.raises(SinkFailed, match="ZeroDivisionError"):
        await patient.fetch(blob, EXTENT, Spoilt(where))
    assert patient.retries == 0
    await fetch(patient, blob)


# --- connections ahead of their requests


@pytest.fixture
def quiet():
    """A server to which nobody has connected yet: its connections are numbered as they come."""
    with programmable_shelf() as made:
        yield made


def connected(shelf):
    """How many connections there have been."""
    with RawClient(shelf.server.url) as another:
        another.get("/")
    return shelf.server.requests[-1].connection - 1


async def test_connections_that_were_prepared_are_those_that_are_used(quiet):
    blob = quiet.put("p/file", CONTENT)
    for _ in range(3):
        await quiet.store.prepare(blob.version, 5)
    quiet.server.faults = [Fault(delay=0.05)]  # Or one connection could do for all of them.
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(fetch, quiet.store, blob)
    assert {request.connection for request in quiet.server.requests} == {1, 2, 3, 4, 5}
    assert connected(quiet) == 5


async def test_connections_are_prepared_before_anything_is_asked(quiet):
    await quiet.store.prepare(quiet.put("p/file", CONTENT).version, 5)
    assert connected(quiet) == 5


async def test_half_of_the_connections_are_left_to_others(quiet):
    store = S3ObjectStore(settings_for(quiet.server.url, connections=6))
    await store.prepare(quiet.put("p/file", CONTENT).version, 100)
    store.close()
    assert connected(quiet) == 3


async def test_nothing_is_prepared_where_nobody_listens(server, fresh, blob):
    server.down()
    await fresh.prepare(blob.version, 5)
    await assert_fails(fetch(fresh, blob), errors.EndpointDown, retryable=True)
    server.up()
    await fetch(fresh, blob)


async def test_nothing_is_prepared_behind_a_proxy(quiet, monkeypatch):
    monkeypatch.setenv("http_proxy", quiet.server.url)
    store = S3ObjectStore(settings_for("http://s3.invalid"))
    await store.prepare(quiet.put("p/file", CONTENT).version, 5)
    store.close()
    assert connected(quiet) == 0


async def test_preparing_ends_when_the_mount_does_and_spoils_nothing(fresh, blob):
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fresh.prepare, blob.version, 5)
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        await fetch(fresh, blob)


async def test_what_is_connected_when_nobody_waits_any_more_is_closed(quiet, monkeypatch):
    """A command ends while connections are made for it: no socket is left to the garbage."""
    reached, gate = threading.Semaphore(0), threading.Event()
    made = []

    def slow(connection, connect=AWSHTTPConnection.connect):
        connect(connection)
        made.append(connection)
        reached.release()
        gate.wait(5)

    monkeypatch.setattr(AWSHTTPConnection, "connect", slow)
    store = S3ObjectStore(settings_for(quiet.server.url))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.prepare, quiet.put("p/file", CONTENT).version, 3)
        for _ in range(3):
            await trio.to_thread.run_sync(reached.acquire)
        nursery.cancel_scope.cancel()
    store.close()
    assert not any(connection.is_closed for connection in made)
    gate.set()
    await trio.to_thread.run_sync(
        eventually, lambda: len(made) == 3 and all(connection.is_closed for connection in made)
    )


def test_a_spare_that_is_given_back_too_early_follows_when_it_is_connected(quiet, monkeypatch):
    reached, gate = threading.Event(), threading.Event()

    def slow(connection, connect=HTTPConnection.connect):
        connect(connection)
        reached.set()
        gate.wait(5)

    monkeypatch.setattr(HTTPConnection, "connect", slow)
    pool = HTTPConnectionPool("127.0.0.1", quiet.server.port, maxsize=1)
    spare = Spare()
    (connect,) = spare.take(pool, 1)
    thread = threading.Thread(target=connect)
    thread.start()
    assert reached.wait(5)
    spare.give_back()
    assert pool.pool.qsize() == 0, "nobody uses what is being connected"
    gate.set()
    thread.join()
    assert pool.pool.qsize() == 1
    used = pool._get_conn()
    assert not used.is_closed
    used.close()
    pool.close()


@pytest.mark.parametrize("when", ["before it is taken", "before it is connected"])
def test_a_spare_that_is_given_back_early_holds_nothing(when):
    pool = HTTPConnectionPool("s3.invalid", maxsize=3)
    spare = Spare()
    if when == "before it is taken":
        spare.give_back()
        assert spare.take(pool, 3) == []
    else:
        unconnected = spare.take(pool, 3)
        assert pool.pool.qsize() == 0
        spare.give_back()
        for connect in unconnected:
            connect()  # Or it would look for s3.invalid.
    assert pool.pool.qsize() == 3
    pool.close()
