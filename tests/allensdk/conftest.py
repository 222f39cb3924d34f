"""The sample, mounted, as the tests of tests/mount have it."""

from __future__ import annotations

from tests.mount.conftest import ground, machines, shared

__all__ = ["ground", "machines", "shared"]
