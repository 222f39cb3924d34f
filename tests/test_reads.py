"""What was read: never less than was read, sorted, and in bounded memory."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from vbofs.catalog.reads import Reads
from vbofs.catalog.record import Record, encode, parse, recorded
from vbofs.model import Blob, Extent, ObjectVersion

SIZE = 1 << 20


def blob(number=1):
    return Blob(ObjectVersion("bucket", f"p/{number}", "v"), SIZE, "e", 0, "ab" * 64)


def noted(*extents, **words):
    reads = Reads(**words)
    for start, stop in extents:
        reads.note(1, blob(), start, stop - start)
    return reads


def of(reads):
    return [tuple(extent) for _, extents in reads.files() for extent in extents]


def test_what_touches_or_overlaps_is_one_and_what_does_not_is_apart():
    assert of(noted((0, 10), (10, 20), (15, 30), (40, 50))) == [(0, 30), (40, 50)]
    assert of(noted((40, 50), (0, 10), (5, 45))) == [(0, 50)]
    assert of(noted((10, 20), (12, 15))) == [(10, 20)]


def test_nothing_read_is_nothing():
    reads = noted((5, 5))
    assert (of(reads), len(reads), reads.notes, reads.bytes) == ([], 0, 0, 0)


def test_files_are_told_apart():
    reads = Reads()
    for ino in (7, 8):
        reads.note(ino, blob(ino), ino, 10)
    assert [(b.version.key, e) for b, e in reads.files()] == [
        ("p/7", [Extent(7, 17)]),
        ("p/8", [Extent(8, 18)]),
    ]
    assert (len(reads), reads.bytes, reads.extents) == (2, 20, 2)


def test_only_the_first_open_is_the_first():
    reads = Reads()
    assert [reads.is_first_open(ino) for ino in (1, 1, 2, 1)] == [True, False, True, False]


def test_too_many_places_in_one_file_close_the_narrowest_gaps():
    reads = noted((0, 1), (2, 3), (100, 101), (103, 104), (1000, 1001), most_of_one=4)
    # The fifth extent is one too many, so half of four remain, around the widest gap.
    assert of(reads) == [(0, 104), (1000, 1001)]


def test_too_many_places_in_all_files_make_all_coarser():
    reads = Reads(most=20, most_of_one=100)
    for n in range(12):
        for ino in (1, 2):
            reads.note(ino, blob(ino), n * 10, 1)
    assert reads.extents <= 20
    assert len(reads) == 2
    assert all(extents[0].start == 0 and extents[-1].stop == 111 for _, extents in reads.files())


def test_many_files_are_kept_each_with_one_extent():
    reads = Reads(most=10)
    for ino in range(100):
        reads.note(ino, blob(ino), 5, 5)
    assert len(reads) == 100
    assert reads.extents == 100


EXTENT = st.tuples(st.integers(0, 5000), st.integers(1, 300)).map(lambda t: (t[0], sum(t)))


@given(st.lists(EXTENT, max_size=60), st.integers(2, 50), st.integers(2, 50))
def test_what_is_told_is_never_less_and_always_a_good_record(extents, most, most_of_one):
    reads = noted(*extents, most=most, most_of_one=most_of_one)
    told = of(reads)
    covered = {byte for start, stop in told for byte in range(start, stop)}
    read = {byte for start, stop in extents for byte in range(start, stop)}
    assert read <= covered
    if most > len(extents) and most_of_one > len(extents):
        assert covered == read
    assert len(told) <= most_of_one
    assert reads.extents == len(told)
    lines = [recorded("1", [], blob(), found) for _, found in reads.files()]
    now = datetime(2026, 5, 1, tzinfo=UTC)
    words = dict(dataset="d", bucket="bucket", project="p", region="r", vbofs="1")
    record = Record(**words, began=now, ended=now, files=lines)
    assert parse(encode(record)) == record
