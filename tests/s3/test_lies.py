"""The programmable S3 lies exactly as it is told: heads, bodies, errors, listings."""

from __future__ import annotations

import gzip
from xml.etree import ElementTree

import pytest

from tests.s3 import Fault, content
from tests.s3.conftest import BODY, SIZE

# --- what the head says


def test_more_bytes_than_promised_follow_on_a_living_connection(s3, raw):
    s3.faults.append(Fault(long_body=7, times=1))
    assert raw.get("/vbo/real").body == BODY
    assert raw.reply_body(7) == b"\xee" * 7
    assert raw.get("/vbo/a").body == b"a"


@pytest.mark.parametrize("lie", [-5, 5])
def test_a_content_length_lies_by_so_much(s3, raw, lie):
    s3.faults.append(Fault(content_length_lie=lie))
    reply = raw.get("/vbo/real")
    assert int(reply.headers["content-length"]) == len(BODY) + lie
    assert reply.body == BODY[: len(BODY) + lie]
    assert raw.rest() == (BODY[len(BODY) + lie :] if lie < 0 else b"", "close")


def test_a_body_lacks_its_end_and_its_length_agrees(s3, get):
    s3.faults.append(Fault(truncate_body=10))
    reply = get(range="bytes=0-99")
    assert (reply.body, reply.headers["content-length"]) == (BODY[:90], "90")
    assert reply.headers["content-range"] == f"bytes 0-99/{len(BODY)}"


def test_a_content_range_tells_of_other_bytes(s3, get):
    s3.faults.append(Fault(content_range_shift=50))
    reply = get(range="bytes=0-9")
    assert reply.headers["content-range"] == f"bytes 50-59/{len(BODY)}"
    assert reply.body == BODY[:10]


def test_any_header_may_be_set_or_left_out(s3, get):
    wrong = {"etag": '"wrong"', "X-Amz-Version-Id": "v2", "Content-Range": "junk"}
    s3.faults.append(Fault(headers={**wrong, "Last-Modified": None}))
    headers = get(range="bytes=0-9").headers
    assert (headers["etag"], headers["x-amz-version-id"]) == ('"wrong"', "v2")
    assert headers["content-range"] == "junk"
    assert "last-modified" not in headers


def test_a_range_is_answered_with_the_whole(s3, get):
    s3.faults.append(Fault(whole=True))
    reply = get("/vbo/virtual", range="bytes=5-9")
    assert (reply.status, reply.headers.get("content-range")) == (200, None)
    assert reply.body == content("virtual", "v1", 0, SIZE)


def test_a_body_comes_packed(s3, get):
    s3.faults.append(Fault(gzip=True))
    reply = get(range="bytes=0-999")
    assert reply.headers["content-encoding"] == "gzip"
    assert gzip.decompress(reply.body) == BODY[:1000]


# --- what the body is


@pytest.mark.parametrize("key", ["real", "virtual"])
def test_one_bit_is_wrong(s3, get, key):
    s3.faults.append(Fault(flip_at=70_000))
    body, truth = get(f"/vbo/{key}", range="bytes=10-90009").body, s3.version("vbo", key)
    wrong = [at for at, byte in enumerate(truth.read(10, 90010)) if body[at] != byte]
    assert wrong == [70_000]
    assert (body[70_000] ^ truth.read(70_010, 70_011)[0]).bit_count() == 1


@pytest.mark.parametrize("key", ["real", "virtual"])
def test_the_bytes_of_another_place_come_under_a_true_head(s3, get, key):
    s3.faults.append(Fault(shift_body=1))
    reply, truth = get(f"/vbo/{key}", range="bytes=0-99"), s3.version("vbo", key)
    assert reply.headers["content-range"] == f"bytes 0-99/{truth.size}"
    assert reply.body == truth.read(1, 101)


def test_other_bytes_come_instead(s3, get):
    s3.faults.append(Fault(body=b"{}"))
    assert get().body == b"{}"


@pytest.mark.parametrize("status", [200, 403, 503])
def test_html_comes_instead(s3, get, status):
    s3.faults.append(Fault(html=True, status=status))
    reply = get()
    assert (reply.status, reply.headers["content-type"]) == (status, "text/html")
    assert reply.body.startswith(b"<html>")


# --- an error instead

STATUSES = [400, 403, 404, 412, 416, 429, 500, 503]
CODES = {
    "SlowDown": 503,
    "AccessDenied": 403,
    "RequestTimeTooSkewed": 403,
    "NoSuchBucket": 404,
    "InternalError": 500,
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", STATUSES)
def test_any_status_is_answered_and_the_connection_lives(s3, raw, status, method):
    s3.faults.append(Fault(status=status, times=1))
    reply = raw.get("/vbo/real", method=method)
    assert reply.status == status
    assert bool(reply.body) is (method == "GET")
    assert raw.get("/vbo/a").body == b"a"
    assert s3.requests[0].status == status


@pytest.mark.parametrize(("code", "status"), CODES.items())
def test_a_code_brings_its_status_and_xml(s3, get, code, status):
    s3.faults.append(Fault(code=code))
    reply = get()
    assert reply.status == status
    assert ElementTree.fromstring(reply.body).findtext("Code") == code


@pytest.mark.parametrize("status", [301, 307])
def test_a_redirect_names_its_place(s3, get, status):
    region = {"x-amz-bucket-region": "eu-west-1"}
    s3.faults.append(Fault(status=status, location="http://10.0.0.1/x", headers=region))
    reply = get()
    assert (reply.status, reply.headers["location"]) == (status, "http://10.0.0.1/x")
    assert reply.headers["x-amz-bucket-region"] == "eu-west-1"
    assert b"<Endpoint>10.0.0.1</Endpoint>" in reply.body


# --- listings


@pytest.mark.parametrize("lie", ["truncated", "malformed"])
def test_a_listing_is_no_xml(s3, get, lie):
    s3.faults.append(Fault(listing=lie))
    with pytest.raises(ElementTree.ParseError):
        ElementTree.fromstring(get("/vbo?versions").body)
    assert get("/vbo/real").body == BODY


def test_a_listing_would_expand_a_thousand_million_times(s3, get):
    s3.faults.append(Fault(listing="laughs"))
    body = get("/vbo?versions").body
    assert b"<!DOCTYPE" in body
    assert body.count(b"<!ENTITY") == 11


def test_a_listing_is_edited_at_will(s3, get):
    s3.faults.append(Fault(listing=lambda xml: xml.replace(b"<Size>1</Size>", b"<Size>-1</Size>")))
    assert b"<Size>-1</Size>" in get("/vbo?list-type=2").body


@pytest.mark.parametrize(
    ("kind", "tail"),
    [
        ("versions", "key-marker=the-same&version-id-marker=null"),
        ("list-type=2", "continuation-token=the-same"),
    ],
)
def test_a_listing_never_ends(s3, get, kind, tail):
    s3.faults.append(Fault(listing="endless"))
    first, later = get(f"/vbo?{kind}&max-keys=1").body, get(f"/vbo?{kind}&max-keys=1&{tail}").body
    for body in (first, later):
        assert b"<IsTruncated>true</IsTruncated>" in body
        assert body.count(b">the-same</Next") == 1
        assert b"<Key>a</Key>" in body
