"""The process that serves the sample: moto's S3 over HTTP/1.1, ``python -m vbofs.demo.serving``.

moto answers; this file mends what makes it unlike S3 as a source of many small extents:

* its server closes every connection, and lingers 10 ms over each; here connections live on;
* it copies a whole object to answer any range of it; here a plain range is read from where moto
  keeps the body (anything else, and every error, is still moto's answer);
* it copies every body in the bucket for each page of a listing; here a listing copies none;
* it keeps the parts of a finished upload beside the whole; here they are let go.

One thread per connection. A body is one seekable file: it is read under its key's lock, as moto
does.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from moto.s3.models import FakeKey, FakeMultipart, s3_backends
from werkzeug.serving import make_server

from .server import ALIVE, HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Environ = dict[str, Any]
    Headers = list[tuple[str, str]]

RANGE = re.compile(r"bytes=(\d+)-(\d*)")
# With any of these in a request, moto decides.
CONDITIONAL = re.compile(r"HTTP_(IF_.*|X_AMZ_CHECKSUM_MODE)")


class Connection(MotoRequestHandler):
    """One connection: requests in, whole answers out, until the client closes."""

    protocol_version = "HTTP/1.1"
    # Head and body are two writes; with Nagle's algorithm the second waits 40 ms for an ACK.
    disable_nagle_algorithm = True

    def run_wsgi(self) -> None:
        """Answer one request.

        Werkzeug's own version ends the connection, because a body left unread would be taken for
        the next request; so the body is read before anything else.
        """
        environ = self.make_environ()
        environ["wsgi.input"] = io.BytesIO(self._body(environ))
        status, headers, body = _run(self.server.app, environ)
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for name, value in headers:
            self.send_header(name, value)
        if "content-length" not in {name.lower() for name, _value in headers}:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self, environ: Environ) -> bytes:
        if environ.get("HTTP_EXPECT", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if environ.get("wsgi.input_terminated"):  # chunked; werkzeug undoes it
            return bytes(environ["wsgi.input"].read())
        return self.rfile.read(int(environ.get("CONTENT_LENGTH") or 0))

    def handle_expect_100(self) -> bool:
        return True  # said in _body; http.server would say it a second time

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


def _run(app: Any, environ: Environ) -> tuple[str, Headers, bytes]:
    """One WSGI call; an exception becomes an answer, and a traceback in the log."""
    said: list[Any] = []

    def start_response(status: str, headers: Headers, *_exc_info: object) -> None:
        said[:] = status, headers

    try:
        parts = app(environ, start_response)
        body = b"".join(parts)
    except Exception:
        traceback.print_exc()
        return "500 Internal Server Error", [], b""
    if close := getattr(parts, "close", None):
        close()
    return said[0], said[1], body


class Application:
    """Plain ranges and the sign of life are answered here, all else by moto."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)

    def __repr__(self) -> str:
        return "Application()"

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == ALIVE:
            start_response("200 OK", [])
            return [str(os.getpid()).encode()]
        asked = _plain_range(environ)
        if asked is None:
            answer: Iterable[bytes] = self._moto(environ, start_response)
            return answer
        headers, body = _part_of(*asked)
        start_response("206 Partial Content", headers)
        return [body]


def _plain_range(environ: Environ) -> tuple[FakeKey, int, int] | None:
    """(key, start, stop) of a GET that wants bytes that exist, and attaches no condition to it."""
    matched = RANGE.fullmatch(environ.get("HTTP_RANGE", ""))
    query = parse_qs(environ["QUERY_STRING"])
    if environ["REQUEST_METHOD"] != "GET" or matched is None or not query.keys() <= {"versionId"}:
        return None
    if any(CONDITIONAL.fullmatch(name) for name in environ):
        return None
    key = _key(environ["PATH_INFO"], query.get("versionId", [None])[0])
    start = int(matched[1])
    if key is None or start >= key.size:
        return None
    if key.acl is not None and not key.acl.public_read:
        return None  # whether to answer at all is moto's decision
    last = int(matched[2]) if matched[2] else key.size
    return None if last < start else (key, start, min(last + 1, key.size))


def _key(path: str, version_id: str | None) -> FakeKey | None:
    bucket, _, name = path.removeprefix("/").partition("/")
    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    return backend.get_object(bucket, name, version_id) if bucket in backend.buckets else None


def _part_of(key: FakeKey, start: int, stop: int) -> tuple[Headers, bytes]:
    with key.lock:
        key._value_buffer.seek(start)
        body = key._value_buffer.read(stop - start)
    named = {**key.metadata, **key.response_dict, "content-length": str(len(body))}
    named |= {"Accept-Ranges": "bytes", "Content-Range": f"bytes {start}-{stop - 1}/{key.size}"}
    return list(named.items()), body


# --- moto's memory


def _without_body(key: FakeKey, _memo: object) -> FakeKey:
    """A copy of *key* for a listing, which copies keys only to mark one of them as the latest.

    What a key holds on to is let go when it goes, so the copy holds an empty body and no parts.
    """
    copy: FakeKey = object.__new__(FakeKey)
    nothing = {"_value_buffer": io.BytesIO(), "multipart": None, "disposed": True}
    copy.__dict__.update(key.__dict__, **nothing)
    return copy


def _mend_moto(folder: Path) -> None:
    """Make moto keep bodies in nameless files in *folder*, once each."""
    os.environ["MOTO_S3_DEFAULT_KEY_BUFFER_SIZE"] = str(64 << 10)  # larger ones go to a file
    tempfile.tempdir = str(folder)  # /tmp may be memory, and is often smaller than the sample
    FakeKey.__deepcopy__ = _without_body  # type: ignore[attr-defined]
    complete = FakeMultipart.complete

    def complete_and_let_go(upload: FakeMultipart, body: Any) -> Any:
        whole = complete(upload, body)
        upload.dispose()
        return whole

    FakeMultipart.complete = complete_and_let_go  # type: ignore[assignment, method-assign]


# --- the process


def main() -> None:
    """Serve on argv's port until SIGTERM; argv's state file names pid and URL meanwhile."""
    state, port = Path(sys.argv[1]), int(sys.argv[2])
    _mend_moto(state.parent)
    server = make_server(HOST, port, Application(), threaded=True, request_handler=Connection)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    url = f"http://{HOST}:{server.server_port}"
    new = state.with_suffix(".new")
    new.write_text(json.dumps({"pid": os.getpid(), "url": url}))
    new.rename(state)
    print(url, flush=True)  # whoever started this waits for it
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)  # and for the end of the pipe
    try:
        server.serve_forever()  # its threads are daemons: open connections keep nothing alive
    finally:
        state.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
