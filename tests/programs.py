"""Programs that a test wants and a machine may not have."""

from __future__ import annotations

import shutil

import pytest


def needs(program, package=""):
    """Skip the test where *program* is not installed; *package* brings it."""
    hint = f": apt install {package}" if package else ""
    return pytest.mark.skipif(
        shutil.which(program) is None, reason=f"{program} is not installed{hint}"
    )
