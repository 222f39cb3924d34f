"""From an honest answer to the one a fault gives: what is said, not how it travels. No I/O."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from tests.s3 import answers
from tests.s3.answers import ERRORS, Answer
from tests.s3.buckets import Body, Bucket, Written
from tests.s3.faults import Fault
from tests.s3.request import Request

_CODES = {
    301: "PermanentRedirect",
    307: "TemporaryRedirect",
    400: "BadRequest",
    403: "AccessDenied",
    404: "NoSuchKey",
    405: "MethodNotAllowed",
    412: "PreconditionFailed",
    416: "InvalidRange",
    429: "TooManyRequests",
    500: "InternalError",
    501: "NotImplemented",
    503: "SlowDown",
}

_HTML = b"<html><head><title>Sign in</title></head><body><h1>Guest network</h1></body></html>"

# Ten entities of ten: each level is tenfold, ten of them would be ten thousand million laughs.
LAUGHS = (
    '<?xml version="1.0"?>\n<!DOCTYPE lolz [<!ENTITY lol0 "lol">'
    + "".join(f'<!ENTITY lol{level} "{f"&lol{level - 1};" * 10}">' for level in range(1, 11))
    + "]>\n<ListVersionsResult><Name>&lol10;</Name></ListVersionsResult>"
).encode()


@dataclass(slots=True)
class Flipped:
    """A body with one bit wrong."""

    body: Body
    at: int

    def __len__(self) -> int:
        return len(self.body)

    def view(self, start: int, stop: int) -> memoryview:
        view = self.body.view(start, stop)
        if not start <= self.at < stop:
            return view
        wrong = bytearray(view)
        wrong[self.at - start] ^= 0x10
        return memoryview(wrong)


def lie(fault: Fault, honest: Answer, *, request: Request, buckets: Mapping[str, Bucket]) -> Answer:
    """The answer that *fault* gives to *request* in place of *honest*."""
    made = _instead(fault, honest, request)
    if fault.listing is not None and request.operation.startswith("LIST"):
        made = _listing(fault.listing, made, request=request, buckets=buckets)
    if fault.whole:
        made = answers.whole(made)
    made = replace(made, headers=dict(made.headers), body=_body(fault, made), chunked=False)
    if fault.gzip:
        made.body = Written(gzip.compress(_all(made.body), compresslevel=1, mtime=0))
        made.headers["Content-Encoding"] = "gzip"
    if fault.content_range_shift and made.extent and made.version:
        start, stop = (edge + fault.content_range_shift for edge in made.extent)
        made.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{made.version.size}"
    made.headers["Content-Length"] = str(len(made.body) + fault.content_length_lie)
    for name, text in (fault.headers or {}).items():
        _set(made.headers, name, text)
    return made


def _instead(fault: Fault, honest: Answer, request: Request) -> Answer:
    """The error, redirect or page that *fault* gives, or *honest*."""
    made = honest
    if fault.status is not None or fault.code is not None or fault.location is not None:
        status = fault.status or (307 if fault.location and not fault.code else 0)
        code = fault.code or _CODES.get(status, f"Status{status}")
        status = status or ERRORS.get(code, (400,))[0]
        moved = {"Endpoint": _endpoint(fault, request), "Bucket": request.bucket}
        fields = moved if 300 < status < 400 else {}
        made = answers.error(code, request, status=status, **fields)
        if fault.location is not None:
            made.headers["Location"] = fault.location
    if fault.html:
        made = Answer(made.status, {"Content-Type": "text/html"}, Written(_HTML))
    if fault.body is not None:
        made = replace(made, body=Written(fault.body))
    return made


def _endpoint(fault: Fault, request: Request) -> str:
    host = urlsplit(fault.location or "").netloc
    return host or f"{request.bucket}.s3.us-east-1.amazonaws.com"


def _body(fault: Fault, made: Answer) -> Body:
    body: Body = made.body
    if fault.shift_body and made.version and made.extent:
        body = _shifted(made, fault.shift_body)
    if fault.truncate_body:
        body = Written(_all(body)[: max(0, len(body) - fault.truncate_body)])
    if fault.flip_at is not None:
        body = Flipped(body, fault.flip_at)  # type: ignore[assignment]
    return body


def _shifted(made: Answer, shift: int) -> Body:
    assert made.version is not None
    assert made.extent is not None
    start, stop = made.extent
    stored = made.version.stored
    if stored is None:
        return made.version.body(start + shift, stop + shift)
    turn = shift % max(1, len(stored))
    return Written((stored[turn:] + stored[:turn])[start:stop])


def _all(body: Body) -> bytes:
    grain = 1 << 20
    pieces = range(0, len(body), grain)
    return b"".join(bytes(body.view(at, min(at + grain, len(body)))) for at in pieces)


def _set(headers: dict[str, str], name: str, text: str | None) -> None:
    for known in [one for one in headers if one.lower() == name.lower()]:
        del headers[known]
    if text is not None:
        headers[name] = text


def _listing(
    lie_: str | Callable[[bytes], bytes],
    honest: Answer,
    *,
    request: Request,
    buckets: Mapping[str, Bucket],
) -> Answer:
    document = _all(honest.body)
    if callable(lie_):
        return replace(honest, body=Written(lie_(document)))
    if lie_ == "endless":
        return _endless(request, buckets)
    edits: dict[str, Callable[[bytes], bytes]] = {
        "truncated": lambda xml: xml[: len(xml) // 2],
        "malformed": lambda xml: xml.replace(b"</IsTruncated>", b"</IsTruncate>&nonsense;<"),
        "laughs": lambda xml: LAUGHS,
    }
    return replace(honest, body=Written(edits[lie_](document)))


def _endless(request: Request, buckets: Mapping[str, Bucket]) -> Answer:
    """The first page, over and over, and always the same marker for the next."""
    markers = {"key-marker", "version-id-marker", "continuation-token", "marker", "start-after"}
    query = {name: text for name, text in request.query.items() if name not in markers}
    first = answers.answer(buckets, replace(request, query=query))
    document = _all(first.body)
    document = re.sub(rb"<Next(\w+)>.*?</Next\1>", b"", document)
    same = (
        b"<NextKeyMarker>the-same</NextKeyMarker><NextVersionIdMarker>null</NextVersionIdMarker>"
        if request.operation == "LIST_VERSIONS"
        else b"<NextContinuationToken>the-same</NextContinuationToken>"
    )
    truncated = b"<IsTruncated>true</IsTruncated>"
    document = document.replace(b"<IsTruncated>false</IsTruncated>", truncated)
    return replace(first, body=Written(document.replace(truncated, truncated + same)))
