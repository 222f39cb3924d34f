"""What the tests of faults share: a server with three objects, and two ways to ask it."""

from __future__ import annotations

import pytest

from tests.s3 import ProgrammableS3
from tests.s3.rawclient import RawClient

BODY = bytes(range(256)) * 400
SIZE = 3 << 20


@pytest.fixture
def s3():
    with ProgrammableS3() as server:
        server.put("vbo", "real", BODY, "v1")
        server.put("vbo", "a", b"a", "v1")
        server.put_virtual("vbo", "virtual", SIZE, "v1")
        yield server


@pytest.fixture
def raw(s3):
    with RawClient(s3.url) as client:
        yield client


@pytest.fixture
def get(s3):
    """Ask over a connection of its own, so that one that breaks is no one else's."""

    def ask(target="/vbo/real", *, method="GET", patience=5, **headers):
        with RawClient(s3.url, patience=patience) as client:
            return client.get(target, method=method, **headers)

    return ask
