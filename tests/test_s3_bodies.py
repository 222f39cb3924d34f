"""Listings that want to exhaust memory: entities that expand, pages without end, packed bombs."""

from __future__ import annotations

import gzip
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.s3 import Fault
from tests.test_s3 import blob, common, fresh, server, shelf, store
from vbofs.errors import RemoteError
from vbofs.remote.s3_bodies import LARGEST_ANSWER, Bounded

__all__ = ["blob", "common", "fresh", "server", "shelf", "store"]

MIB = 1 << 20
LISTING = (
    b"<ListVersionsResult><IsTruncated>false</IsTruncated><Name>%s</Name></ListVersionsResult>"
)


def _bomb(levels=9):
    """A kilobyte that means ten to the *levels* laughs."""
    entities = b"".join(
        b'<!ENTITY a%d "%s">' % (level, b"&a%d;" % (level - 1) * 10)
        for level in range(1, levels + 1)
    )
    head = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "ha">%s]>' % entities
    return head + LISTING % (b"&a%d;" % levels)


@pytest.fixture
def answered(server):
    """``answered(body)``: every listing is this."""

    def answer(body, **more):
        server.faults = [Fault(operation=("LIST_VERSIONS", "LIST_V2"), body=body, **more)]

    return answer


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
async def test_a_listing_cannot_expand(encoding, answered, store):
    body = _bomb()
    answered(body if encoding == "utf-8" else body.decode().encode(encoding))
    tracemalloc.start()
    try:
        with pytest.raises(RemoteError, match=r"the listing of p/ .* entities"):
            await store.page("p/")
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


async def test_a_page_without_end_is_given_up(answered, store):
    answered(LISTING % (b"x" * (LARGEST_ANSWER + MIB)))
    with pytest.raises(RemoteError, match=r"the listing of p/ .* more than"):
        await store.page("p/")


async def test_a_packed_listing_is_not_unpacked(answered, store):
    answered(gzip.compress(LISTING % (b"x" * 64 * MIB)), headers={"Content-Encoding": "gzip"})
    tracemalloc.start()
    try:
        with pytest.raises(RemoteError):
            await store.page("p/")
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("status", [403, 404, 500, 503])
async def test_an_error_without_end_is_an_error(status, server, store):
    server.faults = [Fault(operation="LIST_VERSIONS", status=status, body=b"<x>" * (6 * MIB))]
    with pytest.raises(RemoteError):
        await store.page("p/")


@settings(max_examples=30)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.lists(
            st.sampled_from(
                [
                    "<ListVersionsResult>", "</ListVersionsResult>", "<Version>", "</Version>",
                    "<IsTruncated>true</IsTruncated>", "<IsTruncated>maybe</IsTruncated>",
                    "<Key>p/x</Key>", "<Key>../../etc</Key>", "<VersionId>1</VersionId>",
                    "<Size>-5</Size>", "<Size>9999999999999999999999</Size>", "<Size>x</Size>",
                    "<Size>5</Size>", '<ETag>"e"</ETag>', "<IsLatest>true</IsLatest>", "<Key/>",
                    "<LastModified>2023-11-10T09:30:00.000Z</LastModified>",
                    "<LastModified>yesterday</LastModified>", "&lt;", "&unknown;", "<![CDATA[",
                    "<LastModified>9999-99-99T99:99:99Z</LastModified>", "<DeleteMarker>",
                ]
            ),
            max_size=25,
        ).map(lambda words: "".join(words).encode()),
    )
)  # fmt: skip
async def test_no_listing_raises_anything_but_our_own(answered, store, body):
    answered(body)
    try:
        page = await store.page("p/")
    except RemoteError:
        return
    assert all(listed.facts.size >= 0 for listed in page.listed)


class Pieces:
    """A body of urllib3's that comes as a test says."""

    def __init__(self, *pieces):
        self.pieces, self.closed = pieces, False

    def stream(self, amount, decode_content):
        assert decode_content is False
        yield from self.pieces

    def close(self):
        self.closed = True


@pytest.mark.parametrize("cut", range(1, 8))
def test_an_entity_is_seen_wherever_the_body_is_cut(cut):
    word = b"<!ENTITY"
    raw = Pieces(b"x" * 50 + word[:cut], word[cut:] + b" a")
    with pytest.raises(ValueError, match="entities"):
        b"".join(Bounded(raw).stream())
    assert raw.closed


def test_what_is_small_comes_as_it_is():
    raw = Pieces(b"<a>", b"", b"<!DOCTYPE html>", b"\0" * 20)
    assert b"".join(Bounded(raw, 38).stream()) == b"<a><!DOCTYPE html>" + b"\0" * 20
    assert not raw.closed
