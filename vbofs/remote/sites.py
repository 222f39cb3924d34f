"""Caching servers of the site, asked before the origin for the bytes of released files.

Each blob's parts are spread over the caches of a group by rendezvous hashing, the same on every
node: each byte is kept by one of them, and when one is away its parts alone move to others.  What
no cache gives comes from the origin, in the same call and from where the bytes stopped, so that a
cache that is down, slow or wrong costs time and never an error; it is then passed by for a while.

What vouches for the others never comes through a cache: listings, facts, and every document
without a published digest, manifests first of all.  A blob that failed its digest is asked of the
origin alone from then on, and so is everything for an hour that its caches would have been asked.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

import msgspec
import trio
from cachetools import LRUCache

from ..config import Settings
from ..errors import EndpointDown, NetworkUnreachable, RemoteError, SettingsInvalid, VbofsError
from ..model import Blob, Extent, ObjectVersion
from ..servers import MOST_CACHES
from .breaker import Breaker
from .carrying import Carrier, Patience
from .protocol import Collected, Listed, ObjectStore, Page, Requests, Sink
from .resumable import Resumable
from .s3 import S3ObjectStore

log = logging.getLogger(__name__)

#: A cache is near: a second to connect.  It may wait for the origin itself, so ten for a byte; less
#: than 64 KiB in that time is no help.
PATIENCE = Patience(connect=1.0, read=10.0, progress=64 << 10)
#: Caches that one call tries before it asks the origin: its reader waits.
MOST_TRIES = 2
#: Seconds without a cache through which bytes came that their release does not know.
QUARANTINE = 3600.0
#: Bytes by which it is seen whether a cache is back.
PROBE_SIZE = 128 << 10
#: Bytes that one cache is asked for in turn: the largest request that a fetcher makes.
STRIPE = 8 << 20


@dataclass(frozen=True)
class SiteCacheStatistics:
    """One cache.  *away*: it is passed by at the moment.  The others count since the daemon
    began; *mismatched* are files that were not as published though it gave bytes of them."""

    url: str
    away: bool
    requests: int
    received: int
    failed: int
    mismatched: int


class Closable(ObjectStore, Protocol):
    """An object store with connections of its own."""

    def close(self) -> None:
        """Close idle connections."""


class SiteCache:
    """One caching server at *url*, asked through *store*."""

    def __init__(self, url: str, store: Closable) -> None:
        self.url = url
        self.store = store
        self.breaker = Breaker()
        self.failures = self.mismatches = 0

    def __repr__(self) -> str:
        return f"<SiteCache {self.url} {self.breaker!r}>"

    def statistics(self) -> SiteCacheStatistics:
        asked = self.store.requests()
        away = not self.breaker.is_closed
        return SiteCacheStatistics(
            self.url, away, asked.get, asked.received, self.failures, self.mismatches
        )

    def rank(self, stripe: bytes) -> bytes:
        """Its claim to *stripe*; of a group the highest is asked first."""
        return blake2b(stripe + self.url.encode(), digest_size=8).digest()

    def note_success(self) -> None:
        if self.breaker.succeeded():
            log.info("the site cache %s answers again", self.url)

    def note_failure(self, error: VbofsError) -> None:
        self.failures += 1
        if self.breaker.failed():
            log.warning("the site cache %s is passed by for a while: %s", self.url, error)


#: A cache to be tried, with an extent of a blob.
Probe = tuple[SiteCache, Blob, Extent]


class SiteCaches:
    """*origin*, behind *groups* of caches; the first group is tried first."""

    def __init__(self, origin: ObjectStore, groups: Sequence[Sequence[SiteCache]]) -> None:
        self._origin = origin
        self._groups = groups
        self._distrusted: set[ObjectVersion] = set()
        #: Which caches gave bytes of a version, for those used last.
        self._given: LRUCache[ObjectVersion, set[SiteCache]] = LRUCache(4096)
        self._probes, self._waiting = trio.open_memory_channel[Probe](MOST_CACHES)

    def __repr__(self) -> str:
        return f"<SiteCaches {self._groups} before {self._origin!r}>"

    def close(self) -> None:
        """Close idle connections to the caches."""
        for cache in self._caches():
            cache.store.close()

    def statistics(self) -> list[SiteCacheStatistics]:
        return [cache.statistics() for cache in self._caches()]

    def requests(self) -> Requests:
        asked = [self._origin.requests(), *(cache.store.requests() for cache in self._caches())]
        return Requests(*map(sum, zip(*asked, strict=True)))

    async def head(self, version: ObjectVersion) -> Listed:
        return await self._origin.head(version)

    async def page(
        self, prefix: str, *, marker: Mapping[str, str] | None = None, shallow: bool = False
    ) -> Page:
        return await self._origin.page(prefix, marker=marker, shallow=shallow)

    async def prepare(self, version: ObjectVersion, requests: int) -> None:
        """Caches are near, and one request goes to another of them than the next."""
        if not self._groups:
            await self._origin.prepare(version, requests)

    async def fetch(self, blob: Blob, extent: Extent, sink: Sink) -> None:
        poured = Resumable(sink)
        suspects: dict[SiteCache, VbofsError] = {}
        if not await self._from_caches(blob, extent, poured, suspects):
            await self._origin.fetch(blob, poured.rest_of(extent), poured)
        # Somebody did it right: whoever did not is to blame, and not the network or the object.
        for cache, error in suspects.items():
            cache.note_failure(error)

    def distrust(self, version: ObjectVersion) -> None:
        self._distrusted.add(version)
        for cache in self._given.pop(version, ()):
            cache.mismatches += 1
            cache.breaker.trip(QUARANTINE)
            log.error(
                "%s is not what its release says, and bytes of it came through the site cache %s:"
                " that cache is not asked for an hour, and never for this file",
                version.key,
                cache.url,
            )
        self._origin.distrust(version)

    def _caches(self) -> Iterator[SiteCache]:
        for group in self._groups:
            yield from group

    def _candidates(self, blob: Blob, extent: Extent) -> Iterator[SiteCache]:
        """The caches to ask now, best first.  One that was away long enough is not among them yet,
        but is tried, beside the readers: see ``attend``."""
        if not blob.digest or blob.version in self._distrusted:
            return
        stripe = f"{blob.ident} {extent.start // STRIPE} ".encode()
        for group in self._groups:
            for cache in sorted(group, key=lambda cache: cache.rank(stripe), reverse=True):
                if cache.breaker.is_closed:
                    yield cache
                elif cache.breaker.admits():
                    self._have_probed(cache, blob, extent)

    def _have_probed(self, cache: SiteCache, blob: Blob, extent: Extent) -> None:
        probe = Extent(extent.start, min(extent.stop, extent.start + PROBE_SIZE))
        try:
            self._probes.send_nowait((cache, blob, probe))
        except trio.WouldBlock:  # Nobody attends.
            cache.breaker.gave_up()

    async def attend(self) -> None:
        """Try caches that were away, when a reader would have asked them; for ever.  No reader
        waits for one that still hangs."""
        async with trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(self._probe, *await self._waiting.receive())

    async def _probe(self, cache: SiteCache, blob: Blob, extent: Extent) -> None:
        try:
            await cache.store.fetch(blob, extent, Collected(extent.size))
            cache.note_success()
        except VbofsError as error:
            cache.note_failure(error)
        except Exception as bug:  # This task's nursery is the mount's.
            log.exception("%r: a bug; it is taken to be away", cache)
            cache.note_failure(RemoteError(repr(bug)))

    async def _from_caches(
        self, blob: Blob, extent: Extent, poured: Resumable, suspects: dict[SiteCache, VbofsError]
    ) -> bool:
        """Whether caches gave all of *extent*.  Those that failed for reasons of their own have
        been passed by; of *suspects* that is not known yet."""
        for cache in itertools.islice(self._candidates(blob, extent), MOST_TRIES):
            try:
                await self._ask(cache, blob, poured.rest_of(extent), poured)
                return True
            except (EndpointDown, NetworkUnreachable) as error:
                cache.note_failure(error)
            except VbofsError as error:
                log.debug("%r: %s", cache, error)
                suspects[cache] = error
            if not poured.rest_of(extent).size:
                return True  # It failed after the last byte.
        return False

    async def _ask(self, cache: SiteCache, blob: Blob, rest: Extent, poured: Resumable) -> None:
        before = poured.poured
        try:
            await cache.store.fetch(blob, rest, poured)
        finally:
            if poured.poured > before:
                self._given.setdefault(blob.version, set()).add(cache)


def open_site_caches(
    origin: ObjectStore, settings: Settings, carrier: Carrier | None = None
) -> SiteCaches:
    """*origin* behind the caches that *settings* name.  SettingsInvalid for signed access: a
    signature is for one server, and what it opens is not for everybody at the site."""
    if settings.profile:
        raise SettingsInvalid("--site-cache: caches are for anonymous access; drop it or --profile")

    def cache(url: str) -> SiteCache:
        # It is on the site: no proxy leads there.
        there = msgspec.structs.replace(settings, endpoint_url=url)
        return SiteCache(url, S3ObjectStore(there, patience=PATIENCE, proxies={}, carrier=carrier))

    return SiteCaches(origin, [[cache(url) for url in group] for group in settings.site_cache])
