"""Sizes, ETags and times of object versions: manifests do not have them.  Kept for ever.

One listing of a directory tells them of every version of every file in it, a thousand a page, so
the first release that is looked into pays for all.  HEAD is for what no listing shows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import trio

from ..config import Settings
from ..errors import ObjectMissing, VbofsError
from ..kept import Kept
from ..model import ObjectFacts, ObjectVersion
from ..remote.protocol import Listed, ObjectStore

T = TypeVar("T")

#: HEAD requests under way at once, where listing versions is denied.
HEADS = 16

#: key → version id → facts.
FactTable = dict[str, dict[str, ObjectFacts]]


class FactBook:
    """The facts of one dataset, kept in *folder*."""

    def __init__(self, remote: ObjectStore, settings: Settings, folder: Path) -> None:
        self._remote = remote
        self._project = settings.project
        self._kept = Kept(folder / "facts", FactTable)
        self._table: FactTable | None = None
        self._asking = trio.Lock()

    def __repr__(self) -> str:
        return f"<FactBook {len(self._table or {})} keys>"

    async def of(self, versions: Sequence[ObjectVersion]) -> dict[ObjectVersion, ObjectFacts]:
        """The facts of those of *versions* that the bucket has.  RemoteError if it cannot tell."""
        if self._table is None:
            self._table = self._kept.load() or {}
        async with self._asking:  # Two releases have most of their answers in common.
            missing = self._unknown(versions)
            if missing:
                await self._ask(missing)
        return {v: facts for v in versions if (facts := self._known(v)) is not None}

    async def _ask(self, missing: list[ObjectVersion]) -> None:
        try:
            await self._list(missing)
            await together(self._head, self._unknown(missing), limit=HEADS)
        finally:
            self._kept.save(self._table or {})

    async def _list(self, missing: list[ObjectVersion]) -> None:
        """Learn from a listing of the whole project, up to the last of *missing*.

        One listing, and not one per directory: it is read a thousand versions a page, and every
        directory would end with a page that is not full.
        """
        marker = None
        while missing:
            page = await self._remote.page(f"{self._project}/", marker=marker)
            for listed in page.listed:
                self._learn(listed)
            missing, marker = self._unknown(missing), page.marker
            if marker is None or not all(listed.version.version_id for listed in page.listed):
                return  # Where versions may not be listed, HEAD will tell.

    async def _head(self, version: ObjectVersion) -> None:
        try:
            listed = await self._remote.head(version)
        except ObjectMissing:
            return
        self._learn(listed._replace(version=version))

    def _learn(self, listed: Listed) -> None:
        assert self._table is not None
        version = listed.version
        if version.version_id:
            self._table.setdefault(version.key, {})[version.version_id] = listed.facts

    def _known(self, version: ObjectVersion) -> ObjectFacts | None:
        return (self._table or {}).get(version.key, {}).get(version.version_id)

    def _unknown(self, versions: Iterable[ObjectVersion]) -> list[ObjectVersion]:
        return [version for version in versions if self._known(version) is None]


async def together(
    work: Callable[[T], Awaitable[None]], tasks: Iterable[T], *, limit: int = 64
) -> None:
    """Run *work* on each of *tasks*, *limit* at once.  The first of our errors ends the others and
    is raised as it is, not in a group."""
    errors: list[VbofsError] = []
    slots = trio.CapacityLimiter(limit)

    async def one(task: T) -> None:
        async with slots:
            try:
                await work(task)
            except VbofsError as error:
                errors.append(error)
                nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(one, task)
    if errors:
        raise errors[0]
