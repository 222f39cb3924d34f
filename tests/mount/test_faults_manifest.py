"""Manifests that are changed, broken, emptied or withdrawn under a living mount."""

from __future__ import annotations

import os

import pytest

from tests.mount.published import BUCKET, MANIFESTS
from tests.mount.reading import forget, walked
from tests.mount.waiting import eventually

OLD = "behavior_sessions/old.nwb"
NEW = "behavior_sessions/new.nwb"
SIZE = 300_000


@pytest.fixture
def mounted(at_s3, published):
    """Two releases, of which the first has been looked into."""
    published.release("1.0.0", {OLD: SIZE})
    published.release("1.1.0", {OLD: published.pin("1.0.0", OLD), NEW: SIZE})
    mounted = at_s3.mount(VBOFS_REFRESH_INTERVAL="0")
    assert walked(mounted / "v1.0.0") == {OLD}
    at_s3.expect(r"WARNING .*(manifest|withdrawn|left out|new releases)")
    return mounted


def _looked(mounted, published):
    """Have the root looked at until the bucket has been asked."""
    published.s3.clear_log()
    eventually(lambda: os.listdir(mounted.path) and published.s3.requests)
    mounted.requests()


def _assert_as_it_was(mounted, published):
    assert {"v1.0.0", "v1.1.0", "latest"} <= set(os.listdir(mounted.path))
    for release, paths in (("1.0.0", {OLD}), ("1.1.0", {OLD, NEW})):
        assert walked(mounted / f"v{release}") == paths
        for path in paths:
            forget(mounted / f"v{release}/{path}")
            truth = published.truth(release, path)
            assert (mounted / f"v{release}/{path}").read_bytes() == truth


def test_a_manifest_that_is_replaced_changes_nothing_that_has_been_looked_into(mounted, published):
    assert walked(mounted / "v1.1.0") == {OLD, NEW}
    pin = published.pin("1.1.0", NEW)
    published.manifest("1.0.0", published.document("1.0.0", {"behavior_sessions/x.nwb": pin}))
    published.manifest("1.1.0", published.document("1.1.0", {NEW: published.pin("1.0.0", OLD)}))
    _looked(mounted, published)
    _assert_as_it_was(mounted, published)


def test_a_manifest_that_is_broken_changes_nothing_that_has_been_looked_into(mounted, published):
    assert walked(mounted / "v1.1.0") == {OLD, NEW}
    for body in (b"", b"{", b"[" * 100_000, b"\xff\xfe", b"{}"):
        published.manifest("1.0.0", body)
        _looked(mounted, published)
        _assert_as_it_was(mounted, published)


def test_releases_that_are_withdrawn_stay_as_they_are_and_come_back(mounted, published):
    assert walked(mounted / "v1.1.0") == {OLD, NEW}
    markers = [
        (key, published.s3.delete(BUCKET, key))
        for key in (f"{MANIFESTS}_v1.1.0.json", f"{MANIFESTS}_v1.0.0.json")
    ]
    for _ in markers:
        _looked(mounted, published)
        _assert_as_it_was(mounted, published)
    for key, marker in markers:
        published.s3.delete(BUCKET, key, marker)
    published.release("1.2.0", {NEW: SIZE // 2})
    eventually(lambda: "v1.2.0" in os.listdir(mounted.path))
    assert (mounted / f"latest/{NEW}").read_bytes() == published.truth("1.2.0", NEW)
    _assert_as_it_was(mounted, published)
