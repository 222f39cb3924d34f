"""The floors of one running mount, and what commands may ask of them over the control socket."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import trio

from .._version import __version__
from ..blocks.fetcher import Fetcher
from ..blocks.store import BlockStore
from ..config import Settings
from ..control.server import Verbs
from ..dataset import Dataset
from ..dataset.newer import Newer
from ..filesystem import Filesystem
from .ahead import Ahead
from .exporter import Exporter
from .recording import Recording
from .sources import Sources

#: Seconds for which an answer of the disk is shown: other daemons write to the cache too.
USAGE_AGE = 10.0


@dataclass(eq=False, kw_only=True)
class Tower:
    """The floors of one running mount, for those who ask how it is doing."""

    settings: Settings
    dataset: Dataset
    store: BlockStore
    fetcher: Fetcher
    filesystem: Filesystem
    sources: Sources
    exporter: Exporter
    ahead: Ahead
    recording: Recording
    since: float = field(default_factory=time.time)

    def verbs(self) -> Verbs:
        """What the control socket answers, by name; arguments are keywords."""
        return {
            "status": self.status,
            "refresh": self.refresh,
            **self.ahead.verbs(),
            **self.recording.verbs(),
        }

    async def status(self) -> dict[str, Any]:
        """Everything that ``vbofs status`` shows; names are those of ``statistics()``."""
        settings, dataset = self.settings, self.dataset
        sites, lower = self.sources.sites, self.sources.lower
        await trio.to_thread.run_sync(self.store.room.look, USAGE_AGE, abandon_on_cancel=True)
        return {
            "version": __version__,
            "pid": os.getpid(),
            "since": self.since,
            "mountpoint": str(settings.mountpoint),
            "dataset": settings.dataset,
            "bucket": settings.bucket,
            "project": settings.project,
            "region": settings.region,
            "profile": settings.profile,
            "endpoint_url": settings.endpoint_url,
            "offline": settings.offline,
            "network": {"away_since": self.sources.retrying.network.away_since},
            "log_file": str(settings.log_file) if settings.log_file else None,
            "releases": list(dataset.releases),
            "latest": dataset.latest,
            "built": self.filesystem.built,
            "newer": _dict(self.filesystem.newer.than(self.filesystem.built)),
            "left_out": {m.release: m.flaw for m in dataset.listing.manifests if m.flaw},
            "checked": dataset.listing.checked,
            "cache": {
                "dir": str(settings.cache_dir),
                "refusing": self.store.takes_none,
                **asdict(self.store.statistics()),
            },
            "requests": {
                **self.sources.retrying.requests()._asdict(),
                "retried": self.sources.retrying.retries + self.sources.listings.retries,
            },
            "site_caches": [asdict(site) for site in sites.statistics()] if sites else [],
            "lower_cache": asdict(lower.statistics()) if lower else None,
            "remote": asdict(self.sources.retrying.outcomes.statistics()),
            "blocks": asdict(self.fetcher.statistics()),
            "verifier": asdict(self.fetcher.verifier.statistics()),
            "readers": asdict(self.filesystem.statistics()),
            "record": self.recording.statistics(),
            "last_error": self.fetcher.last_error,
        }

    async def refresh(self) -> dict[str, Any]:
        """Look for new releases now, and answer with the status after it."""
        await self.filesystem.refresh()
        return await self.status()


def _dict(newer: Newer | None) -> dict[str, Any] | None:
    return {**newer._asdict(), "line": str(newer)} if newer else None
