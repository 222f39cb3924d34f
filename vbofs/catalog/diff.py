"""What differs between two releases: which files, by what their manifests pin.  Pure.

Two entries are the same where their digests are, whatever their versions: that is how AllenSDK's
``compare_manifests`` compares, and names and numbers agree with it.  It knows files that are
created, deleted, changed and renamed; a name that appears with bytes that the older release has
under another name is a new file here, and nothing to AllenSDK.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ..model import Blob

#: Files of a release by path.
Files = Mapping[str, Blob]


class Changed(NamedTuple):
    """A path whose bytes differ, from *before* to *after*."""

    path: str
    before: Blob
    after: Blob


class Renamed(NamedTuple):
    """Bytes that were at *before* and are at *path*."""

    before: str
    path: str
    blob: Blob


@dataclass(frozen=True)
class FilesDiff:
    """What happened to the files, each kind by path; *unchanged* is how many are as they were."""

    added: tuple[tuple[str, Blob], ...]
    removed: tuple[tuple[str, Blob], ...]
    changed: tuple[Changed, ...]
    renamed: tuple[Renamed, ...]
    unchanged: int

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.renamed)

    def __add__(self, other: FilesDiff) -> FilesDiff:
        return FilesDiff(
            tuple(sorted(self.added + other.added)),
            tuple(sorted(self.removed + other.removed)),
            tuple(sorted(self.changed + other.changed)),
            tuple(sorted(self.renamed + other.renamed)),
            self.unchanged + other.unchanged,
        )


def compared(older: Files, newer: Files) -> FilesDiff:
    """From *older* to *newer*."""
    places = _by_digest(newer)
    renamed = tuple(
        Renamed(path, places[_identity(blob)], blob)
        for path, blob in sorted(older.items())
        if path not in newer and _identity(blob) in places
    )
    moved = {one.before for one in renamed}
    arrived = {one.path for one in renamed}
    both = [path for path in sorted(older) if path in newer]
    changed = tuple(
        Changed(path, older[path], newer[path])
        for path in both
        if _identity(older[path]) != _identity(newer[path])
    )
    return FilesDiff(
        added=_without(newer, {*older, *arrived}),
        removed=_without(older, {*newer, *moved}),
        changed=changed,
        renamed=renamed,
        unchanged=len(both) - len(changed),
    )


def _without(files: Files, paths: set[str]) -> tuple[tuple[str, Blob], ...]:
    return tuple((path, blob) for path, blob in sorted(files.items()) if path not in paths)


def _by_digest(files: Files) -> dict[str, str]:
    """Of several paths with the same bytes the first in the alphabet."""
    return {_identity(blob): path for path, blob in sorted(files.items(), reverse=True)}


def _identity(blob: Blob) -> str:
    return blob.digest or blob.ident
