"""S3: the only room that asks it, and the only one with threads.

boto3 is the control plane: endpoints, credentials, signing, listing, HEAD.  For the bytes
themselves its cost is 1.3 ms of Python per request, so ranges are read with a URL that boto3 has
signed (once per object version, for Range is not part of a query signature) straight into the
sink, over the same urllib3 pools with the same proxies and the same TLS as botocore's.

Every answer is compared with what was asked before one byte is poured: status, range, length,
version, ETag, encoding.  Each call runs in a worker thread under one ``CapacityLimiter`` and is
abandoned when its task is cancelled; sockets have time-outs, so the thread ends by itself.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import botocore.session
import trio
from botocore.utils import get_environ_proxies
from cachetools import TTLCache

from ..config import Settings
from ..errors import AccessDenied, RemoteError, VbofsError, WrongResponse
from ..model import Blob, Extent, ObjectFacts, ObjectVersion
from .carrying import LEAST_CARRIED, Carrier, Landing, Order, Patience, Way
from .protocol import Listed, Page, Requests, Sink
from .resumable import Resumable
from .s3_client import AGENT, client
from .s3_errors import error_of
from .s3_line import Line, Spare
from .s3_ranges import usual_patience
from .waits import current

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds: a URL is signed for an hour and used for a quarter of one.
SIGNED_FOR = 3600
SIGNED_URL_LIFE = 900
#: Seconds after which connections that nobody has used may have been closed by the server.
PREPARED_FOR = 10.0
#: Bytes; S3's own limit is 50 TB.  The kernel and msgpack count to 2^63.
LARGEST_OBJECT = 1 << 50


class S3ObjectStore:
    """The bucket that *settings* names.  Anonymous unless a profile is named.

    *patience* with ranges, and *proxies* on the way to them, where not as usual; *carrier*:
    whoever fetches large ones.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        patience: Patience | None = None,
        proxies: Mapping[str, str] | None = None,
        carrier: Carrier | None = None,
    ) -> None:
        self._settings = settings
        self._carrier = carrier
        self._limiter = trio.CapacityLimiter(settings.connections)
        self._lock = threading.Lock()
        self._requests = Requests()
        self._versions_denied = False
        self._distrusted: set[ObjectVersion] = set()
        self._urls: TTLCache[ObjectVersion, str] = TTLCache(4096, SIGNED_URL_LIFE)
        # Anonymous is anonymous, whatever AWS_PROFILE says to other programs.
        nobody = None if settings.profile else {"profile": (None, None, None, None)}
        core = botocore.session.Session(nobody, profile=settings.profile)
        try:
            self._client = client(core, settings)
        except Exception as error:
            raise error_of(error, settings, "the configuration") from error
        self._way = Way(
            bucket=settings.bucket,
            region=settings.region,
            endpoint_url=settings.endpoint_url,
            profile=settings.profile,
            connections=settings.connections,
            patience=patience or usual_patience(),
            proxies=self._usual_proxies() if proxies is None else proxies,
            verify=core.get_config_variable("ca_bundle") or True,
        )
        self._line = Line(self._way)
        self._prepared_at = -math.inf

    def __repr__(self) -> str:
        return f"<S3ObjectStore {self._settings.bucket} at {self._client.meta.endpoint_url}>"

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()
        self._line.close()

    def _usual_proxies(self) -> Mapping[str, str]:
        proxies: dict[str, str] = get_environ_proxies(self._client.meta.endpoint_url)
        return proxies

    def requests(self) -> Requests:
        with self._lock:
            return self._requests

    def distrust(self, version: ObjectVersion) -> None:
        self._distrusted.add(version)

    def _count(self, **more: int) -> None:
        with self._lock:
            now = self._requests._asdict()
            self._requests = Requests(**{**now, **{k: now[k] + n for k, n in more.items()}})

    async def _in_thread(self, work: Callable[[], T], subject: str) -> T:
        asked = time.perf_counter()

        def translated() -> T:
            current().connection += time.perf_counter() - asked
            try:
                return work()
            except Exception as error:
                raise error_of(error, self._settings, subject) from error

        return await trio.to_thread.run_sync(
            translated, limiter=self._limiter, abandon_on_cancel=True
        )

    # --- control plane

    async def head(self, version: ObjectVersion) -> Listed:
        return await self._in_thread(lambda: self._head(version), version.key)

    def _head(self, version: ObjectVersion) -> Listed:
        self._count(head=1)
        which = {"VersionId": version.version_id} if version.version_id else {}
        answer = self._client.head_object(Bucket=version.bucket, Key=version.key, **which)
        named = version._replace(version_id=answer.get("VersionId", "null"))
        return Listed(named, _facts(answer, "ContentLength"), is_latest=not which)

    async def page(
        self, prefix: str, *, marker: Mapping[str, str] | None = None, shallow: bool = False
    ) -> Page:
        asked: dict[str, Any] = {"Bucket": self._settings.bucket, "Prefix": prefix}
        if shallow:
            asked["Delimiter"] = "/"
        subject = f"the listing of {prefix}"
        if not self._versions_denied:
            try:
                return await self._in_thread(lambda: self._version_page(asked, marker), subject)
            except RemoteError as error:
                if not _may_list_without_versions(error):
                    raise
        if marker and "ContinuationToken" not in marker:
            marker = None  # It was given by a listing of versions: this one begins again.
        page = await self._in_thread(lambda: self._object_page(asked, marker), subject)
        # Not where all is denied: that may pass, and a HEAD per file would be dear for ever.
        self._versions_denied = True
        return page

    def _version_page(self, asked: dict[str, Any], marker: Mapping[str, str] | None) -> Page:
        self._count(list=1)
        answer = self._client.list_object_versions(**asked, **(marker or {}))
        _check_listing(answer, asked["Prefix"])
        listed = [self._listed(item) for item in answer.get("Versions", [])]
        if not answer.get("IsTruncated"):
            return Page(listed, None)
        following = {"KeyMarker": answer.get("NextKeyMarker", "")}
        if "NextVersionIdMarker" in answer:
            following["VersionIdMarker"] = answer["NextVersionIdMarker"]
        # Delimited pages may hold nothing but prefixes, but a marker always moves.
        if following == dict(marker or {}) or not following["KeyMarker"]:
            raise WrongResponse(f"the listing of {asked['Prefix']} does not end")
        return Page(listed, following)

    def _object_page(self, asked: dict[str, Any], marker: Mapping[str, str] | None) -> Page:
        """The same where ListObjectVersions is denied: current objects, their versions unnamed."""
        self._count(list=1)
        answer = self._client.list_objects_v2(**asked, **(marker or {}))
        _check_listing(answer, asked["Prefix"])
        listed = [self._listed({**item, "VersionId": ""}) for item in answer.get("Contents", [])]
        if not answer.get("IsTruncated"):
            return Page(listed, None)
        following = {"ContinuationToken": answer.get("NextContinuationToken", "")}
        if following == dict(marker or {}) or not following["ContinuationToken"]:
            raise WrongResponse(f"the listing of {asked['Prefix']} does not end")
        return Page(listed, following)

    def _listed(self, item: Mapping[str, Any]) -> Listed:
        version = ObjectVersion(self._settings.bucket, item["Key"], item["VersionId"])
        return Listed(version, _facts(item, "Size"), bool(item.get("IsLatest", True)))

    # --- data plane

    async def prepare(self, version: ObjectVersion, requests: int) -> None:
        # No more than half of all: what is asked meanwhile has connections of its own.
        count = min(requests, self._settings.connections // 2)
        now = trio.current_time()
        if not count or now - self._prepared_at <= PREPARED_FOR:
            return
        self._prepared_at = now
        spare = Spare()
        try:
            unconnected = await self._tried(
                lambda: self._line.spare(self._url(version), count, spare)
            )
            async with trio.open_nursery() as nursery:
                for connect in unconnected or ():
                    nursery.start_soon(self._tried, connect)
        finally:
            spare.give_back()

    async def _tried(self, work: Callable[[], T]) -> T | None:
        """Who asks in earnest will say what is wrong."""
        try:
            return await self._in_thread(work, "connections")
        except VbofsError as error:
            log.debug("%r: %s", self, error)
            return None

    async def fetch(self, blob: Blob, extent: Extent, sink: Sink) -> None:
        if self._carrier and extent.size >= LEAST_CARRIED and isinstance(sink, Landing):
            extent = await self._carried(self._carrier, blob, extent, sink)
        if extent.size:
            subject = f"{blob.version.key} bytes {extent.start}-{extent.stop}"
            await self._in_thread(lambda: self._fetch(blob, extent, sink), subject)

    def _fetch(self, blob: Blob, extent: Extent, sink: Sink) -> None:
        order = self._order(blob, extent)
        self._count(get=1)
        self._line.get(order, sink, lambda received: self._count(received=received))

    async def _carried(
        self, carrier: Carrier, blob: Blob, extent: Extent, landing: Landing
    ) -> Extent:
        """Have another process fetch *extent*, as far as it can; what is left of it."""
        # Asked in this order: for who opens an HDF5 file no process need be started.
        if not (landing.is_patient() and carrier.is_ready()):
            return extent
        place, order = await self._in_thread(
            lambda: (landing.place(extent), self._order(blob, extent)), blob.version.key
        )
        if place is None:
            return extent
        self._count(get=1)
        resumable = Resumable(landing)
        await carrier.carry(
            self._way, order, place, resumable, lambda received: self._count(received=received)
        )
        return resumable.rest_of(extent)

    def _order(self, blob: Blob, extent: Extent) -> Order:
        headers = {
            "Range": f"bytes={extent.start}-{extent.stop - 1}",
            "Accept-Encoding": "identity",
            "User-Agent": AGENT,
        }
        if blob.version in self._distrusted:
            headers["Cache-Control"] = "no-cache"
        return Order(self._url(blob.version), headers, blob, extent)

    def _url(self, version: ObjectVersion) -> str:
        with self._lock:
            url = self._urls.get(version)
        if url is None:
            url = self._client.generate_presigned_url(
                "get_object",
                Params={
                    "Bucket": version.bucket,
                    "Key": version.key,
                    "VersionId": version.version_id,
                },
                ExpiresIn=SIGNED_FOR,
            )
            with self._lock:
                self._urls[version] = url
        return url


def _check_listing(answer: Mapping[str, Any], prefix: str) -> None:
    """A proxy's or a hotel's page of HTML is XML enough for botocore: a listing of nothing."""
    if "IsTruncated" not in answer:
        raise WrongResponse(
            f"the listing of {prefix} is something else; a proxy or a sign-in page may answer"
        )


def _facts(item: Mapping[str, Any], size: str) -> ObjectFacts:
    number = int(item[size])
    if not 0 <= number <= LARGEST_OBJECT:
        raise WrongResponse(f"an object of {number} bytes cannot be")
    return ObjectFacts(
        number, str(item["ETag"]).strip('"'), max(0, int(item["LastModified"].timestamp()))
    )


def _may_list_without_versions(error: RemoteError) -> bool:
    """Listing versions is a permission of its own (s3:ListBucketVersions), and not every server
    that speaks S3 knows it."""
    return isinstance(error, AccessDenied) or "NotImplemented" in str(error)
