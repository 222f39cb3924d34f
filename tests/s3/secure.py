"""TLS before a server that speaks HTTP; its certificate's authority is known to nobody yet."""

from __future__ import annotations

import contextlib
import ssl
import threading
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import trio
import trustme


class SecureFront:
    """``https://localhost:…`` before *url*; a context manager, with a thread of its own.

    *name*: to whom its certificate was issued.
    """

    def __init__(self, url: str, folder: Path, name: str = "localhost") -> None:
        self._behind = urlsplit(url).port or 80
        authority = trustme.CA()
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(name).configure_cert(self._context)
        #: A bundle of certificates with which it is trusted.
        self.bundle = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.bundle))
        self.url = ""
        self._handshakes = 0
        self._more = threading.Condition()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._run,), name="secure front")

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._token.run_sync_soon(self._scope.cancel)
        self._thread.join()

    def handshakes(self, count: int = 0, patience: float = 10.0) -> int:
        """How many were completed, as soon as there are *count*, or when patience ends."""
        with self._more:
            self._more.wait_for(lambda: self._handshakes >= count, patience)
            return self._handshakes

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as self._scope:
            async with trio.open_nursery() as nursery:
                listeners = await nursery.start(trio.serve_tcp, self._serve, 0)
                port = listeners[0].socket.getsockname()[1]
                self.url = f"https://localhost:{port}"
                self._ready.set()

    async def _serve(self, stream: trio.SocketStream) -> None:
        secure = trio.SSLStream(stream, self._context, server_side=True, https_compatible=True)
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await secure.do_handshake()
            with self._more:
                self._handshakes += 1
                self._more.notify_all()
            behind = await trio.open_tcp_stream("127.0.0.1", self._behind)
            async with behind, trio.open_nursery() as nursery:
                for source, target in ((secure, behind), (behind, secure)):
                    nursery.start_soon(_pour, source, target, nursery.cancel_scope)
        with trio.move_on_after(1):
            await trio.aclose_forcefully(secure)


async def _pour(
    source: trio.abc.ReceiveStream, target: trio.abc.SendStream, scope: trio.CancelScope
) -> None:
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async for piece in source:
            await target.send_all(piece)
    scope.cancel()
