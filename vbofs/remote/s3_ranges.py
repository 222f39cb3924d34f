"""One answer of S3 to a request for a range: whether it is that range, and how its bytes get here.

An answer is compared with what was asked before one byte of it is poured.  A body that stops, ends
early or only trickles is an error.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ParamSpec, TypeVar

from ..config import Settings
from ..errors import ObjectMissing, RemoteError, VbofsError, WrongResponse
from ..model import Blob, Extent
from .carrying import Patience
from .protocol import Sink, SinkFailed
from .s3_errors import Answer, error_of_answer

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds.  A read time-out is a stall: no byte for that long.
CONNECT_TIMEOUT = 10
READ_TIMEOUT = 15
#: Bytes in that time, less than a modem's: below it another connection is worth a try.
LEAST_PROGRESS = 16 << 10
#: Bytes of an error's body that are looked at.
ERROR_BODY = 64 << 10


def usual_patience() -> Patience:
    """That of requests to S3 itself."""
    return Patience(CONNECT_TIMEOUT, READ_TIMEOUT, LEAST_PROGRESS)


def check(response: Any, blob: Blob, extent: Extent, settings: Settings) -> None:
    """Raise unless *response* is the very bytes asked for."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    if response.status_code != 206:
        answer = _answer(response.status_code, headers, response.raw)
        raise error_of_answer(answer, settings, blob.version.key)
    expected = {
        "content-range": f"bytes {extent.start}-{extent.stop - 1}/{blob.size}",
        "content-length": str(extent.size),
        "x-amz-version-id": blob.version.version_id,
        "etag": f'"{blob.etag}"',
        "content-encoding": "identity",
    }
    required = ("content-range", "content-length")
    if (
        blob.version.version_id == "null"
        and headers.get("etag", expected["etag"]) != (expected["etag"])
    ):
        raise ObjectMissing(
            f"{blob.version.key} was replaced in its bucket, which keeps no versions; mount"
            " again to read the new one"
        )
    for name, value in expected.items():
        got = headers.get(name)
        if got != value and (got is not None or name in required):
            raise WrongResponse(f"{blob.version.key}: asked for {name} {value!r}, got {got!r}")


def poured(body: Any, size: int, sink: Sink, pace: Pace) -> Iterator[int]:
    """Pour the *size* bytes of *body* into *sink*, saying after each step how many those were."""
    had = 0
    while had < size:
        got = _arrived(body, _ours(sink.get_buffer)[: size - had])
        if not got:
            raise WrongResponse(f"the body ends {size - had} bytes early")
        had += got
        _ours(sink.buffer_updated, got)
        yield got
        pace.check(had)


def _ours(call: Callable[P, T], *args: P.args, **words: P.kwargs) -> T:
    """Call the sink: what goes wrong there is no error of the remote."""
    try:
        return call(*args, **words)
    except VbofsError:
        raise
    except Exception as bug:
        raise SinkFailed(repr(bug)) from bug


def _arrived(body: Any, room: memoryview) -> int:
    """Read what is there into *room*, a byte at least; 0 at the end.

    http.client's readinto() comes back only when *room* is full, however slowly the bytes trickle
    in.  So this asks the file under it, and keeps http.client's account of what is left.
    """
    if body.fp is None or body.length is None:
        return int(body.readinto(room))
    got = int(body.fp.readinto1(room[: body.length]))
    body.length -= got
    if not body.length:
        body.readinto(bytearray())  # Its way of noticing the end, and freeing the connection.
    return got


class Pace:
    """Notices a body that trickles: a socket's time-out is content with a byte now and then."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._since = time.monotonic()
        self._had = 0

    def check(self, had: int) -> None:
        """*had* bytes have come so far; RemoteError if hardly any of them came lately."""
        now = time.monotonic()
        _, within, least = self._patience
        if now - self._since > within:
            if had - self._had < least:
                raise RemoteError(f"only {had - self._had} bytes came in {within:g} s")
            self._since, self._had = now, had


def _answer(status: int, headers: Mapping[str, str], raw: Any) -> Answer:
    body = raw.read(ERROR_BODY).decode("utf-8", "replace")
    found = {tag: re.search(rf"<{tag}>([^<]*)</{tag}>", body) for tag in ("Code", "Message")}
    code, text = (match[1] if match else "" for match in found.values())
    return Answer(status, code, text, headers)
