"""The files that a verb is about, for verbs that look at the cache and need no network for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from ..config import Settings
from ..errors import Offline
from .chosen import Chosen, chosen
from .selection import Asked

if TYPE_CHECKING:
    from ..daemon import Floors


@asynccontextmanager
async def local_floors(
    settings: Settings, asked: Asked
) -> AsyncIterator[tuple[Floors, list[Chosen]]]:
    """The tower's lower half off the network, and the files that are meant.

    What is cached was looked up before it was fetched, so it is known.  Only where a query's tables
    or a release's manifest are not kept is the network asked, unless the settings say not to.
    """
    from ..daemon import library

    off = msgspec.structs.replace(settings, offline=True)
    files: list[Chosen] | None = None
    async with library(off) as floors:
        try:
            files = await chosen(floors, asked)
        except Offline:
            if settings.offline:
                raise
        if files is not None:
            yield floors, files
    if files is None:
        async with library(settings) as floors:
            yield floors, await chosen(floors, asked)


async def on_files(settings: Settings, asked: Asked) -> list[Chosen]:
    """The files that are meant."""
    async with local_floors(settings, asked) as (_, files):
        return files
