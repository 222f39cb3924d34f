"""Where an object version lies in the releases: under which path, and as which file id.

A manifest says what a release pins; this is the way back.  It is made of all manifests at once,
when somebody first asks, and again when a release has been published since; a mount whose users
never ask pays nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import trio

from ..catalog.manifest import Entry
from ..model import ObjectVersion
from . import Dataset


class Place(NamedTuple):
    """*path* is the same in all *releases*, oldest first, for it is the key's; *idents* are the
    file ids that they have for it: one, mostly; none for a table."""

    path: str
    releases: tuple[str, ...]
    idents: tuple[str, ...]


class Places:
    """The places of *dataset*'s object versions."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._known: dict[ObjectVersion, Place] = {}
        self._releases: list[str] = []
        self._asking = trio.Lock()

    def __repr__(self) -> str:
        return f"<Places {len(self._known)} versions in {len(self._releases)} releases>"

    async def of(self, version: ObjectVersion) -> Place:
        """The place of *version*; one that no release pins lies in none.  RemoteError if a
        manifest cannot be had."""
        async with self._asking:
            if self._releases != list(self._dataset.releases):
                await self._read()
        path = version.key.removeprefix(f"{self._dataset.project}/")
        return self._known.get(version) or Place(path, (), ())

    async def _read(self) -> None:
        releases = list(self._dataset.releases)
        found: dict[ObjectVersion, Place] = {}
        for release in releases:
            manifest = await self._dataset.manifest(release)
            for entry in manifest.tables:
                _note(found, entry, release, set())
            for entry in manifest.files:
                _note(found, entry, release, {entry.ident})
            await trio.lowlevel.checkpoint()  # Each takes a moment, and readers wait.
        self._known, self._releases = found, releases


def _note(found: dict[ObjectVersion, Place], entry: Entry, release: str, idents: set[str]) -> None:
    before = found.get(entry.version) or Place(entry.path, (), ())
    found[entry.version] = Place(
        entry.path,
        (*before.releases, release),
        (*before.idents, *(idents - {*before.idents})),
    )
