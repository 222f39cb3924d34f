"""The server: its listening socket, its threads, its log, and what a test sets on it.

A thread accepts, each connection has its own (`connection`). The settings `delay`, `handshake`,
`rate`, `total_rate` and the list `faults` may be changed at any time and hold from the next request
(the rates from the next piece, the handshake from the next connection) on. The log, the requests in
flight and the faults' counts change under one lock; no other is taken while it is held but in a
script of the test's own.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.s3 import buckets as shelf
from tests.s3.buckets import Bucket, Version
from tests.s3.catalogue import Catalogue, load_catalogue
from tests.s3.connection import Connection
from tests.s3.faults import Fault, Script
from tests.s3.pace import Throttle
from tests.s3.request import Request

_BACKLOG = 1024


class ProgrammableS3:
    """An S3 on *host*; a context manager that serves in threads while it is entered."""

    def __init__(
        self,
        *,
        port: int = 0,
        delay: float = 0,
        handshake: float = 0,
        rate: float | None = None,
        total_rate: float | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.delay = delay  # seconds before each answer
        self.handshake = handshake  # seconds before a new connection is heard
        self.rate = rate  # bytes of body a second on each connection
        self.total_rate = total_rate  # bytes of body a second on all of them together
        self.faults: list[Script] = []
        self.buckets: dict[str, Bucket] = {}
        self.bugs: list[BaseException] = []
        self.stopping = threading.Event()
        self.throttle = Throttle()
        self.host, self.port = host, port
        self._log: list[Request] = []
        self._lock = threading.RLock()  # a script may ask the server things
        self._in_flight: set[Request] = set()
        self._peak = 0
        self._numbers, self._connections, self._serials = count(1), count(1), count(1)
        self._living: dict[Connection, threading.Thread] = {}
        self._listening: socket.socket | None = None
        self._reserved: socket.socket | None = None  # holds the port while the server is down
        self._accepting: threading.Thread | None = None

    def __repr__(self) -> str:
        state = "up" if self._listening else "down"
        return f"<ProgrammableS3 {self.url} {state}, {len(self._log)} requests>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.stop()
        if self.bugs and error is None:
            raise BaseExceptionGroup("bugs of the programmable S3", self.bugs)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    # --- its life

    def start(self) -> None:
        self.stopping.clear()
        self._reserve()
        self.up()

    def stop(self) -> None:
        """End every connection and thread; the port is free afterwards."""
        self.stopping.set()
        self.down()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    def down(self, *, keep_connections: bool = False) -> None:
        """Refuse new connections, and reset those that live unless they are to be kept."""
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.shutdown(socket.SHUT_RDWR)  # wakes accept(), which close() would not
            listening.close()
            if self._accepting is not None:
                self._accepting.join()
            self._reserve()
        if not keep_connections:
            self._hang_up_all()

    def up(self) -> None:
        """Listen again, on the same port."""
        if self._listening is None and self._reserved is not None:
            self._listening, self._reserved = self._reserved, None
            self._listening.listen(_BACKLOG)
            self._accepting = threading.Thread(
                target=self._accept, args=(self._listening,), name="s3-accept", daemon=True
            )
            self._accepting.start()

    def heal(self) -> None:
        """Remove every fault, and let go what they stall."""
        gone, self.faults = self.faults, []
        for fault in gone:
            if isinstance(fault, Fault):
                fault.lift()

    # --- what is in it

    def create_bucket(
        self, name: str, *, versioned: bool = True, region: str = "us-west-2"
    ) -> Bucket:
        """The bucket of that name, made if it is not there; a put makes a versioned one."""
        return self.buckets.setdefault(name, Bucket(name, region, versioned))

    def put(
        self,
        bucket: str,
        key: str,
        body: bytes,
        version_id: str | None = None,
        *,
        last_modified: float | None = None,
        etag: str | None = None,
    ) -> str:
        """Store *body* as a version of *key*, and return its version id."""
        named = self._version_id(bucket, key, version_id)
        when = shelf.now() if last_modified is None else last_modified
        etag = etag or shelf.simple_etag(body)
        version = Version(key, named, len(body), etag, when, bytes(body))
        self.create_bucket(bucket).put(version)
        return named

    def put_virtual(
        self,
        bucket: str,
        key: str,
        size: int,
        version_id: str | None = None,
        *,
        last_modified: float | None = None,
        etag: str | None = None,
    ) -> str:
        """Declare a version of *size* bytes that `content` makes; the ETag is only plausible."""
        named = self._version_id(bucket, key, version_id)
        when = shelf.now() if last_modified is None else last_modified
        etag = etag or shelf.plausible_etag(key, named, size)
        self.create_bucket(bucket).put(Version(key, named, size, etag, when))
        return named

    def delete(self, bucket: str, key: str, version_id: str | None = None) -> str | None:
        """Put a delete marker and return its version id; or remove the version that is named."""
        place = self.create_bucket(bucket)
        if version_id is not None or not place.versioned:
            place.drop(key, version_id or "null")
            return None
        named = self._version_id(bucket, key, None)
        place.put(Version(key, named, 0, "", shelf.now(), delete_marker=True))
        return named

    def version(self, bucket: str, key: str, version_id: str | None = None) -> Version:
        """What the server has under that name; the truth of its bytes is `.read(start, stop)`."""
        found = self.buckets[bucket].find(key, version_id)
        if found is None:
            raise KeyError((bucket, key, version_id))
        return found

    def load_catalogue(
        self,
        lists: Path | str | Mapping[str, Path],
        *,
        scale: float = 1,
        exact: bool = False,
        tables: Path | str | None = None,
    ) -> Catalogue:
        """The releases of real lists of URLs; see `catalogue.load_catalogue`."""
        return load_catalogue(self, lists, scale=scale, exact=exact, tables=tables)

    # --- what was asked of it

    @property
    def requests(self) -> list[Request]:
        """Every request since the log was cleared, in order of arrival; those in flight too."""
        return list(self._log)

    def clear_log(self) -> None:
        """Forget the requests, and the peak of those in flight."""
        with self._lock:
            self._log = []
            self._peak = len(self._in_flight)

    def counts(self) -> Counter[str]:
        """How many requests of each operation."""
        return Counter(one.operation for one in self.requests)

    @property
    def bytes_sent(self) -> int:
        """Bytes of body in the log."""
        return sum(one.sent for one in self.requests)

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    @property
    def peak_in_flight(self) -> int:
        """The most requests that were under way at one moment."""
        return self._peak

    # --- for connections

    def next_number(self) -> int:
        return next(self._numbers)

    def begin(self, request: Request) -> None:
        with self._lock:
            self._log.append(request)
            self._in_flight.add(request)
            self._peak = max(self._peak, len(self._in_flight))

    def end(self, request: Request) -> None:
        """Count *request* out; a second time is nothing."""
        with self._lock:
            if request in self._in_flight:
                self._in_flight.discard(request)
                request.finished = time.monotonic()

    def fault_for(self, request: Request) -> Fault | None:
        """The first fault of the list that is due, or that a script of the list returns."""
        if not self.faults:
            return None
        with self._lock:
            for script in list(self.faults):
                fault = script if isinstance(script, Fault) else script(request)
                if fault is not None and fault.due(request):
                    return fault
        return None

    def forget(self, connection: Connection) -> None:
        with self._lock:
            self._living.pop(connection, None)

    # --- threads and sockets

    def _reserve(self) -> None:
        """Bind the port without listening: connections are refused, and no one else gets it."""
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind((self.host, self.port))
        self.port = self._reserved.getsockname()[1]

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                sock, _ = listening.accept()
            except OSError:  # shut down
                return
            connection = Connection(self, sock, next(self._connections))
            thread = threading.Thread(
                target=connection.run, name=f"s3-{connection.number}", daemon=True
            )
            with self._lock:
                self._living[connection] = thread
            thread.start()

    def _hang_up_all(self) -> None:
        with self._lock:
            living = dict(self._living)
        for connection in living:
            connection.hang_up()
        if self.stopping.is_set():
            for thread in living.values():
                thread.join()

    def _version_id(self, bucket: str, key: str, version_id: str | None) -> str:
        if not self.create_bucket(bucket).versioned:
            return "null"
        return version_id or shelf.new_version_id(key, next(self._serials))
