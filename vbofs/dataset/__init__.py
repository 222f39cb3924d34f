"""Which releases a dataset has, and what is in each: asked once and kept for ever.

Kept under ``datasets/<id>/`` in the cache directory: the listing of manifests and of what lies at
the prefix's root (an answer of its day), the manifests (manifests.py), and sizes (facts.py).

All shared state changes between two awaits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import semver
import trio

from ..catalog.manifest import Manifest, Origin
from ..config import Settings
from ..errors import (
    ManifestInvalid,
    NoReleases,
    RemoteError,
    UnknownRelease,
    VbofsError,
)
from ..kept import Kept
from ..model import Blob
from ..remote.protocol import ObjectStore
from .facts import FactBook
from .listing import Document, Listing, document_of, manifest_document, published_under
from .manifests import Manifests, digest

__all__ = ["Contents", "Dataset", "Document", "Listing"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a release holds: paths relative to it, and their blobs.

    *tables* are the paths of the metadata tables by their names, *idents* those of the other files
    by their file_id, which stands in the tables' column *ident_column*.
    """

    release: str
    files: tuple[tuple[str, Blob], ...]
    mtime: int
    tables: Mapping[str, str] = field(default_factory=dict)
    idents: Mapping[str, str] = field(default_factory=dict)
    ident_column: str = "file_id"

    @property
    def bytes(self) -> int:
        return sum(blob.size for _, blob in self.files)


class Dataset:
    """The releases that *settings* name, as the bucket behind *remote* has them."""

    def __init__(self, remote: ObjectStore, settings: Settings) -> None:
        self._remote = remote
        self._settings = settings
        self._folder = settings.cache_dir / "datasets" / _folder_name(settings)
        self._kept_listing = Kept(self._folder / "listing", Listing)
        origin = Origin(settings.bucket, settings.project, settings.endpoint_url)
        self._manifests = Manifests(remote, origin, self._folder / "manifests")
        self._facts = FactBook(remote, settings, self._folder)
        self._checking = trio.Lock()
        self._opened = False
        self._checked = -1e9  # On trio's clock; kept.checked is on the world's.
        self.listing = self._kept_listing.load() or Listing()

    def __repr__(self) -> str:
        return f"<Dataset {self._settings.dataset} {list(self.releases)}>"

    @classmethod
    async def open(
        cls, remote: ObjectStore, settings: Settings, *, remembers: bool = False
    ) -> Dataset:
        """Ask which releases there are, or offline remember it.

        *remembers*: so also where the bucket is out of reach, if they are known from before.
        NoReleases, UnknownRelease, ManifestInvalid (nothing else is left) or a RemoteError.
        """
        dataset = cls(remote, settings)
        if not settings.offline:
            await dataset._ask(remembers=remembers)
        dataset._check_selection()
        dataset._opened = True
        return dataset

    async def _ask(self, *, remembers: bool) -> None:
        try:
            await self.refresh()
        except RemoteError as error:
            if not (remembers and error.retryable and self.listing.manifests):
                raise
            day = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.listing.checked))
            log.warning("%s; showing the releases known since %s", error, day)

    @property
    def project(self) -> str:
        """The prefix that holds everything."""
        return self._settings.project

    # --- which releases

    @property
    def releases(self) -> dict[str, Document]:
        """The good manifests of the releases that are to be shown, oldest release first."""
        good = {m.release: m for m in self.listing.manifests if not m.flaw}
        ordered = sorted(good, key=semver.Version.parse)
        wanted = {ordered[-1] if r == "latest" else r for r in self._settings.release if ordered}
        return {r: good[r] for r in ordered if not wanted or r in wanted}

    @property
    def latest(self) -> str:
        """The highest release shown."""
        return next(reversed(self.releases))

    @property
    def published(self) -> list[str]:
        """Every release that the bucket has a manifest for, good or not, shown or not."""
        return sorted((m.release for m in self.listing.manifests), key=semver.Version.parse)

    @property
    def newest(self) -> str:
        """The highest release that has been published with a good manifest, shown or not."""
        good = (m.release for m in self.listing.manifests if not m.flaw)
        return max(good, key=semver.Version.parse, default="")

    def _check_selection(self) -> None:
        flaws = {m.release: m.flaw for m in self.listing.manifests if m.flaw}
        if not self.listing.manifests:
            raise self._nothing()
        missing = set(self._settings.release) - set(self.published) - {"latest"}
        if missing:
            raise UnknownRelease(
                f"no release {', '.join(sorted(missing))} in {self._settings.dataset};"
                f" there are {', '.join(self.published)}"
            )
        bad = [flaws[r] for r in self._settings.release if r in flaws]
        if bad or not self.releases:
            raise ManifestInvalid((bad or list(flaws.values()))[0])

    def _nothing(self) -> VbofsError:
        settings = self._settings
        if settings.offline:
            return NoReleases(
                f"nothing of {settings.dataset} is cached in {settings.cache_dir};"
                " mount once without --offline"
            )
        return NoReleases(
            f"no manifests in s3://{settings.bucket}/{settings.project}/manifests/;"
            " check --bucket and --project"
        )

    @property
    def is_due(self) -> bool:
        """Nobody has looked for new releases lately, and nobody is looking."""
        due = trio.current_time() - self._checked >= self._settings.refresh_interval
        return due and not self._settings.offline and not self._checking.locked()

    async def refresh_if_due(self) -> bool:
        """Look for new releases if nobody did lately; True if there is something new.

        Never raises for the bucket's sake: what is known stays known.
        """
        try:
            return self.is_due and await self.refresh()
        except (RemoteError, NoReleases) as error:
            log.warning("cannot look for new releases: %s", error)
            return False

    async def refresh(self) -> bool:
        """Ask the bucket what is published; True if that differs from what was known.

        RemoteError, or NoReleases if there is suddenly nothing: what is known stays known.
        """
        async with self._checking:
            self._checked = trio.current_time()  # Also if it fails: not at every ls.
            known = {(m.name, m.version, m.facts): m for m in self.listing.manifests}
            project = self._settings.project
            found = await published_under(self._remote, f"{project}/manifests/")
            manifests = [m for listed in found if (m := manifest_document(listed, project))]
            if not manifests:
                raise self._nothing()
            news = [m for m in manifests if (m.name, m.version, m.facts) not in known]
            root = self.listing.root
            if news or not self.listing.checked:
                found = await published_under(self._remote, f"{project}/")
                root = [document_of(listed) for listed in found]
            checked = {m.name: m for m in await self._manifests.checked(news)}
            kept = [
                document
                for m in manifests
                if (document := checked.get(m.name) or known.get((m.name, m.version, m.facts)))
            ]
            return self._adopt(Listing(kept, root, time.time()))

    def _adopt(self, new: Listing) -> bool:
        old, self.listing = self.listing, new
        if self._opened and not self.releases:
            self.listing = old
            raise NoReleases(
                "every release that is shown has been withdrawn; they stay as they are"
            )
        self._kept_listing.save(new)
        return (old.manifests, old.root) != (new.manifests, new.root)

    # --- what is in one

    async def contents(self, release: str) -> Contents:
        """The files of *release*, with their sizes and times.

        The first call of all lists the bucket; later ones, in any process, ask only for what no
        listing has shown.  A file that is gone from the bucket is left out, and said to be.
        """
        document = self._manifest_of(release)
        manifest = await self._manifests.of(document)
        entries = manifest.entries
        facts = await self._facts.of([entry.version for entry in entries])
        files = tuple(
            (entry.path, Blob(entry.version, *facts[entry.version], entry.digest))
            for entry in entries
            if entry.version in facts
        )
        if len(files) < len(entries):
            gone = [e.path for e in entries if e.version not in facts]
            log.warning(
                "v%s: %d files are gone from the bucket and are left out: %s",
                release,
                len(gone),
                ", ".join(gone[:5]),
            )
        return Contents(
            release,
            files,
            document.facts.mtime,
            {entry.ident: entry.path for entry in manifest.tables if entry.version in facts},
            {entry.ident: entry.path for entry in manifest.files if entry.version in facts},
            manifest.file_id_column,
        )

    def _manifest_of(self, release: str) -> Document:
        """Shown or not: ``--release latest`` moves on, and the directory it showed first stays."""
        for document in self.listing.manifests:
            if document.release == release and not document.flaw:
                return document
        raise UnknownRelease(f"release {release} of {self._settings.dataset} has been withdrawn")

    async def manifest(self, release: str) -> Manifest:
        """What *release* pins.  UnknownRelease, or a RemoteError if it is not kept."""
        return await self._manifests.of(self._manifest_of(release))

    async def manifest_bytes(self, release: str) -> bytes:
        """The manifest of *release*, byte for byte as it was published."""
        return await self._manifests.body(self._manifest_of(release))


def _folder_name(settings: Settings) -> str:
    """Of its own for every endpoint: the same bucket's name elsewhere is another bucket."""
    where = digest(settings.endpoint_url or settings.region, settings.bucket, settings.project)
    return f"{settings.bucket}-{where[:8]}"
