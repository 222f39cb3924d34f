"""Metadata tables as typed frames, and who is in them.  The only room with pandas.

``frame`` indexes and types a table as AllenSDK does: ids and counts are integers that may be
absent, dates are UTC, lists are lists.  ``Files`` describes each file of a release by the row that
names it and, where that row says nothing, by the row of its session; ``Files.select`` finds.
"""

from __future__ import annotations

from .files import Files, Selection
from .releases import differences, releases
from .typed import frame

__all__ = ["Files", "Selection", "differences", "frame", "releases"]
