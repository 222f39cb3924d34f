"""The sample, mounted, as the tests of tests/mount have it."""

from __future__ import annotations

from tests.mount.conftest import ground, machines, sample_url, shared

__all__ = ["ground", "machines", "sample_url", "shared"]
