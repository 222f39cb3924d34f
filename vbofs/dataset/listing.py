"""What the bucket says is published outside the releases: manifests, and files at the root."""

from __future__ import annotations

import msgspec

from ..catalog.manifest import check_name, release_of
from ..errors import ManifestInvalid
from ..model import Blob, ObjectFacts, ObjectVersion
from ..remote.protocol import Listed, ObjectStore


class Document(msgspec.Struct, frozen=True):
    """A small object outside the releases: a manifest, or a file at the prefix's root."""

    name: str
    version: ObjectVersion
    facts: ObjectFacts
    #: The release, for a manifest.
    release: str = ""
    #: Why this manifest is left out; "" for a good one.
    flaw: str = ""
    #: Files and tables, for a good manifest.
    entries: int = 0

    @property
    def blob(self) -> Blob:
        return Blob(self.version, *self.facts)


class Listing(msgspec.Struct, frozen=True):
    """What the bucket said at *checked*, in seconds since 1970."""

    manifests: list[Document] = []
    root: list[Document] = []
    checked: float = 0.0


async def published_under(remote: ObjectStore, prefix: str) -> list[Listed]:
    """The current versions of what lies directly under *prefix*, named and servable."""
    found: list[Listed] = []
    marker = None
    while True:
        page = await remote.page(prefix, marker=marker, shallow=True)
        found += [
            listed
            for listed in page.listed
            if listed.is_latest and _is_name(listed.version.key.removeprefix(prefix))
        ]
        marker = page.marker
        if marker is None:
            break
    return [await _named(remote, listed) for listed in found]


async def _named(remote: ObjectStore, listed: Listed) -> Listed:
    """*listed* with its version id, if the listing may not name it."""
    return listed if listed.version.version_id else await remote.head(listed.version)


def document_of(listed: Listed, release: str = "") -> Document:
    """What has been *listed*, as a document: of *release*, if it is a manifest."""
    name = listed.version.key.rpartition("/")[2]
    return Document(name, listed.version, listed.facts, release)


def manifest_document(listed: Listed, project: str) -> Document | None:
    """The same for one of the manifests of *project*; None if its name is no manifest's."""
    release = release_of(listed.version.key.rpartition("/")[2], project)
    return document_of(listed, release) if release else None


def _is_name(name: str) -> bool:
    try:
        check_name(name)
    except ManifestInvalid:
        return False  # The directory's own marker object, or something hostile.
    return True
