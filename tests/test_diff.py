"""What differs between two releases' files: every path is told of once, by its bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vbofs.catalog.diff import Changed, FilesDiff, Renamed, compared
from vbofs.model import Blob, ObjectVersion


def blob(content, version="v", path="x"):
    digest = f"{content:0128x}" if isinstance(content, int) else content
    return Blob(ObjectVersion("b", f"p/{path}", version), 10, "e", 0, digest)


def files(**contents):
    return {path: blob(content, path=path) for path, content in contents.items()}


def test_each_kind_of_change_is_told():
    older = files(kept=1, changed=2, gone=3, here=4)
    newer = files(kept=1, changed=22, there=4, new=5)
    found = compared(older, newer)
    assert found.added == (("new", newer["new"]),)
    assert found.removed == (("gone", older["gone"]),)
    assert found.changed == (Changed("changed", older["changed"], newer["changed"]),)
    assert found.renamed == (Renamed("here", "there", older["here"]),)
    assert found.unchanged == 1


def test_bytes_that_were_published_anew_are_the_same_bytes():
    assert not compared({"a": blob(1, "v1")}, {"a": blob(1, "v2")})


def test_where_no_digest_is_published_the_version_decides():
    assert compared({"a": blob("", "v1")}, {"a": blob("", "v2")}).changed
    assert not compared({"a": blob("", "v1")}, {"a": blob("", "v1")})


def test_a_copy_is_an_added_file():
    found = compared(files(a=1), files(a=1, b=1))
    assert [path for path, _ in found.added] == ["b"]
    assert not found.renamed


def test_nothing_to_nothing_is_no_change():
    assert not compared({}, {})


def test_two_differences_add_up_in_the_order_of_paths():
    both = compared(files(b=1), files(b=2)) + compared(files(a=1), files(a=2))
    assert [one.path for one in both.changed] == ["a", "b"]
    assert isinstance(both, FilesDiff)


RELEASE = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 5), max_size=6)


@given(RELEASE, RELEASE)
def test_every_path_is_told_of_exactly_once_on_its_side(before, after):
    older, newer = files(**before), files(**after)
    found = compared(older, newer)
    changed = [one.path for one in found.changed]
    left = [path for path, _ in found.removed] + [one.before for one in found.renamed]
    assert len(changed) + len(left) + found.unchanged == len(older)
    assert sorted(left) == sorted(set(older) - set(newer))
    new = {path for path, _ in found.added} | {one.path for one in found.renamed}
    assert {path for path in newer if path not in older} <= new
    assert not {path for path, _ in found.added} & {one.path for one in found.renamed}


@given(RELEASE, RELEASE)
def test_it_says_what_allensdk_says(before, after):
    """AllenSDK's rule, as its own words have it: see tests/allensdk for AllenSDK itself."""
    expected = set()
    hashes = {digest: path for path, digest in sorted(after.items(), reverse=True)}
    for path, digest in before.items():
        if path in after:
            expected |= {(path, "changed")} if after[path] != digest else set()
        elif digest in hashes:
            expected.add((path, "renamed"))
        else:
            expected.add((path, "deleted"))
    expected |= {
        (path, "created")
        for path, digest in after.items()
        if path not in before and digest not in before.values()
    }
    found = compared(files(**before), files(**after))
    ours = {(one.path, "changed") for one in found.changed}
    ours |= {(one.before, "renamed") for one in found.renamed}
    ours |= {(path, "deleted") for path, _ in found.removed}
    known = {f"{digest:0128x}" for digest in before.values()}
    ours |= {(path, "created") for path, blob in found.added if blob.digest not in known}
    assert ours == expected
