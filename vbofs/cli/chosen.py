"""From what was named on the command line to the blobs that are meant.

A release is read once, however many of its files are named: a shell's pattern may name thousands.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import NotInDataset, Offline, SettingsInvalid
from ..model import Blob
from .query import selected
from .selection import RELEASE, Asked, Place

if TYPE_CHECKING:
    from ..daemon import Floors
    from ..dataset import Contents


class Chosen(NamedTuple):
    """A file of a release; one that several releases show is chosen once."""

    release: str
    path: str
    blob: Blob

    @property
    def name(self) -> str:
        return f"v{self.release}/{self.path}"


async def chosen(floors: Floors, asked: Asked) -> list[Chosen]:
    """The files that are meant, release by release, each blob once.

    NotInDataset, UnknownRelease, or what a query raises.
    """
    found: dict[str, Chosen] = {}
    todo = list(asked.places)
    if not todo and (asked.query or asked.release):
        todo = [Place("")]
    seen: set[Place] = set()
    while todo:
        seen |= set(todo)
        links: list[Place] = []
        for release, places in _by_release(todo, asked).items():
            files, rest = await _in_release(floors, asked, release, places)
            _add(found, files)
            links += [link for place in rest for link in _links_in(place)]
        todo = [link for link in dict.fromkeys(links) if link not in seen]
    if asked.everything:
        _add(found, await everything(floors))
    if asked.query and not found:
        raise NotInDataset("no file there matches that query")
    return list(found.values())


def _add(found: dict[str, Chosen], more: Iterable[Chosen]) -> None:
    for one in more:
        found.setdefault(one.blob.ident, one)


async def everything(floors: Floors, *releases: str) -> list[Chosen]:
    """All files of *releases* (none named: of all), as far as they are known; newest first."""
    files: list[Chosen] = []
    for release in releases or [*floors.dataset.releases][::-1]:
        try:
            files += _files(await floors.dataset.contents(release))
        except Offline:
            continue  # Nobody has looked into it, so nothing of it is here.
    return files


def _by_release(places: Iterable[Place], asked: Asked) -> dict[str, list[Place]]:
    """*places* by the release that they are in; "" for all releases."""
    found: dict[str, list[Place]] = {}
    for place in places:
        match = RELEASE.fullmatch(place.inner)
        release = (match["release"] or "latest") if match else asked.release
        if match and asked.release not in ("", release):
            raise SettingsInvalid(f"the path is in {release}, and --release says {asked.release}")
        if not match and asked.query:
            release = release or "latest"
        found.setdefault(release, []).append(place)
    return found


async def _in_release(
    floors: Floors, asked: Asked, release: str, places: Sequence[Place]
) -> tuple[list[Chosen], list[Place]]:
    """The files of *release* at *places* that match the query, and the places where there is none
    of the release's own."""
    if release:
        contents = await floors.metadata.contents(release)
        release, files = contents.release, _files(contents)
    else:
        files = await everything(floors)
    by_path = {file.path: file for file in files}
    found: list[Chosen] = []
    rest = []
    for place in places:
        here = _at(by_path, place) if place.inner else files
        found += here
        rest += [] if here else [place]
    if asked.query and found:
        matching = set(await selected(floors.metadata, asked.query, release))
        found = [file for file in found if file.path in matching]
    return found, rest


def _at(by_path: dict[str, Chosen], place: Place) -> list[Chosen]:
    """The file at *place*, or those in it, or those that match it as a pattern."""
    match = RELEASE.fullmatch(place.inner)
    path = (match["path"] or "").strip("/") if match else None
    if path is None:
        return []
    if path in by_path:
        return [by_path[path]]
    return [
        file
        for known, file in by_path.items()
        if not path or known.startswith(path + "/") or fnmatch.fnmatchcase(known, path)
    ]


def _links_in(place: Place) -> list[Place]:
    """What the links in a directory on a mount lead to: a view's, or AllenSDK's.

    NotInDataset if there is no such directory, or it has nothing in it, or cannot be read now.
    """
    found = []

    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise NotInDataset(f"{error.filename} cannot be read: {error.strerror}") from error

    if place.mountpoint is not None:
        for folder, folders, names in os.walk(place.mountpoint / place.inner, onerror=fail):
            for name in (*folders, *names):
                real = Path(os.path.realpath(os.path.join(folder, name)))
                inside = real.is_relative_to(place.mountpoint)
                if inside and os.path.islink(os.path.join(folder, name)):
                    inner = str(real.relative_to(place.mountpoint))
                    found.append(Place(inner, place.mountpoint))
    if not found:
        raise NotInDataset(f"there is no {place.inner} in any release that is here")
    return found


def _files(contents: Contents) -> list[Chosen]:
    return [Chosen(contents.release, path, blob) for path, blob in contents.files]
