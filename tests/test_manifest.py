"""A manifest comes from outside: it is what it must be, or its release is left out."""

from __future__ import annotations

import json

import pytest

from tests.conftest import BUCKET, PROJECT, manifest, manifest_name
from vbofs.catalog import manifest as catalog
from vbofs.catalog.manifest import Origin, parse, release_of
from vbofs.errors import ManifestInvalid
from vbofs.model import ObjectVersion

HERE = f"https://{BUCKET}.s3.amazonaws.com/{PROJECT}"
ORIGIN = Origin(BUCKET, PROJECT)
LOCAL = Origin(BUCKET, PROJECT, "http://127.0.0.1:5000")
DIGEST = "aB" * 64


def line(url=f"{HERE}/a/b.nwb", version_id="v1", file_hash=DIGEST):
    return {"url": url, "version_id": version_id, "file_hash": file_hash}


def parsed(document, origin=ORIGIN):
    if not isinstance(document, bytes):
        document = json.dumps(document).encode()
    return parse(document, origin, "1.0.0")


def one(url, origin=ORIGIN, **words):
    """The entry of a manifest that has only this one."""
    return parsed(manifest("1.0.0", {"1": line(url, **words)}), origin).files[0]


def assert_refused(document, match=None, origin=ORIGIN):
    with pytest.raises(ManifestInvalid, match=match) as caught:
        parsed(document, origin)
    assert str(caught.value).startswith("the manifest of v1.0.0 is left out: ")
    assert "\n" not in str(caught.value)


# --- what is good


def test_a_good_manifest_says_what_it_pins():
    table = line(f"{HERE}/project_metadata/t.csv", "tv")
    found = parsed(manifest("1.0.0", {"77": line()}, {"t": table}))
    assert found.release == "1.0.0"
    assert found.file_id_column == "file_id"
    assert found.files == (("a/b.nwb", (BUCKET, f"{PROJECT}/a/b.nwb", "v1"), DIGEST.lower(), "77"),)
    assert [entry.ident for entry in found.entries] == ["t", "77"]


def test_a_manifest_may_be_empty_and_say_more_than_we_know():
    found = parsed(manifest("1.0.0", {}, data_pipeline=None, novelty={"x": 1}))
    assert found.entries == ()


SPELLINGS = [
    f"https://{BUCKET}.s3.amazonaws.com/{PROJECT}/a/b.nwb",
    f"http://{BUCKET}.s3.us-west-2.amazonaws.com/{PROJECT}/a/b.nwb",
    f"https://{BUCKET}.s3-us-west-2.amazonaws.com/{PROJECT}/a/b.nwb",
    f"https://{BUCKET}.s3.dualstack.us-west-2.amazonaws.com/{PROJECT}/a/b.nwb",
    f"https://{BUCKET.upper()}.S3.AmazonAWS.com/{PROJECT}/a/b.nwb",
    f"https://s3.us-west-2.amazonaws.com/{BUCKET}/{PROJECT}/a/b.nwb",
    f"s3://{BUCKET}/{PROJECT}/a/b.nwb",
    f"{HERE}/a/b.nwb?versionId=v1",
    f"{HERE}/%61/b%2Enwb",
]


@pytest.mark.parametrize("url", SPELLINGS)
def test_every_spelling_of_the_bucket_is_understood(url):
    assert one(url)[:2] == ("a/b.nwb", ObjectVersion(BUCKET, f"{PROJECT}/a/b.nwb", "v1"))


def test_the_endpoint_that_was_asked_may_name_itself():
    url = f"http://127.0.0.1:5000/{BUCKET}/{PROJECT}/a"
    assert one(url, LOCAL).path == "a"
    assert_refused(manifest("1.0.0", {"1": line(url)}), "not in the bucket")


@pytest.mark.parametrize(
    "name", ["a b", "ü", "a%b", "a+b", "...", "..a", "a\\b", "*", "-rf", "\x01"]
)
def test_an_odd_name_is_a_name(name):
    quoted = name.replace("%", "%25").replace("\x01", "%01")
    assert one(f"{HERE}/{quoted}").path == name


def test_names_may_be_as_long_as_linux_has_them():
    assert one(f"{HERE}/{'ü' * 127}").path == "ü" * 127
    assert_refused(manifest("1.0.0", {"1": line(f"{HERE}/{'ü' * 128}")}), "255 bytes")


# --- documents

DOCUMENTS = [
    b"",
    b"not JSON",
    b"\xff\xfe\x00",
    b"null",
    b"[]",
    b"42",
    b'{"a": ',
    b"<html><title>Guest network</title></html>",
    b"[" * 200_000,
    b'{"data_files":' * 100_000,
    b'{"project_name": "\xed\xa0\x80"}',
    b"\xef\xbb\xbf{}",
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=range(len(DOCUMENTS)))
def test_what_is_no_manifest_is_refused(document):
    assert_refused(document)


def test_a_document_beyond_all_reason_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(catalog, "MAX_DOCUMENT", 1000)
    assert_refused(b"x" * 1001, "1001 bytes; 1000 are allowed")


def test_more_entries_than_a_mount_can_hold_are_refused(monkeypatch):
    monkeypatch.setattr(catalog, "MAX_ENTRIES", 2)
    lines = {str(n): line(f"{HERE}/{n}") for n in range(3)}
    assert_refused(manifest("1.0.0", lines), "more than 2 entries")


@pytest.mark.parametrize(
    "field", ["project_name", "manifest_version", "metadata_files", "data_files"]
)
@pytest.mark.parametrize("value", ["missing", None, 1, "x", [], True, {"1": 5}])
def test_a_field_that_is_missing_or_of_another_type_is_refused(field, value):
    document = {**manifest("1.0.0", {}), field: value}
    if value == "missing":
        del document[field]
    assert_refused(document)


@pytest.mark.parametrize("field", ["url", "version_id", "file_hash"])
@pytest.mark.parametrize("value", [None, 1, "", [], {}, "missing"])
def test_an_entry_with_a_bad_field_is_refused(field, value):
    bad = {k: v for k, v in {**line(), field: value}.items() if v != "missing"}
    assert_refused(manifest("1.0.0", {"1": bad}))


@pytest.mark.parametrize("file_hash", ["ab" * 63, "ab" * 65, "zz" * 64, "ab" * 64 + "\n"])
def test_a_digest_that_is_none_is_refused(file_hash):
    assert_refused(manifest("1.0.0", {"1": line(file_hash=file_hash)}))


@pytest.mark.parametrize("version_id", ["v 1", "v\n1", "v1\n", "ü", "\x00", "v" * 1025, "v\x7f"])
def test_a_version_id_that_s3_cannot_have_given_is_refused(version_id):
    assert_refused(manifest("1.0.0", {"1": line(version_id=version_id)}))


def test_the_manifest_of_another_release_or_project_is_refused():
    assert_refused(manifest("1.0.1", {}), r"it is for '1\.0\.1'")
    assert_refused(manifest("1.0.0", {}, project_name="other"), "project 'other'")


# --- names of manifests


@pytest.mark.parametrize("release", ["0.1.0", "1.0.1", "10.20.30", "1.0.0-rc.1", "1.0.0+b"])
def test_the_name_of_a_manifest_tells_its_release(release):
    assert release_of(manifest_name(release), PROJECT) == release
    assert release_of(manifest_name(release), f"deep/{PROJECT}") == release


@pytest.mark.parametrize(
    "name",
    [
        manifest_name("1.0"),
        manifest_name("1.0.0/../.."),
        manifest_name("1.0.0\n"),
        manifest_name("1.0.0-" + "a" * 300),
        manifest_name("01.0.0"),
        "x" + manifest_name("1.0.0"),
        manifest_name("1.0.0") + ".bak",
        manifest_name("1.0.0", "another-project"),
        "",
    ],
)
def test_another_name_is_no_manifests(name):
    assert release_of(name, PROJECT) is None
