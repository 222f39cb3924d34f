"""Numbers to compare between two Pythons whose numpys are ten years apart."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np


def fingerprint(values: Any) -> str:
    """Equal for equal floats in equal order."""
    return hashlib.sha256(np.ascontiguousarray(values, dtype="<f8").tobytes()).hexdigest()
