"""As many open files as a test needs."""

from __future__ import annotations

import os
import resource
from contextlib import contextmanager

import pytest


@contextmanager
def descriptors(wanted):
    """This process may open *wanted* files more meanwhile; the test is skipped where it may not."""
    wanted += len(os.listdir("/proc/self/fd"))  # A test that failed before holds what it had open.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this machine allows no more than {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
