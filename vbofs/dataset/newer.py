"""Whether a release has been published that is newer than those in use."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import NamedTuple

import semver

from . import Dataset

log = logging.getLogger(__name__)


class Newer(NamedTuple):
    """*published* is newer than *in_use*."""

    in_use: str
    published: str

    def __str__(self) -> str:
        return (
            f"v{self.published} is newer than v{self.in_use}, which is in use;"
            f" what has changed: vbofs diff v{self.in_use} v{self.published}"
        )


class NewerWatch:
    """Compares what is in use with what *dataset* has, and says once in the log what it finds."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._said: Newer | None = None

    def __repr__(self) -> str:
        return f"<NewerWatch, said {self._said}>"

    def than(self, in_use: Collection[str]) -> Newer | None:
        """What is newer than the highest of *in_use*; while nobody uses any, than those shown."""
        highest = max(in_use or [self._dataset.latest], key=semver.Version.parse)
        published = self._dataset.newest or highest
        is_newer = semver.Version.parse(published) > semver.Version.parse(highest)
        return Newer(highest, published) if is_newer else None

    def look(self, in_use: Collection[str]) -> None:
        """Something has changed on either side."""
        found = self.than(in_use)
        if found is not None and found != self._said:
            log.info("%s", found)
        self._said = found
