"""Connections to one server, for ranges: a signed URL in, checked bytes into a sink.

For whoever asks from a thread, in the daemon or in the process that carries for it.
"""

from __future__ import annotations

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
    """Connections held back from a pool of urllib3's, so that each is another one."""

    def __init__(self, pool: Any, count: int) -> None:
        self._pool = pool
        self._held: list[Any] = [pool._get_conn() for _ in range(count)]

    @property
    def unconnected(self) -> list[Callable[[], None]]:
        """What connects those that are not, each for a thread of its own; it raises as urllib3."""
        return [partial(_connect, one) for one in self._held if one.is_closed]

    def give_back(self) -> None:
        """Let others use them, but not while one of them is being connected.  Those that could not
        be are closed, and connected by who uses them."""
        while self._held:
            self._pool._put_conn(self._held.pop())


def _connect(connection: Any) -> None:
    try:
        connection.connect()
    except BaseException:
        connection.close()  # With TCP but no TLS it would pass for a connected one.
        raise


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
            max_pool_connections=way.connections,
        )

    def __repr__(self) -> str:
        return f"<Line to {self._settings.endpoint_url or self._settings.region}>"

    def close(self) -> None:
        """Close idle connections."""
        self._http.close()

    def spare(self, url: str, count: int) -> Spare | None:
        """*count* connections to the server of *url*, taken from those that nobody uses or made.

        None if the way leads through a proxy, where a connection belongs to one request.
        """
        http: Any = self._http
        if http._proxy_config.proxy_url_for(url):
            return None
        pool = http._manager.connection_from_url(url)
        http._setup_ssl_cert(pool, url, http._verify)
        return Spare(pool, count)

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
