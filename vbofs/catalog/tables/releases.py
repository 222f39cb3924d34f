"""Releases as tables: which there are, and what differs between two."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from ..diff import FilesDiff


def releases(rows: Iterable[tuple[str, int, int, int]]) -> pd.DataFrame:
    """Releases as a table, from name, time in seconds since 1970, files and bytes."""
    made = pd.DataFrame(rows, columns=["release", "published", "files", "bytes"])
    made["published"] = pd.to_datetime(made["published"], unit="s", utc=True)
    return made.set_index("release")


def differences(diff: FilesDiff) -> pd.DataFrame:
    """A row for each file that is not as it was: *was* is its path before, where that differs."""
    rows = [
        *(("added", path, "", None, blob.size) for path, blob in diff.added),
        *(("removed", path, "", blob.size, None) for path, blob in diff.removed),
        *(("changed", path, "", before.size, after.size) for path, before, after in diff.changed),
        *(("renamed", path, before, blob.size, blob.size) for before, path, blob in diff.renamed),
    ]
    made = pd.DataFrame(rows, columns=["change", "path", "was", "bytes_before", "bytes_after"])
    return made.astype({"bytes_before": "Int64", "bytes_after": "Int64"})
