"""One request: parsed from its head, and what the log keeps of it.

A Request is made when its head has arrived and stands in the log from then on; `status`, `sent`
and `finished` are filled in while it is answered. They are written *before* the bytes they tell
of go out, so a client that has seen the last byte also finds it in the log.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote


class BadRequest(Exception):
    """What came is not HTTP."""


@dataclass(slots=True, eq=False)
class Request:
    """What was asked, by whom, and how it was answered."""

    number: int
    connection: int
    arrived: float  # time.monotonic()
    method: str
    target: str
    http: str = "HTTP/1.1"
    headers: dict[str, str] = field(default_factory=dict)  # lower-case names
    query: dict[str, str] = field(default_factory=dict)
    bucket: str = ""
    key: str = ""
    operation: str = ""
    # [start, stop) of the object as the answer resolved it; None for a request without a range
    range: tuple[int, int] | None = None
    status: int = 0
    sent: int = 0  # bytes of body, framing not counted
    finished: float | None = None
    fault: str = ""  # what was done to it, in the words of Fault's fields
    broken: bool = False  # the client or a fault ended it before its end

    @property
    def version_id(self) -> str | None:
        return self.query.get("versionId")

    @property
    def prefix(self) -> str:
        return self.query.get("prefix", "")

    @property
    def keeps_alive(self) -> bool:
        token = self.headers.get("connection", "").lower()
        return token != "close" and (self.http == "HTTP/1.1" or token == "keep-alive")

    def address(self, buckets: set[str]) -> None:
        """Find bucket, key and operation; *buckets* are the names that a Host may begin with."""
        path, _, query = self.target.partition("?")
        if "://" in path:  # the absolute form that a proxy gets
            path = "/" + path.partition("://")[2].partition("/")[2]
        self.query = dict(parse_qsl(query, keep_blank_values=True))
        host = self.headers.get("host", "")
        hosted = [name for name in buckets if host.startswith(name + ".")]
        if hosted:
            self.bucket, self.key = max(hosted, key=len), unquote(path[1:])
        else:
            bucket, _, key = path[1:].partition("/")
            self.bucket, self.key = unquote(bucket), unquote(key)
        self.operation = self._operation()

    def _operation(self) -> str:
        if self.method not in ("GET", "HEAD"):
            return self.method
        if self.key:
            return self.method
        if self.method == "HEAD":
            return "HEAD_BUCKET"
        if not self.bucket:
            return "LIST_BUCKETS"
        for name in ("versions", "location", "versioning"):
            if name in self.query:
                return {"versions": "LIST_VERSIONS"}.get(name, name.upper())
        return "LIST" if self.query.get("list-type") == "2" else "LIST_V1"


def parse_head(head: bytes, *, number: int, connection: int, arrived: float) -> Request:
    """Read the lines before the blank one; raises BadRequest."""
    lines = head.decode("latin-1").split("\r\n")
    try:
        method, target, http = lines[0].split(" ")
    except ValueError:
        raise BadRequest(lines[0]) from None
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Request(number, connection, arrived, method, target, http, headers)
