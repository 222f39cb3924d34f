"""Connections to one server, for ranges: a signed URL in, checked bytes into a sink.

For whoever asks from a thread, in the daemon or in the process that carries for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from botocore.awsrequest import AWSPreparedRequest
from botocore.httpsession import URLLib3Session

from ..config import Settings
from .carrying import Order, Way
from .protocol import Sink
from .s3_errors import error_of
from .s3_ranges import Pace, check, poured
from .waits import waiting_for


class Spare:
    """Connections held back from a pool of urllib3's, so that each is another one.

    For several threads: whoever waits for them may be cancelled at any moment, and each connection
    goes back when nobody connects it any more.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: Any = None
        self._held: list[Any] = []
        self._is_over = False

    def take(self, pool: Any, count: int) -> list[Callable[[], None]]:
        """Hold *count* connections of *pool*, some perhaps new; return what connects those that are
        not connected, each for a thread of its own.  It raises as urllib3 does.
        """
        with self._lock:
            if self._is_over:
                return []
            self._pool, self._held = pool, [pool._get_conn() for _ in range(count)]
            idle = [one for one in self._held if one.is_closed]
            return [partial(self._connect, one) for one in idle]

    def _connect(self, connection: Any) -> None:
        with self._lock:
            if self._is_over:
                return
            self._held.remove(connection)
        try:
            connection.connect()
        except BaseException:
            connection.close()  # With TCP but no TLS it would pass for a connected one.
            raise
        finally:
            with self._lock:
                self._held.append(connection)
                if self._is_over:
                    self._give_back()

    def give_back(self) -> None:
        """Let others use them; those that are being connected, when they are.  What could not be
        connected is closed, and connected by who uses it."""
        with self._lock:
            self._is_over = True
            self._give_back()

    def _give_back(self) -> None:
        while self._held:
            self._pool._put_conn(self._held.pop())  # Closed, if the pool is.


class Line:
    """urllib3's pools on *way*, with the same proxies and TLS as botocore's."""

    def __init__(self, way: Way) -> None:
        self._patience = way.patience
        self._settings = Settings(
            bucket=way.bucket,
            region=way.region,
            endpoint_url=way.endpoint_url,
            profile=way.profile,
        )
        self._http = URLLib3Session(
            verify=way.verify,
            proxies=dict(way.proxies),
            timeout=way.patience[:2],
            # Those that are spare are out besides, and come back besides.
            max_pool_connections=2 * way.connections,
        )

    def __repr__(self) -> str:
        return f"<Line to {self._settings.endpoint_url or self._settings.region}>"

    def close(self) -> None:
        """Close idle connections."""
        self._http.close()

    def spare(self, url: str, count: int, spare: Spare) -> list[Callable[[], None]]:
        """Have *spare* hold *count* connections to the server of *url*; see ``Spare.take``.

        None of them where the way leads through a proxy: there each belongs to one request.
        """
        http: Any = self._http
        if http._proxy_config.proxy_url_for(url):
            return []
        pool = http._manager.connection_from_url(url)
        http._setup_ssl_cert(pool, url, http._verify)
        return spare.take(pool, count)

    def get(self, order: Order, sink: Sink, note: Callable[[int], None]) -> None:
        """Pour what *order* names into *sink*; say to *note* how many bytes came, also on failure.

        VbofsError, with one line for the user.
        """
        try:
            self._get(order, sink, note)
        except Exception as error:
            extent = order.extent
            subject = f"{order.blob.version.key} bytes {extent.start}-{extent.stop}"
            raise error_of(error, self._settings, subject) from error

    def _get(self, order: Order, sink: Sink, note: Callable[[int], None]) -> None:
        headers = dict(order.headers)
        request = AWSPreparedRequest("GET", order.url, headers, None, stream_output=True)
        with waiting_for("server"):
            response = self._http.send(request)
        raw: Any = response.raw
        received = 0
        try:
            check(response, order.blob, order.extent, self._settings)
            pace = Pace(self._patience)
            # http.client's own readinto() spares two copies of urllib3's.
            for got in poured(getattr(raw, "_fp", raw), order.extent.size, sink, pace):
                received += got
        except BaseException:
            raw.close()  # Whatever is left in the socket must not answer the next request.
            raise
        finally:
            note(received)
        raw.release_conn()
