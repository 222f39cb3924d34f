"""Manifests that are wrong: left out and reported, and the others stay."""

from __future__ import annotations

import copy
import os
import re

import pytest

from tests.mount.published import PROJECT, URL
from tests.mount.refusal import assert_refused
from vbofs import errors

GOOD = "9.0.0"
FILE = "behavior_sessions/one.nwb"
TABLE = "project_metadata/behavior_session_table.csv"


def at_url(path, base=f"{URL}/{PROJECT}/"):
    """An edit that has an entry of the manifest point elsewhere."""

    def edit(document):
        document["data_files"]["0"]["url"] = base + path
        return document

    return edit


def _without(field):
    return lambda document: {k: v for k, v in document.items() if k != field}


def _with(**fields):
    return lambda document: {**document, **fields}


def _entry_without(field):
    def edit(document):
        del document["data_files"]["0"][field]
        return document

    return edit


def _twice(path):
    """A second entry, at *path*."""

    def edit(document):
        second = copy.deepcopy(document["data_files"]["0"])
        second["url"] = f"{URL}/{PROJECT}/{path}"
        document["data_files"]["1"] = second
        return document

    return edit


#: What is wrong, and what must be said of it.
BAD = {
    "no JSON": (lambda document: b"<html>Sign in</html>", "not JSON"),
    "half": (lambda document: b'{"project_name": "visual', "not JSON"),
    "empty": (lambda document: b"", "not JSON"),
    "not UTF-8": (lambda document: b'{"project_name": "\xff\xfe"}', "not JSON"),
    "too deep": (lambda document: b"[" * 100_000, ""),
    "a list": (lambda document: b"[]", "array"),
    "a lacking field": (_without("data_files"), "data_files"),
    "an entry without version": (_entry_without("version_id"), "version_id"),
    "an entry without hash": (_entry_without("file_hash"), "file_hash"),
    "a wrong type": (_with(data_files=["one.nwb"]), "array"),
    "another release": (_with(manifest_version="7.7.7"), "7.7.7"),
    "another project": (_with(project_name="visual-coding"), "visual-coding"),
    "another host": (at_url("one.nwb", "https://evil.example/"), "evil.example"),
    "another bucket": (at_url(f"{PROJECT}/x", f"{URL}/".replace("visual", "virtual")), "bucket"),
    "another project's file": (at_url("x", f"{URL}/visual-coding/"), "visual-coding"),
    "a file of this machine": (at_url("/etc/passwd", "file://"), "URL"),
    "a way up": (at_url("a/../../x"), "'..'"),
    "a way up, quoted": (at_url("%2e%2e/x"), "'..'"),
    "two slashes": (at_url("a//b"), "component ''"),
    "a leading slash": (at_url("/a"), "component ''"),
    "a NUL": (at_url("a%00b"), "NUL"),
    "a long name": (at_url("n" * 256), "255 bytes"),
    "a long name in UTF-8": (at_url("%C3%A9" * 128), "255 bytes"),
    "no UTF-8": (at_url("%ff"), "URL"),
    "a path twice": (_twice(FILE), "two entries"),
    "a file where a directory is": (_twice("behavior_sessions"), "file and a directory"),
}


@pytest.fixture
def document(published):
    """A manifest that is right."""
    published.release(GOOD, {FILE: 1000, TABLE: b"a,b\n"})
    pins = {path: published.pin(GOOD, path) for path in (FILE, TABLE)}
    return lambda release: copy.deepcopy(published.document(release, pins))


def test_every_kind_of_bad_manifest_is_left_out_and_the_good_one_mounts(at_s3, published, document):
    for number, (edit, _) in enumerate(BAD.values()):
        published.manifest(f"0.{number}.0", edit(document(f"0.{number}.0")))
    at_s3.expect(r" WARNING .*: the manifest of v0\.\d+\.0 is left out: ")
    mounted = at_s3.mount()
    assert sorted(os.listdir(mounted.path)) == ["allensdk", "latest", "manifests", f"v{GOOD}"]
    assert os.listdir(mounted / "manifests") == [f"{PROJECT}_project_manifest_v{GOOD}.json"]
    assert (mounted / f"latest/{FILE}").read_bytes() == published.truth(GOOD, FILE)
    left_out = mounted.status()["left_out"]
    assert len(left_out) == len(BAD)
    for number, (name, (_, word)) in enumerate(BAD.items()):
        flaw = left_out[f"0.{number}.0"]
        assert flaw.startswith(f"the manifest of v0.{number}.0 is left out: "), name
        assert word in flaw, name
        assert "\n" not in flaw
        assert len(re.findall(f"WARNING .*manifest of v0.{number}.0 ", at_s3.log())) == 1, name
    for shown in (at_s3.run("status"), at_s3.run("releases")):
        assert shown.status == 0
        assert all(f"manifest of v0.{number}.0 is left out" in shown.out for number in (0, 16))


@pytest.mark.parametrize("name", ["no JSON", "a lacking field", "another host", "a way up"])
def test_a_bad_manifest_alone_is_refused(at_s3, published, document, name):
    published.s3.buckets.clear()
    edit, word = BAD[name]
    published.manifest("1.0.0", edit(document("1.0.0")))
    outcome = at_s3.run("mount")
    assert_refused(at_s3, outcome, errors.ManifestInvalid, "v1.0.0", word)
    at_s3.expect("WARNING .*v1.0.0 is left out")


def test_a_bad_release_that_is_asked_for_by_name_is_refused(at_s3, published, document):
    published.manifest("1.0.0", b"oops")
    outcome = at_s3.run("mount", "--release", "v1.0.0")
    assert_refused(at_s3, outcome, errors.ManifestInvalid, "v1.0.0", "not JSON")
    at_s3.expect("WARNING .*v1.0.0 is left out")


def test_a_manifest_that_has_been_mended_is_taken_in(at_s3, published, document):
    published.manifest("1.0.0", b"oops")
    at_s3.expect("WARNING .*v1.0.0 is left out")
    mounted = at_s3.mount()
    assert mounted.status()["releases"] == [GOOD]
    published.manifest("1.0.0", document("1.0.0"))
    assert at_s3.run("releases", "--refresh").status == 0
    status = mounted.status()
    assert (status["releases"], status["left_out"]) == (["1.0.0", GOOD], {})
    assert (mounted / f"v1.0.0/{FILE}").read_bytes() == published.truth(GOOD, FILE)


def test_files_that_are_gone_from_the_bucket_are_left_out_and_said_to_be(
    at_s3, published, document
):
    published.release("1.0.0", {FILE: 500, "behavior_sessions/gone.nwb": 500})
    gone = published.pin("1.0.0", "behavior_sessions/gone.nwb")
    published.s3.delete("visual-behavior-ophys-data", gone.key, gone.version_id)
    at_s3.expect("WARNING .*v1.0.0: 1 files are gone .*behavior_sessions/gone.nwb")
    mounted = at_s3.mount()
    assert os.listdir(mounted / "v1.0.0/behavior_sessions") == ["one.nwb"]
    assert (mounted / f"v1.0.0/{FILE}").read_bytes() == published.truth("1.0.0", FILE)


def test_names_that_are_no_release_are_no_directories(at_s3, published, document):
    for name in ("1.x", "1.0", "..", "1.0.0/../2"):
        published.manifest(name, document("1.0.0"))
    published.s3.put("visual-behavior-ophys-data", f"{PROJECT}/manifests/readme.txt", b"hello")
    mounted = at_s3.mount()
    assert sorted(os.listdir(mounted.path)) == ["allensdk", "latest", "manifests", f"v{GOOD}"]
