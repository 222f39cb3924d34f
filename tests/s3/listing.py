"""S3's listings: which entries stand on a page, and the page's XML. No I/O.

Keys ascend by their UTF-8 bytes, a key's versions go from newest to oldest, keys that share a
prefix up to the delimiter are one entry, and a page holds at most 1000 entries of either kind.
"""

from __future__ import annotations

import base64
import binascii
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

from tests.s3.buckets import Bucket, Version
from tests.s3.request import Request

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
LIMIT = 1000  # S3 sends no longer page, whatever max-keys asks for
_OWNER = "<Owner><ID>75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a</ID></Owner>"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class InvalidArgument(Exception):
    """A parameter S3 would refuse: its message, the parameter's name and value."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a listing asks for; *after* and *after_version* are the markers of all three kinds."""

    prefix: str = ""
    delimiter: str = ""
    after: str | None = None
    after_version: str | None = None
    token: str | None = None
    limit: int = LIMIT
    encoded: bool = False
    owners: bool = False

    @classmethod
    def parse(cls, request: Request) -> Page:
        """The page *request* asks for; raises InvalidArgument."""
        query = request.query
        if "version-id-marker" in query and not query.get("key-marker"):
            text = "A version-id marker cannot be specified without a key marker."
            raise InvalidArgument(text, "version-id-marker", query["version-id-marker"])
        if query.get("encoding-type", "url") != "url":
            text = "Invalid Encoding Method specified in Request"
            raise InvalidArgument(text, "encoding-type", query["encoding-type"])
        marker = {"LIST_VERSIONS": "key-marker", "LIST": "start-after"}
        after = query.get(marker.get(request.operation, "marker")) or None
        token = query.get("continuation-token") if request.operation == "LIST" else None
        return cls(
            prefix=query.get("prefix", ""),
            delimiter=query.get("delimiter", ""),
            after=after if token is None else _untoken(token),
            after_version=query.get("version-id-marker") or None,
            token=token,
            limit=_limit(query.get("max-keys")),
            encoded="encoding-type" in query,
            owners=request.operation == "LIST_V1" or query.get("fetch-owner") == "true",
        )

    def text(self, value: str) -> str:
        """*value* as an element's text: percent-encoded if that was asked for, or escaped."""
        if self.encoded:
            return quote_plus(value, safe="/*")
        return _CONTROL.sub(lambda one: f"&#x{ord(one[0]):x};", escape(value))


def element(name: str, inner: str) -> str:
    return f'<{name} xmlns="{NAMESPACE}">{inner}</{name}>'


def list_versions(bucket: Bucket, page: Page) -> str:
    """ListObjectVersions, as XML."""
    found = list(islice(_versions(bucket, page), page.limit + 1 if page.limit else 0))
    entries, more = found[: page.limit], len(found) > page.limit
    text = page.text
    markers = f"<KeyMarker>{text(page.after or '')}</KeyMarker>"
    markers += f"<VersionIdMarker>{page.after_version or ''}</VersionIdMarker>"
    if more:
        last = entries[-1]
        key = last if isinstance(last, str) else last.key
        markers += f"<NextKeyMarker>{text(key)}</NextKeyMarker>"
        if isinstance(last, Version):
            markers += f"<NextVersionIdMarker>{last.version_id}</NextVersionIdMarker>"
    shown = "".join(_version(bucket, page, one) for one in entries if isinstance(one, Version))
    preamble = _preamble(bucket, page, markers, more)
    return element("ListVersionsResult", preamble + shown + _prefixes(page, entries))


def list_objects_v2(bucket: Bucket, page: Page) -> str:
    """ListObjectsV2, as XML."""
    entries, more = _objects(bucket, page)
    text = page.text
    markers = f"<KeyCount>{len(entries)}</KeyCount>"
    if page.token is not None:
        markers += f"<ContinuationToken>{escape(page.token)}</ContinuationToken>"
    elif page.after:
        markers += f"<StartAfter>{text(page.after)}</StartAfter>"
    if more:
        token = _token(_key(entries[-1]))
        markers += f"<NextContinuationToken>{token}</NextContinuationToken>"
    return element("ListBucketResult", _contents(bucket, page, markers, more, entries))


def list_objects_v1(bucket: Bucket, page: Page) -> str:
    """ListObjects, as XML; NextMarker is there only with a delimiter, as S3 has it."""
    entries, more = _objects(bucket, page)
    markers = f"<Marker>{page.text(page.after or '')}</Marker>"
    if more and page.delimiter:
        markers += f"<NextMarker>{page.text(_key(entries[-1]))}</NextMarker>"
    return element("ListBucketResult", _contents(bucket, page, markers, more, entries))


LISTINGS: dict[str, Callable[[Bucket, Page], str]] = {
    "LIST_VERSIONS": list_versions,
    "LIST": list_objects_v2,
    "LIST_V1": list_objects_v1,
}

Entry = Version | str  # a version, or a prefix that stands for the keys below it


def _versions(bucket: Bucket, page: Page) -> Iterator[Entry]:
    """Every entry after the markers: first what is left of the marker's own key."""
    if page.after is not None and page.after_version is not None:
        known = bucket.versions(page.after)
        ids = [one.version_id for one in known]
        if page.after_version in ids and page.after.startswith(page.prefix):
            yield from known[ids.index(page.after_version) + 1 :]
    for name, group in _names(bucket, page):
        if group:
            yield name
        else:
            yield from bucket.versions(name)


def _objects(bucket: Bucket, page: Page) -> tuple[list[Entry], bool]:
    """The newest versions that are no delete markers, and the prefixes that hold such."""

    def living() -> Iterator[Entry]:
        for name, group in _names(bucket, page):
            if group:
                below = Page(prefix=name, limit=1)
                if _objects(bucket, below)[0]:
                    yield name
            elif (version := bucket.find(name)) and not version.delete_marker:
                yield version

    found = list(islice(living(), page.limit + 1 if page.limit else 0))
    return found[: page.limit], len(found) > page.limit


def _names(bucket: Bucket, page: Page) -> Iterator[tuple[str, bool]]:
    """The keys after the marker, in order; True with a prefix that stands for those below it."""
    names = bucket.names()
    at = bisect_left(names, page.prefix)
    if page.after is not None:
        at = max(at, bisect_right(names, page.after))
        group = _group(page.after, page)
        if group == page.after:  # the last page ended with this prefix: all below it was shown
            at = max(at, bisect_left(names, _beyond(group)))
    while at < len(names) and names[at].startswith(page.prefix):
        group = _group(names[at], page)
        yield group or names[at], bool(group)
        at = bisect_left(names, _beyond(group)) if group else at + 1


def _group(name: str, page: Page) -> str:
    """*name* up to the first delimiter after the prefix, or nothing."""
    if not page.delimiter or not name.startswith(page.prefix):
        return ""
    end = name.find(page.delimiter, len(page.prefix))
    return "" if end < 0 else name[: end + len(page.delimiter)]


def _beyond(prefix: str) -> str:
    """The least string after all that begin with *prefix*."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _key(entry: Entry) -> str:
    return entry if isinstance(entry, str) else entry.key


def _preamble(bucket: Bucket, page: Page, markers: str, more: bool) -> str:
    text = page.text
    delimiter = f"<Delimiter>{text(page.delimiter)}</Delimiter>" if page.delimiter else ""
    encoding = "<EncodingType>url</EncodingType>" if page.encoded else ""
    return (
        f"<Name>{bucket.name}</Name><Prefix>{text(page.prefix)}</Prefix>{markers}"
        f"<MaxKeys>{page.limit}</MaxKeys>{delimiter}{encoding}"
        f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>"
    )


def _prefixes(page: Page, entries: list[Entry]) -> str:
    return "".join(
        f"<CommonPrefixes><Prefix>{page.text(one)}</Prefix></CommonPrefixes>"
        for one in entries
        if isinstance(one, str)
    )


def _contents(bucket: Bucket, page: Page, markers: str, more: bool, entries: list[Entry]) -> str:
    owner = _OWNER if page.owners else ""
    shown = "".join(
        f"<Contents><Key>{page.text(one.key)}</Key>{_facts(one)}{owner}</Contents>"
        for one in entries
        if isinstance(one, Version)
    )
    return _preamble(bucket, page, markers, more) + shown + _prefixes(page, entries)


def _version(bucket: Bucket, page: Page, version: Version) -> str:
    latest = "true" if bucket.versions(version.key)[:1] == [version] else "false"
    named = (
        f"<Key>{page.text(version.key)}</Key><VersionId>{version.version_id}</VersionId>"
        f"<IsLatest>{latest}</IsLatest>"
    )
    if version.delete_marker:
        when = f"<LastModified>{_iso(version.last_modified)}</LastModified>"
        return f"<DeleteMarker>{named}{when}{_OWNER}</DeleteMarker>"
    return f"<Version>{named}{_facts(version)}{_OWNER}</Version>"


def _facts(version: Version) -> str:
    return (
        f"<LastModified>{_iso(version.last_modified)}</LastModified>"
        f"<ETag>{version.etag.replace(chr(34), '&quot;')}</ETag><Size>{version.size}</Size>"
        "<StorageClass>STANDARD</StorageClass>"
    )


def _iso(when: float) -> str:
    return datetime.fromtimestamp(int(when), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _limit(text: str | None) -> int:
    if text is None:
        return LIMIT
    if not re.fullmatch(r"-?\d{1,10}", text, re.ASCII) or int(text) >= 1 << 31:
        raise InvalidArgument(
            "Provided max-keys not an integer or within integer range", "max-keys", text
        )
    if int(text) < 0:
        raise InvalidArgument(
            "Argument maxKeys must be an integer between 0 and 2147483647", "maxKeys", text
        )
    return min(int(text), LIMIT)


def _token(key: str) -> str:
    return base64.urlsafe_b64encode(b"\x01" + key.encode()).decode()


def _untoken(token: str) -> str:
    try:
        plain = base64.b64decode(token, altchars=b"-_", validate=True)
        if plain[:1] != b"\x01":
            raise ValueError(token)
        return plain[1:].decode()
    except (ValueError, binascii.Error):
        text = "The continuation token provided is incorrect"
        raise InvalidArgument(text, "continuation-token", token) from None
