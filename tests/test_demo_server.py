"""The sample served: manifests that tell the truth, and S3's answers to reads."""

import hashlib
import http.client
import json
import random
import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config

from vbofs.demo import BUCKET, PROJECT, REGION, VERSIONS, DemoServer, publish

BIG = "behavior_ophys_experiments/behavior_ophys_experiment_951980471.nwb"


@pytest.fixture(scope="module")
def endpoint(sample, tmp_path_factory):
    server = DemoServer(tmp_path_factory.mktemp("server"))
    try:
        url = server.start()
        publish(sample, url)
        yield url
    finally:
        server.stop()


@pytest.fixture(scope="module")
def client(endpoint):
    """Anonymous, as the real bucket is read."""
    config = Config(
        signature_version=UNSIGNED, s3={"addressing_style": "path"}, max_pool_connections=16
    )
    made = boto3.client("s3", endpoint_url=endpoint, region_name=REGION, config=config)
    yield made
    made.close()


def manifest(client, version):
    key = f"{PROJECT}/manifests/{PROJECT}_project_manifest_v{version}.json"
    return json.loads(client.get_object(Bucket=BUCKET, Key=key)["Body"].read())


def entries(client, version):
    """(key, version id, digest) by path in the release."""
    document = manifest(client, version)
    prefix = f"https://{BUCKET}.s3.{REGION}.amazonaws.com/"
    found = {}
    for entry in (*document["metadata_files"].values(), *document["data_files"].values()):
        key = entry["url"].removeprefix(prefix)
        path = key.removeprefix(f"{PROJECT}/")
        found[path] = (key, entry["version_id"], entry["file_hash"])
    return found


def versions(client, **paging):
    return client.list_object_versions(Bucket=BUCKET, **paging)


# --- what is in the bucket


@pytest.mark.parametrize("version", VERSIONS)
def test_each_manifest_pins_the_bytes_of_its_release(sample, client, version):
    pinned = entries(client, version)
    paths = sample.release(version).paths
    assert pinned.keys() == paths.keys()
    for path, (key, version_id, digest) in pinned.items():
        answer = client.get_object(Bucket=BUCKET, Key=key, VersionId=version_id)
        body = answer["Body"].read()
        assert hashlib.blake2b(body).hexdigest() == digest
        assert body == paths[path].read_bytes()
        assert answer["VersionId"] == version_id


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_have_the_publishers_fields(sample, client, version):
    document = manifest(client, version)
    release = sample.release(version)
    assert document["project_name"] == PROJECT
    assert document["manifest_version"] == version
    assert document["metadata_file_id_column_name"] == "file_id"
    assert [step["name"] for step in document["data_pipeline"]] == ["AllenSDK"]
    assert document["data_files"].keys() == {file.ident for file in release.files}
    assert document["metadata_files"].keys() == {table.ident for table in release.tables}


def test_releases_that_share_a_file_pin_the_same_object_version(client):
    old, new = entries(client, "0.1.0"), entries(client, "0.2.0")
    kept = {path for path in old if path.endswith(".nwb")}
    assert all(old[path] == new[path] for path in kept)
    assert all(old[path] != new[path] for path in old.keys() - kept)


def test_a_key_has_one_object_version_per_revision_newest_first(client):
    key = f"{PROJECT}/{BIG}"
    listed = [v for v in versions(client, Prefix=key)["Versions"] if v["Key"] == key]
    pinned = [entries(client, version)[BIG][1] for version in ("1.1.0", "0.1.0")]
    assert [v["VersionId"] for v in listed] == pinned
    assert [v["IsLatest"] for v in listed] == [True, False]


def test_files_above_8_mib_have_the_etag_of_a_multipart_upload(client):
    for version in versions(client)["Versions"]:
        parts = -(-version["Size"] // (8 << 20))
        form = r'"[0-9a-f]{32}"' if parts <= 1 else rf'"[0-9a-f]{{32}}-{parts}"'
        assert re.fullmatch(form, version["ETag"]), version["Key"]
    assert any("-2" in version["ETag"] for version in versions(client, Prefix=PROJECT)["Versions"])


def test_the_release_notes_are_at_the_root(client):
    answer = client.get_object(Bucket=BUCKET, Key=f"{PROJECT}/release_notes.txt")
    notes = answer["Body"].read().decode()
    assert all(version in notes for version in VERSIONS)


def test_publishing_again_changes_nothing(sample, client, endpoint):
    before = versions(client)["Versions"]
    publish(sample, endpoint)
    assert versions(client)["Versions"] == before


# --- how it is read


@pytest.mark.parametrize("page", [1, 3, 10, 1000])
def test_a_listing_in_pages_is_the_whole_listing(client, page):
    whole = versions(client)["Versions"]
    listed, marks = [], {}
    while True:
        answer = versions(client, MaxKeys=page, Prefix=f"{PROJECT}/", **marks)
        listed += answer["Versions"]
        if not answer["IsTruncated"]:
            break
        marks = {
            "KeyMarker": answer["NextKeyMarker"],
            "VersionIdMarker": answer["NextVersionIdMarker"],
        }
    assert listed == whole


def test_head_tells_size_version_and_etag(sample, client):
    key, version_id, _digest = entries(client, "0.1.0")[BIG]
    answer = client.head_object(Bucket=BUCKET, Key=key, VersionId=version_id)
    assert answer["ContentLength"] == sample.release("0.1.0").paths[BIG].stat().st_size
    assert answer["VersionId"] == version_id
    assert answer["ETag"].endswith('-2"')


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("0-0", 0, 1),
        ("100-299", 100, 300),
        ("8388600-8388700", 8388600, 8388701),
        ("5000-", 5000, None),
    ],
)
def test_a_range_of_an_old_version_is_answered_as_s3_does(sample, client, asked, start, stop):
    key, version_id, _digest = entries(client, "0.1.0")[BIG]
    body = sample.release("0.1.0").paths[BIG].read_bytes()
    stop = stop or len(body)
    where = {"Bucket": BUCKET, "Key": key, "VersionId": version_id}
    answer = client.get_object(**where, Range=f"bytes={asked}")
    assert answer["Body"].read() == body[start:stop]
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert answer["ContentRange"] == f"bytes {start}-{stop - 1}/{len(body)}"
    assert answer["VersionId"] == version_id
    assert answer["ETag"] == client.head_object(**where)["ETag"]


def test_a_range_that_reaches_past_the_end_is_cut_there(sample, client):
    key, version_id, _digest = entries(client, "0.1.0")[BIG]
    body = sample.release("0.1.0").paths[BIG].read_bytes()
    reach = f"bytes={len(body) - 10}-{len(body) + 10}"
    answer = client.get_object(Bucket=BUCKET, Key=key, VersionId=version_id, Range=reach)
    assert answer["Body"].read() == body[-10:]


@pytest.mark.parametrize(
    ("key", "extra", "code"),
    [
        (f"{PROJECT}/{BIG}", {"Range": "bytes=999999999-"}, "InvalidRange"),
        (f"{PROJECT}/{BIG}", {"Range": "bytes=0-9", "VersionId": "none"}, "NoSuchVersion"),
        (f"{PROJECT}/none", {"Range": "bytes=0-9"}, "NoSuchKey"),
    ],
)
def test_what_is_not_there_is_refused_as_s3_does(client, key, extra, code):
    with pytest.raises(client.exceptions.ClientError) as refused:
        client.get_object(Bucket=BUCKET, Key=key, **extra)
    assert refused.value.response["Error"]["Code"] == code


def test_sixteen_readers_at_once_all_get_their_bytes(sample, client):
    pinned = entries(client, "1.1.0")
    bodies = {path: local.read_bytes() for path, local in sample.release("1.1.0").paths.items()}

    def read(seed):
        chance = random.Random(seed)
        path = chance.choice([BIG, *bodies])  # half of them in one file
        start = chance.randrange(len(bodies[path]))
        stop = min(start + chance.randrange(1, 1 << 18), len(bodies[path]))
        key, version_id, _digest = pinned[path]
        extent = f"bytes={start}-{stop - 1}"
        answer = client.get_object(Bucket=BUCKET, Key=key, VersionId=version_id, Range=extent)
        return answer["Body"].read() == bodies[path][start:stop]

    with ThreadPoolExecutor(16) as readers:
        assert all(readers.map(read, range(400)))


def test_a_connection_serves_many_requests(endpoint):
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=10)
    ports = set()
    for method in ("GET", "HEAD", "GET"):
        connection.request(method, f"/{BUCKET}/{PROJECT}/release_notes.txt")
        ports.add(connection.sock.getsockname())
        answer = connection.getresponse()
        answer.read()
        assert (answer.status, answer.version) == (200, 11)
    assert len(ports) == 1
    connection.close()
