"""``python -m vbofs.transfer <descriptor>``: what the daemon starts; of no use to anybody else.

One thread hears what the daemon says, others fetch.  When the daemon is gone, so is this.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import msgspec

from ..remote.carrying import Way
from ..remote.s3_line import Line
from .landing import DiskRefuses, Landing
from .messages import LARGEST, Ask, Cancel, Ended, Fetch, Kept, Ping, Pong, Report, Request

#: Requests under way at once; others wait.  So many large ones fill any line.
THREADS = 64


class Transfer:
    """Serves the daemon at the other end of *channel*."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._crew = ThreadPoolExecutor(THREADS)
        self._lines: dict[bytes, Line] = {}
        self._landings: dict[int, Landing] = {}
        self._decoder = msgspec.msgpack.Decoder(Request)

    def serve(self) -> None:
        """Return when the daemon is gone."""
        self._say(Pong())
        while True:
            try:
                said, places, _, _ = socket.recv_fds(self._channel, LARGEST, 2)
            except ConnectionError:  # It has been killed before it had heard all we said.
                return
            if not said:
                return
            self._heed(self._decoder.decode(said), places)

    def _heed(self, request: Request, places: list[int]) -> None:
        if isinstance(request, Fetch):
            self._begin(request, places)
        elif isinstance(request, Ping):
            self._say(Pong())
        elif (landing := self._landings.get(request.serial)) is None:
            return  # It has ended meanwhile.
        elif isinstance(request, Ask):
            landing.ask(request.stop)
        elif isinstance(request, Cancel):
            landing.cancel()

    def _begin(self, fetch: Fetch, places: list[int]) -> None:
        marks, data = places

        def tell(stop: int) -> None:
            self._say(Kept(fetch.serial, stop))

        landing = Landing(fetch.order.extent, (marks, data), tell)
        self._landings[fetch.serial] = landing
        self._crew.submit(self._fetch, fetch, landing)

    def _fetch(self, fetch: Fetch, landing: Landing) -> None:
        received = 0

        def note(nbytes: int) -> None:
            nonlocal received
            received += nbytes

        error, words, number = "", "", 0
        try:
            self._line(fetch.way).get(fetch.order, landing, note)
        except DiskRefuses as refusal:
            number = refusal.error.errno or -1
        except Exception as failure:
            error, words = type(failure).__name__, str(failure)
        finally:
            del self._landings[fetch.serial]
            landing.close()
        self._say(Ended(fetch.serial, landing.kept, received, error, words, number))

    def _line(self, way: Way) -> Line:
        key = msgspec.msgpack.encode(way)
        line = self._lines.get(key)
        if line is None:
            line = self._lines.setdefault(key, Line(way))
        return line

    def _say(self, report: Report) -> None:
        try:
            self._channel.send(msgspec.msgpack.encode(report))
        except OSError:
            os._exit(0)  # The daemon is gone.


def main() -> None:
    """Serve whoever is at the other end of the descriptor that is named."""
    if len(sys.argv) != 2 or not sys.argv[1].isdigit():
        print(
            "vbofs.transfer is started by the daemon, and of no use to anybody else",
            file=sys.stderr,
        )
        sys.exit(2)
    # It ends with the daemon, which may outlive what is sent to all of its group.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        Transfer(channel).serve()
        os._exit(0)  # Threads may still pour.


if __name__ == "__main__":
    main()
