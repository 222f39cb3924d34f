"""What ``make chaos`` calls equal."""

from __future__ import annotations

import pytest

from tests.soak.chaos import differences


@pytest.fixture
def places(tmp_path):
    """Truths, which are links, and a copy of them with a view."""
    (tmp_path / "sample").write_bytes(b"published")
    truths, copy = tmp_path / "truths", tmp_path / "copy"
    for place in (truths, copy, copy / "by-mouse"):
        place.mkdir()
    (truths / "one.nwb").symlink_to(tmp_path / "sample")
    (copy / "one.nwb").write_bytes(b"published")
    (copy / "by-mouse/1.nwb").symlink_to("../one.nwb")
    return truths, copy


def test_a_copy_with_the_releases_views_is_equal(places):
    assert differences(*places) == []


@pytest.mark.parametrize("content", [b"Published", b"publish", b""])
def test_another_byte_is_a_difference(places, content):
    (places[1] / "one.nwb").write_bytes(content)
    assert differences(*places) == ["DIFFERENT: one.nwb"]


def test_a_file_that_is_missing_is_one(places):
    (places[1] / "one.nwb").unlink()
    assert differences(*places) == ["MISSING: one.nwb"]


def test_a_file_that_nobody_published_is_one(places):
    (places[1] / "two.nwb").write_bytes(b"")
    assert differences(*places) == ["NOT PUBLISHED: two.nwb"]
