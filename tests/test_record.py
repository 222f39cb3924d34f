"""A record travels: what one vbofs writes another reads; what is none is refused in one line."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import BUCKET, PROJECT
from vbofs.catalog import record as catalog
from vbofs.catalog.record import Record, encode, parse, recorded
from vbofs.errors import RecordInvalid
from vbofs.model import Blob, Extent, ObjectVersion

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
DIGEST = "ab" * 64


def blob(path="behavior_sessions/a.nwb", version_id="v1", size=1000, digest=DIGEST):
    return Blob(ObjectVersion(BUCKET, f"{PROJECT}/{path}", version_id), size, "e-2", 7, digest)


def line(path="behavior_sessions/a.nwb", extents=((0, 10),), releases=("1.0.1",), **words):
    return recorded(path, releases, blob(path, **words), [Extent(*extent) for extent in extents])


def made(*files, **words):
    usual = dict(
        dataset="visual-behavior-ophys",
        bucket=BUCKET,
        project=PROJECT,
        region="us-west-2",
        vbofs="0.1.0",
        began=NOON,
        ended=NOON + timedelta(hours=1),
        files=list(files),
    )
    return Record(**{**usual, **words})


def document(*files, **words):
    """A good record as a dict, with *words* in place of what it says."""
    return {**json.loads(encode(made(*(files or (line(),))))), **words}


def file(**words):
    """A record of one file, of which *words* are other than they should be."""
    good = document()
    return {**good, "files": [{**good["files"][0], **words}]}


def assert_refused(wrong, match):
    text = wrong if isinstance(wrong, bytes) else json.dumps(wrong).encode()
    with pytest.raises(RecordInvalid, match=match) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


# --- what is good


def test_a_record_is_read_as_it_was_written():
    written = made(line("b/c.nwb", [(0, 10), (20, 30)]), line("a.csv", digest=""))
    found = parse(encode(written))
    assert found == by_path(written)
    assert found.bytes_read == 30
    assert found.blob(found.files[1]) == Blob(
        ObjectVersion(BUCKET, f"{PROJECT}/b/c.nwb", "v1"), 1000, "e-2", 0, DIGEST
    )


def by_path(record):
    return made(*sorted(record.files, key=lambda line: line.path))


def test_its_shape_is_the_one_that_is_promised():
    assert document() == {
        "vbofs_record": 1,
        "dataset": "visual-behavior-ophys",
        "bucket": BUCKET,
        "project": PROJECT,
        "region": "us-west-2",
        "vbofs": "0.1.0",
        "began": "2026-05-01T12:00:00Z",
        "ended": "2026-05-01T13:00:00Z",
        "files": [
            {
                "path": "behavior_sessions/a.nwb",
                "releases": ["1.0.1"],
                "key": f"{PROJECT}/behavior_sessions/a.nwb",
                "version_id": "v1",
                "etag": "e-2",
                "blake2b": DIGEST,
                "size": 1000,
                "extents": [[0, 10]],
            }
        ],
    }


def test_each_file_has_a_line_and_an_empty_record_is_json_too():
    text = encode(made(line("a.csv"), line("b.csv"))).decode()
    assert [row.strip()[:16] for row in text.splitlines() if '"path"' in row] == [
        '{"path":"a.csv",',
        '{"path":"b.csv",',
    ]
    assert json.loads(encode(made()))["files"] == []


def test_times_are_written_in_utc_and_may_be_read_in_any_zone():
    there = NOON.astimezone(timezone(timedelta(hours=-7)))
    assert json.loads(encode(made(began=there)))["began"] == "2026-05-01T12:00:00Z"
    assert parse(json.dumps(document(began="2026-05-01T05:00:00-07:00")).encode()).began == NOON


def test_its_releases_are_those_of_its_files_oldest_first():
    both = made(line("a", releases=["1.10.0", "1.9.0"]), line("b", releases=["1.9.0"]), line("c"))
    assert both.releases == ["1.0.1", "1.9.0", "1.10.0"]


def test_two_versions_of_one_path_are_two_files():
    assert len(parse(encode(made(line(), line(version_id="v2")))).files) == 2


def test_a_file_that_lies_in_no_release_and_of_which_nothing_was_read_is_no_flaw():
    found = parse(encode(made(line("release_notes.txt", extents=[], releases=[]))))
    assert (found.files[0].bytes_read, found.releases) == (0, [])


# --- what is not


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe{}", "not"),
        (b"[" * 100_000, "nested too deeply|not"),
        ([], "not a record"),
        ({}, "not a record"),
        (document(vbofs_record=2), "form 2; this vbofs reads form 1"),
        (document(bucket="../evil"), "its bucket"),
        (document(bucket="evil.example/x"), "its bucket"),
        (document(project="../.."), "its project"),
        (document(project="a//b"), "its project"),
        (document(region="us-west-2.evil.example"), "its region"),
        (document(dataset="a\nb"), "dataset"),
        (document(began="yesterday"), "began"),
        (document(began="2026-05-01T12:00:00"), "began"),
        (document(files={}), "files"),
    ],
)
def test_a_document_that_is_no_record_is_refused(wrong, match):
    assert_refused(wrong, match)


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (dict(path="../a", key=f"{PROJECT}/../a"), "component '..'"),
        (dict(path="/etc/passwd", key=f"{PROJECT}//etc/passwd"), "component ''"),
        (dict(path="a\0b", key=f"{PROJECT}/a\0b"), "NUL"),
        (dict(path="x" * 256, key=f"{PROJECT}/{'x' * 256}"), "255"),
        (dict(key="another-project/behavior_sessions/a.nwb"), "its key is not"),
        (dict(key=f"{PROJECT}/behavior_sessions/b.nwb"), "its key is not"),
        (dict(version_id="a\r\nHost: evil"), "version_id"),
        (dict(version_id=""), "version_id"),
        (dict(blake2b="zz"), "blake2b"),
        (dict(releases=["latest"]), "'latest' is not a release"),
        (dict(releases=["../1.0.1"]), "is not a release"),
        (dict(size=-1), "size"),
        (dict(size=1 << 60), "size"),
        (dict(extents=[[0, 1001]]), "outside its 1000 bytes"),
        (dict(extents=[[-1, 5]]), "extents"),
        (dict(extents=[[5, 5]]), "empty or outside"),
        (dict(extents=[[9, 5]]), "empty or outside"),
        (dict(extents=[[20, 30], [0, 10]]), "not sorted, or overlap"),
        (dict(extents=[[0, 10], [9, 20]]), "not sorted, or overlap"),
        (dict(extents=[[0, 1, 2]]), "extents"),
        (dict(extents=[[n, n + 1] for n in range(0, 2 * 4097, 2)]), "extents"),
    ],
)
def test_a_file_that_is_not_what_it_must_be_is_refused(words, match):
    assert_refused(file(**words), match)


def test_one_version_twice_is_refused():
    assert_refused(document(line(), line()), "twice")


def test_a_document_that_is_too_long_is_not_even_looked_at(monkeypatch):
    monkeypatch.setattr(catalog, "MAX_DOCUMENT", 10)
    assert_refused(document(), "10 are allowed")


@settings(max_examples=12)
@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.booleans(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        ),
    )
)
def test_any_value_in_any_place_is_refused_or_read_and_never_a_crash(value):
    for wrong in (
        *(document(**{name: value}) for name in document()),
        *(file(**{name: value}) for name in document()["files"][0]),
    ):
        try:
            parse(json.dumps(wrong).encode())
        except RecordInvalid as error:
            assert "\n" not in str(error)
