"""URLs that anyone can fetch: of that very version, whatever its key and its bucket are called."""

from __future__ import annotations

import json

import pytest

from tests.conftest import manifest
from vbofs.catalog.manifest import Origin, parse
from vbofs.catalog.urls import versioned_url
from vbofs.model import ObjectVersion

VERSION = ObjectVersion("bucket", "p/a/b.nwb", "J0U4ME.v_1")


def test_it_is_the_spelling_that_amazon_documents():
    found = versioned_url(VERSION, "us-west-2")
    assert found == "https://bucket.s3.us-west-2.amazonaws.com/p/a/b.nwb?versionId=J0U4ME.v_1"


def test_a_bucket_with_dots_stands_in_the_path():
    found = versioned_url(VERSION._replace(bucket="a.b"), "us-west-2")
    assert found == "https://s3.us-west-2.amazonaws.com/a.b/p/a/b.nwb?versionId=J0U4ME.v_1"


def test_china_has_a_domain_of_its_own():
    assert ".s3.cn-north-1.amazonaws.com.cn/" in versioned_url(VERSION, "cn-north-1")


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:5000", "http://127.0.0.1:5000/"])
def test_another_server_is_asked_in_path_style(endpoint):
    found = versioned_url(VERSION, "us-west-2", endpoint)
    assert found == "http://127.0.0.1:5000/bucket/p/a/b.nwb?versionId=J0U4ME.v_1"


@pytest.mark.parametrize(
    "name", ["a b.nwb", "ä.nwb", "a?b.nwb", "a#b.nwb", "a%2Fb.nwb", "a&b=c.nwb"]
)
@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:5000"])
@pytest.mark.parametrize("bucket", ["bucket", "a.bucket"])
def test_whatever_a_file_is_called_a_manifest_reader_finds_the_same_object(name, endpoint, bucket):
    version = ObjectVersion(bucket, f"visual-behavior-ophys/{name}", "x+/=&y")
    url = versioned_url(version, "us-west-2", endpoint)
    line = {"url": url, "version_id": "x+/=&y", "file_hash": "ab" * 64}
    document = json.dumps(manifest("1.0.0", {"1": line})).encode()
    found = parse(document, Origin(bucket, "visual-behavior-ophys", endpoint), "1.0.0")
    assert found.files[0].version == version
