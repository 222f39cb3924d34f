"""A manifest names URLs: none leads out of the bucket, no path leads out of its release."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import BUCKET, PROJECT, manifest
from tests.test_manifest import HERE, assert_refused, line, one, parsed
from vbofs.catalog.manifest import MAX_DEPTH
from vbofs.errors import ManifestInvalid

# --- URLs that lead elsewhere

ELSEWHERE = [
    f"https://evil.org/{PROJECT}/a",
    f"https://evil.org/{BUCKET}/{PROJECT}/a",
    f"https://other-bucket.s3.amazonaws.com/{PROJECT}/a",
    f"https://s3.amazonaws.com/other-bucket/{PROJECT}/a",
    f"https://{BUCKET}.s3.amazonaws.com.evil.org/{PROJECT}/a",
    f"https://{BUCKET}.s3.evil.org/{PROJECT}/a",
    f"https://{BUCKET}.s3.amazonaws.com:8080@evil.org/{PROJECT}/a",
    f"https://user:password@{BUCKET}.s3.amazonaws.com/{PROJECT}/a",
    f"https://evil.org@{BUCKET}.s3.amazonaws.com/{PROJECT}/a",
    f"https://{BUCKET}.s3.amazonaws.com:8080/{PROJECT}/a",
    f"https://{BUCKET}Xs3.amazonaws.com/{PROJECT}/a",
    f"https://{BUCKET}.s3.amazonawsXcom/{PROJECT}/a",
    f"https://x.{BUCKET}.s3.amazonaws.com/{PROJECT}/a",
    f"https://{BUCKET}.s3.amazonaws.com\\@evil.org/{PROJECT}/a",
    f"https://evil.org\\.{BUCKET}.s3.amazonaws.com/{PROJECT}/a",
    f"https://s3.evil.amazonaws.com.evil.org/{BUCKET}/{PROJECT}/a",
    f"https://[::1]/{BUCKET}/{PROJECT}/a",
    f"https://[::1/{PROJECT}/a",
    f"https://\u2100.{BUCKET}.s3.amazonaws.com/{PROJECT}/a",
    f"s3://other/{PROJECT}/a",
    f"s3://{BUCKET}@evil/{PROJECT}/a",
    f"file:///{PROJECT}/a",
    f"ftp://{BUCKET}.s3.amazonaws.com/{PROJECT}/a",
    f"javascript:{BUCKET}",
    f"//{BUCKET}.s3.amazonaws.com/{PROJECT}/a",
    f"/{PROJECT}/a",
    f"{HERE}/a#fragment",
    f"{HERE}/a?versionId=v2",
    f"{HERE}/a?versionId=v1&versionId=v2",
    f"{HERE}/a?versionId=v1&x=1",
    f"{HERE}/a?versionId=",
    f"{HERE}/a?acl",
]


@pytest.mark.parametrize("url", ELSEWHERE)
def test_a_url_that_leads_elsewhere_is_refused(url):
    assert_refused(manifest("1.0.0", {"1": line(url)}))


OUTSIDE = [
    f"{HERE}",
    f"{HERE}/",
    f"{HERE}//a",
    f"{HERE}/a//b",
    f"{HERE}/a/",
    f"{HERE}/.",
    f"{HERE}/..",
    f"{HERE}/../a",
    f"{HERE}/a/../../b",
    f"{HERE}/./a",
    f"{HERE}/%2e%2e/a",
    f"{HERE}/%2E%2E%2Fa",
    f"{HERE}/a%2F..%2F..%2Fb",
    f"{HERE}/%2Fetc%2Fpasswd",
    f"{HERE}/a%00b",
    f"{HERE}/a%ffb",
    f"{HERE}/%ed%a0%80",
    f"{HERE}x/a",
    f"https://{BUCKET}.s3.amazonaws.com/other/a",
    f"https://{BUCKET}.s3.amazonaws.com//{PROJECT}/a",
    f"https://{BUCKET}.s3.amazonaws.com/../{PROJECT}/a",
    f"https://{BUCKET}.s3.amazonaws.com/",
    f"https://{BUCKET}.s3.amazonaws.com",
    f"{HERE}/{'n' * 256}",
    f"{HERE}/{'d/' * MAX_DEPTH}a",
    f"{HERE}/{('d' * 200 + '/') * 20}a",
]


@pytest.mark.parametrize("url", OUTSIDE)
def test_a_path_that_cannot_stand_in_a_release_is_refused(url):
    assert_refused(manifest("1.0.0", {"1": line(url)}))


@pytest.mark.parametrize("field", ['"1\\ud800"', '"\\ud800"'], ids=["in the ident", "in the url"])
def test_a_lone_surrogate_is_refused_or_stays_out_of_paths(field):
    url = f"{HERE}/a" if "1" in field else f"{HERE}/\\ud800"
    ident = field if "1" in field else '"1"'
    document = json.dumps(manifest("1.0.0", {"ID": line("URL")}))
    document = document.replace('"ID"', ident).replace("URL", url)
    try:
        assert parsed(document.encode()).files[0].path == "a"
    except ManifestInvalid as error:
        str(error).encode()


def test_two_entries_with_one_path_are_refused():
    lines = {"1": line(), "2": line(f"{HERE}/a/b%2Enwb", "v2")}
    assert_refused(manifest("1.0.0", lines), "two entries have the path 'a/b.nwb'")
    assert_refused(manifest("1.0.0", {"1": line()}, {"t": line()}), "two entries")


def test_a_file_where_a_directory_is_is_refused():
    lines = {"1": line(f"{HERE}/a/b/c"), "2": line(f"{HERE}/a")}
    assert_refused(manifest("1.0.0", lines), "'a' is a file and a directory")


# --- anything at all

SEGMENT = st.sampled_from(
    ["a", "..", ".", "", "%2e%2e", "%2F", "%00", "%", "ü", " ", "\t", "\\", "?", "#", "@", PROJECT]
)
HOST = st.sampled_from([f"https://{BUCKET}.s3.amazonaws.com", f"s3://{BUCKET}", "https://e.org"])
URL = st.builds(lambda host, parts: "/".join([host, *parts]), HOST, st.lists(SEGMENT))


@given(st.one_of(URL, st.text()))
def test_any_url_is_refused_or_gives_a_path_that_stays_inside(url):
    try:
        path = one(url).path
    except ManifestInvalid:
        return
    names = path.split("/")
    assert not {"", ".", ".."} & set(names)
    assert "\0" not in path
    assert all(len(name.encode()) <= 255 for name in names)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_refused_or_are_a_manifest(document):
    with pytest.raises(ManifestInvalid):
        parsed(document)


@given(st.sampled_from(sorted(manifest("1.0.0", {}))), JSON)
def test_any_value_in_any_field_is_refused_or_understood(field, value):
    document = {**manifest("1.0.0", {"1": line()}, {"t": line(f"{HERE}/t")}), field: value}
    try:
        assert parsed(document).release == "1.0.0"
    except ManifestInvalid as error:
        assert "\n" not in str(error)
