"""The sample release: a small Visual Behavior Ophys, made here and served by moto on loopback.

Real names, ids and table rows; synthetic recordings.  Importing this costs nothing but the standard
library: pynwb, moto and boto3 are imported when something is made, served or published.
"""

from __future__ import annotations

from .publish import publish
from .releases import BUCKET, PROJECT, REGION, VERSIONS
from .sample import LocalFile, Sample, SampleRelease, build
from .server import DemoServer
from .trouble import DemoFailed, DemoUnavailable

__all__ = [
    "BUCKET",
    "PROJECT",
    "REGION",
    "VERSIONS",
    "DemoFailed",
    "DemoServer",
    "DemoUnavailable",
    "LocalFile",
    "Sample",
    "SampleRelease",
    "build",
    "publish",
]
