"""A bucket that is reached over TLS, as S3 is."""

from __future__ import annotations

import pytest

from tests.mount.family import children
from tests.s3.secure import SecureFront

FILE = "behavior_sessions/one.nwb"
SIZE = (24 << 20) + 321


@pytest.fixture
def front(s3, published, tmp_path):
    published.release("1.0.0", {FILE: SIZE})
    with SecureFront(s3.url, tmp_path) as made:
        yield made


@pytest.fixture
def at_front(machines, front):
    """A machine that has only heard of the bucket's address with TLS."""
    made = machines(front.url)
    yield made
    made.clean()


def test_a_file_is_read_right_by_both_processes(at_front, front, published):
    mounted = at_front.mount(AWS_CA_BUNDLE=str(front.bundle))
    outcome = at_front.execute("sha256sum", str(mounted / f"v1.0.0/{FILE}"))
    assert outcome.status == 0
    assert (mounted / f"v1.0.0/{FILE}").read_bytes() == published.truth("1.0.0", FILE)
    assert children(mounted.pid)
    assert published.s3.bytes_sent < SIZE + (1 << 20)


def test_an_authority_that_nobody_knows_is_told_in_one_line(at_front):
    at_front.expect("is not trusted")
    outcome = at_front.run("mount")
    assert outcome.status == 31
    assert "AWS_CA_BUNDLE" in outcome.err
    assert outcome.err.count("\n") == 1
