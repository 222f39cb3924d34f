"""Faults befall those they are told to, and break connections at the byte; seen as bytes."""

from __future__ import annotations

import re
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest

from tests.s3 import Fault, ProgrammableS3
from tests.s3.conftest import BODY
from tests.s3.rawclient import RawClient

# --- for whom


def test_the_first_n_are_befallen_and_then_no_more(s3, get):
    fault = Fault(status=503, times=2)
    s3.faults.append(fault)
    assert [get().status for _ in range(4)] == [503, 503, 200, 200]
    assert (fault.seen, fault.fired) == (4, 2)
    assert [bool(one.fault) for one in s3.requests] == [True, True, False, False]


def test_every_nth_after_some_is_befallen(s3, get):
    s3.faults.append(Fault(status=500, skip=1, every=3))
    assert [get().status for _ in range(6)] == [200, 500, 200, 200, 500, 200]


@pytest.mark.parametrize(
    "condition",
    [
        {"key": "^re"},
        {"key": re.compile("real$")},
        {"operation": "HEAD"},
        {"operation": ("PUT", "HEAD"), "version_id": "v1"},
        {"when": lambda request: request.headers.get("x-me") == "1"},
    ],
)
def test_only_those_who_match_are_befallen(s3, get, condition):
    s3.faults.append(Fault(status=403, **condition))
    assert get("/vbo/virtual?versionId=v0", range="bytes=0-1").status == 404
    assert get("/vbo/real?versionId=v1", method="HEAD", x_me="1").status == 403


def test_a_script_decides_for_itself(s3, get):
    def odd(request):
        return Fault(status=429) if request.number % 2 else None

    s3.faults.append(odd)
    assert sorted(get().status for _ in range(4)) == [200, 200, 429, 429]


def test_healing_ends_every_fault(s3, get):
    s3.faults.append(Fault(status=500))
    assert get().status == 500
    s3.heal()
    assert get().status == 200


# --- how the bytes travel


@pytest.mark.parametrize("key", ["real", "virtual"])
@pytest.mark.parametrize("at", [0, 1, 70_001])
@pytest.mark.parametrize(("how", "end"), [("reset_at", "reset"), ("close_at", "close")])
def test_a_body_ends_at_the_byte(s3, get, key, at, how, end):
    s3.faults.append(Fault(**{how: at}))
    reply = get(f"/vbo/{key}")
    truth = s3.version("vbo", key)
    assert (reply.status, reply.headers["content-length"]) == (200, str(truth.size))
    assert (reply.body, reply.end) == (truth.read(0, at), end)
    assert (s3.requests[-1].sent, s3.requests[-1].status) == (at, 200)


@pytest.mark.parametrize(("how", "end"), [("reset_at", "reset"), ("close_at", "close")])
def test_a_connection_ends_before_the_head(s3, get, how, end):
    s3.faults.append(Fault(**{how: -1}))
    assert (get().end, get().body) == (end, b"")


def test_a_stall_lasts_until_it_is_lifted(s3):
    fault = Fault(stall_at=1000)
    s3.faults.append(fault)
    with RawClient(s3.url, patience=0.1) as client:
        reply = client.get("/vbo/real")
        assert (reply.body, reply.end) == (BODY[:1000], "silence")
        assert s3.in_flight == 1
        fault.lift()
        assert client.reply_body(len(BODY) - 1000) == BODY[1000:]


def test_a_stall_before_the_head_says_nothing(s3, get):
    s3.faults.append(Fault(stall_at=-1))
    reply = get(patience=0.1)
    assert (reply.status, reply.body, reply.end) == (0, b"", "silence")


def test_a_stall_before_the_head_that_is_lifted_is_followed_by_the_very_bytes(s3):
    fault = Fault(stall_at=-1)
    s3.faults.append(fault)
    lifting = threading.Timer(0.05, fault.lift)
    lifting.start()
    with RawClient(s3.url) as client:
        reply = client.get("/vbo/real")
    lifting.join()
    assert (reply.status, reply.body) == (200, BODY)


def test_a_server_stops_with_requests_stalled_and_delayed():
    s3 = ProgrammableS3(delay=60)
    s3.start()
    s3.faults.append(Fault(stall_at=-1, operation="HEAD"))
    with RawClient(s3.url) as one, RawClient(s3.url) as two:
        one.send("/vbo/real")
        two.send("/vbo/real", method="HEAD")
        s3.stop()
        assert one.rest()[1] in ("close", "reset")
        assert two.rest()[1] in ("close", "reset")
    assert not [one for one in threading.enumerate() if one.name.startswith("s3-")]


def test_a_delay_befalls_one_request(s3, get):
    s3.faults.append(Fault(delay=0.15, times=1))
    started = time.monotonic()
    assert get().body == BODY
    assert time.monotonic() - started >= 0.15
    assert s3.requests[0].fault == "delay=0.15"


def test_a_trickle_comes_in_drops(s3, get):
    s3.faults.append(Fault(trickle=(10, 0.02)))
    started = time.monotonic()
    assert get(range="bytes=0-99").body == BODY[:100]
    assert time.monotonic() - started >= 9 * 0.02


def test_raw_bytes_take_the_place_of_an_answer(s3, get):
    s3.faults.append(Fault(raw=b"220 mail.example.org ESMTP\r\n"))
    assert get().body == b"220 mail.example.org ESMTP\r\n"


# --- no server


def test_a_server_that_is_down_refuses_and_comes_back_on_its_port(s3, get):
    with RawClient(s3.url) as old:
        assert old.get("/vbo/a").body == b"a"
        s3.down()
        assert old.rest()[1] in ("close", "reset")
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError), RawClient(s3.url):
                pass
        s3.up()
    assert get("/vbo/a").body == b"a"
    s3.down()
    s3.up()
    assert get("/vbo/a").body == b"a"


def test_a_server_that_is_down_may_keep_who_was_there(s3):
    with RawClient(s3.url) as old:
        assert old.get("/vbo/a").body == b"a"
        s3.down(keep_connections=True)
        assert old.get("/vbo/a").body == b"a"


def test_a_bug_of_a_script_fails_the_test():
    def broken(request):
        raise KeyError(request.key)

    s3 = ProgrammableS3()
    s3.faults.append(broken)
    with pytest.raises(BaseExceptionGroup, match="bugs"), s3:
        _end_of_one_request(s3.url)


def _end_of_one_request(url):
    with RawClient(url) as client:
        assert client.get("/vbo/real").end == "close"


def test_what_is_not_http_is_refused(s3):
    parts = urlsplit(s3.url)
    with socket.create_connection((parts.hostname, parts.port)) as sock:
        sock.sendall(b"hello\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 400")
