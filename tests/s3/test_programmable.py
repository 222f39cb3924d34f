"""The programmable S3 tells the truth as moto does; how it lies is in the files beside this."""

from __future__ import annotations

import gzip
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import md5

import pytest

from tests.s3 import S3Process, content, multipart_etag
from tests.s3.conftest import BODY, SIZE
from tests.s3.rawclient import RawClient
from tests.s3.twins import anonymous, twins


@pytest.fixture(scope="module")
def both():
    with twins() as pair:
        yield pair


# --- the truth, against moto


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"Prefix": "a/"},
        {"Prefix": "none"},
        {"Delimiter": "/"},
        {"Delimiter": "/", "Prefix": "a/"},
        {"MaxKeys": 3},
        {"Bucket": "nobody.has.this"},
    ],
)
@pytest.mark.parametrize("operation", ["list_object_versions", "list_objects_v2"])
def test_a_listing_is_the_one_that_moto_gives(both, operation, words):
    theirs, ours = both.ask(operation, **words)
    assert ours == theirs


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize("delimiter", ["", "/"])
@pytest.mark.parametrize("operation", ["list_object_versions", "list_objects_v2"])
def test_pages_follow_each_other_as_motos_do(both, operation, delimiter, size):
    words = {"Delimiter": delimiter} if delimiter else {}
    theirs, ours = both.pages(operation, PaginationConfig={"PageSize": size}, **words)
    if operation == "list_object_versions" and delimiter:
        # moto does not count a prefix as an entry of the page, S3 does: compare what they add up to
        theirs, ours = [_entries(theirs)], [_entries(ours)]
    else:
        theirs, ours = _without_tokens(theirs), _without_tokens(ours)
    assert ours == theirs


@pytest.mark.parametrize("operation", ["get_object", "head_object"])
@pytest.mark.parametrize(
    "words",
    [
        *({"Range": f"bytes={one}"} for one in ["0-9", "5-", "-7", "10-99999", "-99999"]),
        *({"Range": f"bytes={one}"} for one in ["99999-", "-0", "5-2", "0-1,3-4"]),
        {},
        {"Key": "b ü+&<.txt"},
        {"Key": "nothing"},
        {"Key": "gone"},
        {"VersionId": "of-no-object"},
        {"IfMatch": '"of no object"'},
        {"Bucket": "nobody.has.this"},
    ],
)
def test_get_and_head_answer_as_moto_does(both, operation, words):
    theirs, ours = both.ask(operation, **{"Key": "a/1", **words})
    assert ours == theirs


@pytest.mark.parametrize("operation", ["get_object", "head_object"])
def test_an_old_version_is_the_one_that_moto_gives(both, operation):
    old = both.s3.buckets["twin.vbo"].versions("a/1")[1].version_id
    theirs, ours = both.ask(operation, Key="a/1", VersionId=old, Range="bytes=3-20")
    assert ours == theirs
    assert ours[1]["VersionId"] == old


@pytest.mark.parametrize("operation", ["get_bucket_location", "head_bucket"])
def test_a_bucket_is_described_as_moto_does(both, operation):
    theirs, ours = both.ask(operation)
    assert ours == theirs


# --- the truth, beyond moto


def test_a_delete_marker_asked_for_by_name_is_405(s3, raw):
    marker = s3.delete("vbo", "real")
    reply = raw.get(f"/vbo/real?versionId={marker}")
    assert (reply.status, reply.headers["x-amz-delete-marker"]) == (405, "true")
    assert b"<Code>MethodNotAllowed</Code>" in reply.body
    assert raw.get("/vbo/real").status == 404
    assert raw.get("/vbo/real?versionId=v1").body == BODY


def test_an_unversioned_bucket_names_its_versions_null(s3, raw):
    s3.create_bucket("flat", versioned=False)
    assert s3.put("flat", "k", b"one") == s3.put("flat", "k", b"two") == "null"
    assert "x-amz-version-id" not in raw.get("/flat/k").headers
    assert raw.get("/flat/k?versionId=null").body == b"two"
    assert b"<VersionId>null</VersionId>" in raw.get("/flat?versions").body


def test_a_host_may_begin_with_the_bucket(s3, raw):
    assert raw.get("/real", host="vbo.s3.us-west-2.amazonaws.com").body == BODY
    assert (s3.requests[-1].bucket, s3.requests[-1].key) == ("vbo", "real")


def test_the_newest_version_is_the_first_of_its_key(s3, raw):
    s3.put("vbo", "real", b"older", "v0", last_modified=1.0)
    ids = re.findall(rb"<VersionId>(.*?)</VersionId>", raw.get("/vbo?versions&prefix=real").body)
    assert ids == [b"v1", b"v0"]


def test_only_get_and_head_are_implemented(raw):
    assert raw.get("/vbo/real", method="PUT", content_length="0").status == 501


def test_virtual_bytes_are_the_same_from_everywhere(s3, raw):
    for start, stop in [(0, 1), (4095, 4097), (1, 1 << 20), (1234567, SIZE), (0, SIZE)]:
        reply = raw.get("/vbo/virtual?versionId=v1", range=f"bytes={start}-{stop - 1}")
        assert reply.body == content("virtual", "v1", start, stop)
        assert reply.headers["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    whole = content("virtual", "v1", 0, SIZE)
    assert s3.version("vbo", "virtual").read() == whole
    assert raw.get("/vbo/virtual").body == whole


def test_no_two_pages_of_virtual_bytes_are_alike():
    texts = [content("k", version, 0, SIZE) for version in ("v1", "v2")] + [
        content("l", "v1", 1 << 40, (1 << 40) + SIZE)
    ]
    pages = [text[at : at + 4096] for text in texts for at in range(0, SIZE, 4096)]
    assert len({page[:8] for page in pages}) == len(set(pages)) == len(pages)


def test_a_terabyte_of_virtual_objects_loads_at_once(s3):
    started = time.thread_time()  # What else runs on this machine is not its fault.
    for number in range(16_000):
        s3.put_virtual("big", f"behavior_sessions/{number:05}.nwb", 64 << 20)
    assert time.thread_time() - started < 3  # 0.3 on a quiet machine
    client = anonymous(s3.url)
    pages = client.get_paginator("list_object_versions").paginate(Bucket="big")
    found = [one for page in pages for one in page["Versions"]]
    client.close()
    assert sum(one["Size"] for one in found) == 16_000 * (64 << 20)
    assert found[0]["ETag"].endswith('-8"')


# --- catalogue


def _write_lists(folder):
    root = "https://vbo-data.s3.us-west-2.amazonaws.com/vbo/"
    old = [f"{root}project_metadata/t.csv?versionId=t1"]
    old += [f"{root}behavior_sessions/s_{n}.nwb?versionId=s{n}" for n in range(5)]
    new = [line.replace("versionId=t1", "versionId=t2") for line in old[:-1]]
    for name, lines in {"v0.1-0.3": old, "v1.1.0": new}.items():
        (folder / f"vbo_{name}.urls.txt.gz").write_bytes(gzip.compress("\n".join(lines).encode()))


@pytest.mark.parametrize("exact", [False, True])
def test_a_catalogue_pins_every_release(s3, raw, tmp_path, exact):
    _write_lists(tmp_path)
    (tmp_path / "t.csv").write_bytes(b"id\n1\n")
    loaded = s3.load_catalogue(tmp_path, scale=0.001, exact=exact, tables=tmp_path)
    assert (list(loaded.releases), loaded.versions) == (["0.1.0", "1.1.0"], 7)
    manifest = json.loads(raw.get(f"/vbo-data/{loaded.manifests['1.1.0']}").body)
    assert (manifest["project_name"], len(manifest["data_files"])) == ("vbo", 4)
    table = manifest["metadata_files"]["t"]
    version = s3.version("vbo-data", "vbo/project_metadata/t.csv", table["version_id"])
    assert (version.read(), version.digest()) == (b"id\n1\n", table["file_hash"])
    entry = manifest["data_files"]["0"]
    version = s3.version("vbo-data", "vbo/behavior_sessions/s_0.nwb", "s0")
    assert entry["url"].endswith(version.key)
    assert len(entry["file_hash"]) == 128
    assert (entry["file_hash"] == version.digest()) is exact
    assert (version.etag == multipart_etag([version.read()])) is exact


# --- the log, latency, bandwidth


def test_the_log_tells_what_was_asked_and_sent(s3, raw):
    raw.get("/vbo/real?versionId=v1", range="bytes=10-19")
    raw.get("/vbo?versions&prefix=re")
    raw.get("/vbo/real", method="HEAD")
    first, second, third = s3.requests
    assert (first.operation, first.bucket, first.key) == ("GET", "vbo", "real")
    assert (first.version_id, first.range) == ("v1", (10, 20))
    assert (first.status, first.sent, first.connection) == (206, 10, third.connection)
    assert (second.operation, second.prefix, third.operation) == ("LIST_VERSIONS", "re", "HEAD")
    assert third.sent == 0
    assert first.arrived <= first.finished <= second.arrived
    assert s3.counts() == {"GET": 1, "LIST_VERSIONS": 1, "HEAD": 1}
    assert s3.bytes_sent == 10 + second.sent
    s3.clear_log()
    assert s3.requests == []


def test_the_peak_of_requests_in_flight_is_seen(s3):
    s3.delay = 0.1
    _at_once(s3, 5)
    assert (s3.peak_in_flight, s3.in_flight) == (5, 0)
    assert len({one.connection for one in s3.requests}) == 5


def test_a_delay_holds_every_answer(s3, raw):
    s3.delay = 0.15
    assert _seconds(lambda: raw.get("/vbo/real")) >= 0.15


def test_a_handshake_holds_the_first_answer_of_a_connection(s3, raw):
    assert _seconds(lambda: raw.get("/vbo/real")) < 0.15
    s3.handshake = 0.15
    assert _seconds(lambda: raw.get("/vbo/real")) < 0.15
    with RawClient(s3.url) as another:
        assert _seconds(lambda: another.get("/vbo/real")) >= 0.15
        assert _seconds(lambda: another.get("/vbo/real")) < 0.15


def test_a_rate_is_kept_by_each_connection_or_by_all(s3):
    s3.rate = len(BODY) / 0.2
    assert _seconds(lambda: _at_once(s3, 2)) >= 0.2
    s3.rate, s3.total_rate = None, len(BODY) / 0.2
    assert _seconds(lambda: _at_once(s3, 2)) >= 0.4


def _at_once(s3, number):
    def get(gate):
        with RawClient(s3.url) as client:
            gate.wait()
            assert client.get("/vbo/real").body == BODY

    gate = threading.Barrier(number)
    with ThreadPoolExecutor(number) as pool:
        list(pool.map(get, [gate] * number))


def _seconds(call):
    started = time.monotonic()
    call()
    return time.monotonic() - started


def _without_tokens(pages):
    return [{name: page[name] for name in page if name != "ContinuationToken"} for page in pages]


def _entries(pages):
    return {
        name: [one for page in pages for one in page.get(name, [])]
        for name in ("Versions", "DeleteMarkers", "CommonPrefixes")
    }


def test_two_processes_do_not_share_a_lock():
    with S3Process("--delay", "0.01") as process, RawClient(process.url) as client:
        process.command("put_virtual", bucket="b", key="k", size=100, version_id="v")
        process.command("fault", status=503, times=1)
        assert client.get("/b/k").status == 503
        assert client.get("/b/k").body == content("k", "v", 0, 100)
        assert [one["status"] for one in process.command("requests")] == [503, 200]


def test_multipart_etags_are_md5s_of_md5s():
    digests = md5(b"a").digest() + md5(b"b").digest()
    assert multipart_etag([b"a", b"b"]) == f'"{md5(digests).hexdigest()}-2"'
