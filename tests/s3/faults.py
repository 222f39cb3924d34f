"""Faults: which requests they befall, and what is done to those. The lies are in `lies`.

A fault counts the requests it matches and those it befell; both counts change under the server's
lock. Positions are bytes of body; a negative one is before the head, so that nothing is sent.
Several fields may be set at once: `Fault(status=503, delay=0.2, times=3)`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, field, fields

from tests.s3.request import Request


@dataclass(kw_only=True, eq=False)
class Fault:
    """One thing that goes wrong, and for whom; spent after *times*, or when it is lifted."""

    # for whom: every condition that is given must hold
    operation: str | Iterable[str] | None = None  # "GET", ("GET", "HEAD"), "LIST_VERSIONS", …
    key: str | re.Pattern[str] | None = None  # searched in the key; in the prefix of a listing
    version_id: str | None = None
    when: Callable[[Request], object] | None = None
    skip: int = 0  # the first so many that match are spared
    every: int = 1  # of the rest, each so-manieth is befallen, beginning with the first
    times: int | None = None  # so many in all

    # how the bytes travel
    delay: float = 0  # seconds before the answer begins
    trickle: tuple[int, float] | None = None  # so many bytes at a time, so many seconds apart
    stall_at: int | None = None  # silence from this byte on, until lifted
    reset_at: int | None = None  # RST after this byte has been acknowledged
    close_at: int | None = None  # an orderly end after this byte: a short body
    raw: bytes | None = None  # these bytes in place of an HTTP answer, then the end

    # what the head says
    headers: dict[str, str | None] | None = None  # set, or left out if None
    content_range_shift: int = 0  # Content-Range tells of bytes so much further on
    content_length_lie: int = 0  # added to the true Content-Length; then the connection ends
    long_body: int = 0  # so many bytes follow the body, and the connection stays
    truncate_body: int = 0  # the body lacks its last bytes, and its Content-Length agrees
    whole: bool = False  # 200 and the whole object, whatever range was asked for
    gzip: bool = False  # the body packed, with Content-Encoding

    # what the body is
    flip_at: int | None = None  # one bit of this byte of the body is wrong
    shift_body: int = 0  # the bytes come from so much further on, the head does not tell
    body: bytes | None = None  # these bytes instead, with a true Content-Length
    html: bool = False  # a page of HTML, as from a proxy or a hotel

    # an error instead: either names the other
    status: int | None = None
    code: str | None = None  # S3's: SlowDown, AccessDenied, …
    location: str | None = None  # a redirect's

    # "truncated", "malformed", "laughs", "endless", or an edit of the XML
    listing: str | Callable[[bytes], bytes] | None = None

    seen: int = field(default=0, init=False)  # requests that matched
    fired: int = field(default=0, init=False)  # requests that were befallen
    lifted: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    def due(self, request: Request) -> bool:
        """Whether *request* is befallen; counts, so it is asked once per request."""
        if self.lifted.is_set() or not self.matches(request):
            return False
        nth, self.seen = self.seen - self.skip, self.seen + 1
        if nth < 0 or nth % self.every or (self.times is not None and self.fired >= self.times):
            return False
        self.fired += 1
        return True

    def matches(self, request: Request) -> bool:
        asked = request.key or request.prefix
        return (
            (self.operation is None or request.operation in _several(self.operation))
            and (self.key is None or re.search(self.key, asked) is not None)
            and (self.version_id is None or request.version_id == self.version_id)
            and (self.when is None or bool(self.when(request)))
        )

    def lift(self) -> None:
        """Befall nothing more, and let those go on that stall."""
        self.lifted.set()

    @property
    def cut(self) -> int | None:
        """The byte of the body where something happens to the connection."""
        cuts = [one for one in (self.stall_at, self.reset_at, self.close_at) if one is not None]
        return min(cuts, default=None)

    @property
    def words(self) -> str:
        """What it does, for the log: the fields that are set, but not for whom."""
        return " ".join(
            f"{name}={value!r:.60}"
            for name, default in _DEEDS.items()
            if (value := getattr(self, name)) != default
        )


def _several(operation: str | Iterable[str]) -> Iterable[str]:
    return (operation,) if isinstance(operation, str) else operation


_CONDITIONS = {"operation", "key", "version_id", "when", "skip", "every", "times"}
_DEEDS = {
    one.name: None if one.default is MISSING else one.default
    for one in fields(Fault)
    if one.init and one.name not in _CONDITIONS
}

Script = Fault | Callable[[Request], Fault | None]
