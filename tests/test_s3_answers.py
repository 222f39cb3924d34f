"""What S3 says in place of an answer: each trouble has its name, and says what to do."""

from __future__ import annotations

import botocore.exceptions
import pytest

from tests.s3 import Fault, ProgrammableS3
from tests.test_s3 import (
    SIZE,
    assert_fails,
    blob,
    common,
    fetch,
    fresh,
    server,
    shelf,
    store,
    words,
)
from vbofs import errors
from vbofs.config import load
from vbofs.errors import RemoteError, WrongResponse
from vbofs.model import ObjectVersion
from vbofs.remote.s3_errors import Answer, error_of, error_of_answer

__all__ = ["blob", "common", "fresh", "server", "shelf", "store"]


# --- S3 says no

REGION = {"x-amz-bucket-region": "eu-west-1"}
ANSWERS = [
    (dict(status=400), WrongResponse, "answered 400 BadRequest", False),
    (dict(status=403), errors.AccessDenied, "denies p/file", False),
    (dict(status=401), errors.AccessDenied, "--profile", False),
    (dict(status=404), errors.ObjectMissing, "no longer has p/file", False),
    (dict(code="NoSuchVersion"), errors.ObjectMissing, "no longer has p/file", False),
    (dict(code="NoSuchBucket"), errors.BucketMissing, "check --dataset, --bucket", False),
    (dict(status=405), errors.ObjectMissing, "p/file", False),
    (dict(status=412), WrongResponse, "412", False),
    (dict(status=416), WrongResponse, "416", False),
    (dict(status=408, code="RequestTimeout"), RemoteError, "408", True),
    (dict(status=429), RemoteError, "429", True),
    (dict(status=500), RemoteError, "500 InternalError", True),
    (dict(status=503), RemoteError, "503 SlowDown", True),
    (dict(status=503, html=True), RemoteError, "503", True),
    (dict(status=403, html=True), errors.AccessDenied, "403", False),
    (dict(status=301, headers=REGION), errors.WrongRegion, "--region eu-west-1", False),
    (dict(status=301), errors.WrongRegion, "use another --region", False),
    (dict(status=400, code="AuthorizationHeaderMalformed"), errors.WrongRegion, "region", False),
    (dict(code="RequestTimeTooSkewed"), errors.ClockSkewed, "clock", False),
    (dict(status=403, code="RequestExpired"), errors.ClockSkewed, "clock", False),
]


@pytest.mark.parametrize(("fault", "kind", "text", "retryable"), ANSWERS, ids=words)
async def test_each_refusal_has_its_error_when_bytes_are_read(
    server, store, blob, fault, kind, text, retryable
):
    server.faults = [Fault(**fault)]
    await assert_fails(fetch(store, blob), kind, text, retryable=retryable)
    assert len(server.requests) == 1
    server.heal()
    await fetch(store, blob)


LISTING = [a for a in ANSWERS if a[1] not in (errors.ObjectMissing, errors.AccessDenied)]


@pytest.mark.parametrize(("fault", "kind", "text", "retryable"), LISTING, ids=words)
async def test_each_refusal_has_its_error_when_a_listing_is_read(
    server, store, blob, fault, kind, text, retryable
):
    server.faults = [Fault(**fault)]
    text = text if "p/file" not in text else ""
    await assert_fails(store.page("p/"), kind, text, retryable=retryable)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("way", ["fetch", "head", "page"])
async def test_a_redirect_is_never_followed(server, store, blob, status, way):
    with ProgrammableS3() as elsewhere:
        elsewhere.put("evil", "x", b"evil")
        server.faults = [Fault(status=status, location=f"{elsewhere.url}/evil/x", headers=REGION)]
        work = {
            "fetch": lambda: fetch(store, blob),
            "head": lambda: store.head(blob.version),
            "page": lambda: store.page("p/"),
        }[way]
        await assert_fails(work(), RemoteError, retryable=False)
        assert elsewhere.requests == []
        assert len(server.requests) == 1


# --- listings that lie


@pytest.mark.parametrize("lie", ["truncated", "malformed", "laughs"])
@pytest.mark.parametrize("denied", [False, True])
async def test_a_listing_that_is_no_xml_is_an_error(server, fresh, blob, lie, denied):
    server.faults = [Fault(operation=("LIST_VERSIONS", "LIST"), listing=lie)]
    if denied:
        server.faults.insert(0, Fault(operation="LIST_VERSIONS", status=403))
    await assert_fails(fresh.page("p/"), RemoteError, "the listing of p/")


@pytest.mark.parametrize("operation", ["LIST_VERSIONS", "LIST"])
async def test_a_sign_in_page_is_no_listing_of_nothing(server, fresh, blob, operation):
    server.faults = [Fault(operation=operation, html=True)]
    if operation == "LIST":
        server.faults.append(Fault(operation="LIST_VERSIONS", status=403))
    await assert_fails(fresh.page("p/"), RemoteError, "the listing of p/")


@pytest.mark.parametrize("denied", [False, True])
async def test_a_listing_that_never_ends_is_noticed(server, fresh, blob, denied):
    server.faults = [Fault(operation=("LIST_VERSIONS", "LIST"), listing="endless")]
    if denied:
        server.faults.insert(0, Fault(operation="LIST_VERSIONS", status=403))
    first = await fresh.page("p/")
    await assert_fails(fresh.page("p/", marker=first.marker), WrongResponse, "does not end")


@pytest.mark.parametrize("status", [403, 501])
async def test_where_versions_may_not_be_listed_objects_are_and_for_good(
    server, fresh, blob, status
):
    server.faults = [Fault(operation="LIST_VERSIONS", status=status)]
    for _ in range(2):
        [listed] = (await fresh.page("p/")).listed
        assert listed.version == ObjectVersion(blob.version.bucket, "p/file", "")
        assert listed.facts.size == SIZE
    assert server.counts() == {"LIST_VERSIONS": 1, "LIST": 2}


async def test_a_page_marker_of_the_other_kind_of_listing_begins_again(server, fresh, shelf):
    """Several listings may be under way when the first of them learns that it is denied."""
    for n in range(1005):
        shelf.put(f"p/{n:04}", b"")
    marker = (await fresh.page("p/")).marker
    server.faults = [Fault(operation="LIST_VERSIONS", status=403)]
    await fresh.page("q/")
    page = await fresh.page("p/", marker=marker)
    assert page.listed[0].version.key == "p/0000"


def test_a_servers_words_are_one_line_and_no_commands_to_a_terminal():
    said = Answer(500, "Odd\n", "two\nlines \x1b[2J" + "x" * 5000, {})
    message = str(error_of_answer(said, load({}, {}), "a file"))
    assert "answered 500 Odd for a file" in message
    said = said._replace(code="")
    message = str(error_of_answer(said, load({}, {}), "a file"))
    assert "two lines ?[2Jx" in message
    assert message.isprintable()
    assert len(message) < 1000


def test_a_signed_url_does_not_get_into_the_log():
    url = "https://b.s3.amazonaws.com/a/key?versionId=v&X-Amz-Credential=AKIA&X-Amz-Signature=abc"
    error = botocore.exceptions.ReadTimeoutError(endpoint_url=url)
    message = str(error_of(error, load({}, {}), "a file"))
    assert "https://b.s3.amazonaws.com/a/key?…" in message
    assert "abc" not in message
    assert "AKIA" not in message
