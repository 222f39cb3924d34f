"""Where bytes come from that are not in the node's own cache, put together as the settings say."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, NamedTuple

import trio

from ..blocks.budget import allows_transfers
from ..blocks.lower import LowerCache, open_lower_cache
from ..config import Settings
from ..remote.carrying import Carrier
from ..remote.network import Network
from ..remote.offline import OfflineObjectStore
from ..remote.outcomes import Outcomes
from ..remote.protocol import ObjectStore
from ..remote.retrying import Retrying
from ..transfer.process import Transfers

if TYPE_CHECKING:
    from ..remote.sites import SiteCaches

#: Seconds for which listings are tried again: somebody waits for ``vbofs mount`` or ``ls``.
LISTING_TIMEOUT = 10.0


class Sources(NamedTuple):
    """*blocks* is for the fetcher, *listings* for the dataset; the others are what they stand on,
    *sites* and *lower* only where there is such a thing."""

    blocks: ObjectStore
    listings: Retrying
    retrying: Retrying
    sites: SiteCaches | None
    lower: LowerCache | None
    transfers: Transfers | None

    def attend(self, nursery: trio.Nursery) -> None:
        """Have *nursery* run the process for large requests, once there are any, and look
        whether caches that were away are back."""
        if self.transfers:
            self.transfers.attend(nursery)
        if self.sites:
            nursery.start_soon(self.sites.attend)


@contextlib.asynccontextmanager
async def sources(settings: Settings) -> AsyncIterator[Sources]:
    """The lower cache before the site's caches before the bucket, as far as there are any."""
    transfers = Transfers() if allows_transfers(settings.memory) else None
    with _closed(_bucket(settings, transfers)) as bucket, contextlib.ExitStack() as closing:
        network, outcomes = Network(settings.timeout), Outcomes()
        impatience = min(settings.timeout, LISTING_TIMEOUT)
        sites = _sites(bucket, settings, transfers)
        if sites:
            closing.callback(sites.close)
            retrying = Retrying(sites, settings.timeout, network, outcomes)
            # Listings have no caches: that the bucket is away says nothing of the way to those.
            impatient = Retrying(bucket, impatience, outcomes=outcomes)
        else:
            retrying = Retrying(bucket, settings.timeout, network, outcomes)
            impatient = Retrying(bucket, impatience, network, outcomes)
        lower = await open_lower_cache(retrying, settings)
        yield Sources(lower or retrying, impatient, retrying, sites, lower, transfers)


@contextlib.contextmanager
def listings(settings: Settings) -> Iterator[Retrying]:
    """The bucket, for those who read no file."""
    with _closed(_bucket(settings)) as bucket:
        yield Retrying(bucket, min(settings.timeout, LISTING_TIMEOUT))


def _bucket(settings: Settings, carrier: Carrier | None = None) -> ObjectStore:
    if settings.offline:
        return OfflineObjectStore()
    from ..remote.s3 import S3ObjectStore  # A quarter of a second that --offline does not need.

    return S3ObjectStore(settings, carrier=carrier)


def _sites(bucket: ObjectStore, settings: Settings, carrier: Carrier | None) -> SiteCaches | None:
    if settings.offline or not settings.site_cache:
        return None
    from ..remote.sites import open_site_caches

    return open_site_caches(bucket, settings, carrier)


@contextlib.contextmanager
def _closed(bucket: ObjectStore) -> Iterator[ObjectStore]:
    try:
        yield bucket
    finally:
        if hasattr(bucket, "close"):
            bucket.close()
