"""What S3 would say: from the buckets and a request to an honest answer. No I/O.

Errors are S3's codes, texts and XML, with the fields S3 adds to each. Where S3 ignores a header
that makes no sense (two ranges, a range that ends before it begins), so does this.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from functools import lru_cache
from xml.sax.saxutils import escape

from tests.s3 import listing
from tests.s3.buckets import Body, Bucket, Version, Written
from tests.s3.request import Request

XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)

# code: (status, message), as S3 words them
ERRORS: dict[str, tuple[int, str]] = {
    "AccessDenied": (403, "Access Denied"),
    "AllAccessDisabled": (403, "All access to this object has been disabled"),
    "BadRequest": (400, "An error occurred when parsing the HTTP request."),
    "ExpiredToken": (400, "The provided token has expired."),
    "InternalError": (500, "We encountered an internal error. Please try again."),
    "InvalidArgument": (400, "Invalid Argument"),
    "InvalidRange": (416, "The requested range is not satisfiable"),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "NoSuchBucket": (404, "The specified bucket does not exist"),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NoSuchVersion": (404, "The specified version does not exist."),
    "NotImplemented": (501, "A header you provided implies functionality that is not implemented"),
    "PermanentRedirect": (
        301,
        "The bucket you are attempting to access must be addressed using the specified endpoint. "
        "Please send all future requests to this endpoint.",
    ),
    "PreconditionFailed": (
        412,
        "At least one of the pre-conditions you specified did not hold",
    ),
    "RequestTimeout": (
        400,
        "Your socket connection to the server was not read from or written to "
        "within the timeout period. Idle connections will be closed.",
    ),
    "RequestTimeTooSkewed": (
        403,
        "The difference between the request time and the current time is too large.",
    ),
    "ServiceUnavailable": (503, "Service is unable to handle request."),
    "SlowDown": (503, "Please reduce your request rate."),
    "TemporaryRedirect": (307, "Please re-send this request to the specified temporary endpoint."),
    "TooManyRequests": (429, "Please reduce your request rate."),
}


@dataclass(slots=True)
class Answer:
    """A status, headers and a body; *version* and *extent* say what the body is cut from."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: Body = field(default_factory=lambda: Written(b""))
    version: Version | None = None
    extent: tuple[int, int] | None = None
    chunked: bool = False  # S3 sends its XML so, and a client must not count on a length


def answer(buckets: Mapping[str, Bucket], request: Request) -> Answer:
    """The honest answer to *request*."""
    if request.method not in ("GET", "HEAD"):
        return error("NotImplemented", request)
    if not request.bucket:
        return error("AccessDenied", request)
    bucket = buckets.get(request.bucket)
    if bucket is None:
        return error("NoSuchBucket", request, BucketName=request.bucket)
    if request.key:
        return _object(bucket, request)
    return _bucket(bucket, request)


def error(
    code: str, request: Request, *, status: int = 0, message: str = "", **fields: object
) -> Answer:
    """S3's XML for *code*; *fields* become elements between the message and the request id."""
    usual = ERRORS.get(code, (400, code))
    parts = {"Code": code, "Message": message or usual[1], **fields}
    parts |= {"RequestId": request_id(request), "HostId": host_id(request)}
    body = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in parts.items())
    return xml_answer(f"<Error>{body}</Error>", status=status or usual[0])


def _invalid(request: Request, text: str, name: str, value: str) -> Answer:
    return error("InvalidArgument", request, message=text, ArgumentName=name, ArgumentValue=value)


def xml_answer(document: str, *, status: int = 200) -> Answer:
    body = Written((XML + document).encode())
    return Answer(status, {"Content-Type": "application/xml"}, body, chunked=True)


def request_id(request: Request) -> str:
    return f"{request.number * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF:016X}"


def host_id(request: Request) -> str:
    return f"{request.number:056d}tests/s3="


@lru_cache(maxsize=4096)
def http_date(when: int) -> str:
    return formatdate(when, usegmt=True)


def whole(answer: Answer) -> Answer:
    """The same object from its first byte to its last, as if no range had been asked for."""
    version = answer.version
    if version is None or answer.status != 206:
        return answer
    headers = {name: text for name, text in answer.headers.items() if name != "Content-Range"}
    body = version.body(0, version.size)
    return replace(answer, status=200, headers=headers, body=body, extent=(0, version.size))


def _bucket(bucket: Bucket, request: Request) -> Answer:
    if request.operation == "HEAD_BUCKET":
        headers = {"Content-Type": "application/xml"}
        return Answer(200, headers | {"x-amz-bucket-region": bucket.region})
    if request.operation == "LOCATION":
        # S3's oldest region answers with an empty element
        region = "" if bucket.region == "us-east-1" else bucket.region
        return xml_answer(listing.element("LocationConstraint", region))
    if request.operation == "VERSIONING":
        status = "<Status>Enabled</Status>" if bucket.versioned else ""
        return xml_answer(listing.element("VersioningConfiguration", status))
    try:
        page = listing.Page.parse(request)
        document = listing.LISTINGS[request.operation](bucket, page)
    except listing.InvalidArgument as reason:
        text, name, value = reason.args
        return _invalid(request, text, name, value)
    made = xml_answer(document)
    made.headers["x-amz-bucket-region"] = bucket.region
    return made


def _object(bucket: Bucket, request: Request) -> Answer:
    key, version_id = request.key, request.version_id
    if version_id == "":
        text = "Version id cannot be the empty string"
        return _invalid(request, text, "versionId", "")
    version = bucket.find(key, version_id)
    if version is None and version_id is not None:
        return error("NoSuchVersion", request, Key=key, VersionId=version_id)
    if version is None:
        return error("NoSuchKey", request, Key=key)
    if version.delete_marker:
        return _delete_marker(version, request)
    refused = _precondition(version, request)
    return refused or _extent(bucket, version, request)


def _delete_marker(version: Version, request: Request) -> Answer:
    """The newest version being a marker the key is not there; asked for by name it is no object."""
    if request.version_id is None:
        made = error("NoSuchKey", request, Key=version.key)
    else:
        kind = "DeleteMarker"
        made = error("MethodNotAllowed", request, Method=request.method, ResourceType=kind)
        made.headers |= {"Allow": "DELETE", "Last-Modified": http_date(int(version.last_modified))}
    made.headers |= {"x-amz-delete-marker": "true", "x-amz-version-id": version.version_id}
    return made


def _precondition(version: Version, request: Request) -> Answer | None:
    if_match = request.headers.get("if-match")
    if if_match is not None and not _names_etag(if_match, version.etag):
        return error("PreconditionFailed", request, Condition="If-Match")
    if_none_match = request.headers.get("if-none-match")
    if if_none_match is not None and _names_etag(if_none_match, version.etag):
        return Answer(304, {"ETag": version.etag})
    return None


def _names_etag(header: str, etag: str) -> bool:
    asked = [one.strip().strip('"') for one in header.split(",")]
    return "*" in asked or etag.strip('"') in asked


def _extent(bucket: Bucket, version: Version, request: Request) -> Answer:
    size, header = version.size, request.headers.get("range")
    extent = parse_range(header, size)
    if header is not None and extent is not None and extent[0] >= extent[1]:
        return error("InvalidRange", request, RangeRequested=header, ActualObjectSize=size)
    request.range = extent
    headers = _object_headers(bucket, version)
    if extent is None:
        return Answer(200, headers, version.body(0, size), version, (0, size))
    start, stop = extent
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return Answer(206, headers, version.body(start, stop), version, extent)


def _object_headers(bucket: Bucket, version: Version) -> dict[str, str]:
    headers = {
        "Last-Modified": http_date(int(version.last_modified)),
        "ETag": version.etag,
        "x-amz-server-side-encryption": "AES256",
        "Accept-Ranges": "bytes",
        "Content-Type": "binary/octet-stream",
    }
    if bucket.versioned:
        headers["x-amz-version-id"] = version.version_id
    return headers


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """`[start, stop)` clipped to *size*, empty if it cannot be satisfied, None to send it all."""
    match = _RANGE.fullmatch(header or "")
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size if int(last) else 0
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last else size
