"""A soak of a few seconds, so that the long one cannot rot."""

from __future__ import annotations

import pytest

from tests.mount.conftest import _why_not
from tests.soak.soak import Soak

pytestmark = pytest.mark.skipif(bool(_why_not()), reason=_why_not())


def test_a_short_soak_finds_nothing(sample):
    soak = Soak(seconds=8, readers=8, seed=20, sample=sample)
    assert soak.run(), soak.summary()
    assert soak.ledger.latencies
    assert soak.ledger.fired
