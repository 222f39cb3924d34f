"""Who serves: the programmable S3 in a process of its own, with the corpus in memory.

One server for every job and contestant. It sends mapped files, which costs it as little as nginx's
sendfile (measured, on two cores: 2.2 to 3.7 GB/s against 1.5 to 3.3 at 0.21 to 0.26 CPU seconds a
gigabyte; only for requests of 128 KiB nginx needs half: 70 against 150 us each), and unlike nginx
it speaks S3, counts, and can be far away. The files lie on tmpfs: dropping the page cache makes
contestants cold and not the server.

A count is taken when nothing is under way any more, so what was fetched for nothing is in it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.files import BUCKET, BenchFile, Name, manifest, manifest_key
from tests.benchmarks.processes import ROOT
from tests.s3 import S3Process

#: Seconds of silence after which a contestant counts as done, and for which it is waited for.
QUIET, PATIENCE = 0.1, 4.0


@dataclass(frozen=True)
class Link:
    """The way to the server: seconds before each answer, bytes a second of all connections, and
    seconds before a new connection is heard, as TCP and TLS need over a distance."""

    delay: float = 0.0
    rate: float | None = None
    handshake: float = 0.0

    def __str__(self) -> str:
        rate = f"{self.rate / 1e6:.0f}MBps" if self.rate else "free"
        handshake = f"/tls{self.handshake * 1000:.0f}ms" if self.handshake else ""
        return f"{self.delay * 1000:.0f}ms/{rate}{handshake}"


#: No added latency and no limit: the throughput jobs.
DIRECT = Link()


@dataclass(frozen=True)
class Traffic:
    """What was asked and sent since the log was cleared, and the most *waits* in a row."""

    requests: int
    gets: int
    sent: int
    waits: int
    ranges: tuple[tuple[int, int, float], ...] = ()


class Server(S3Process):
    """The programmable S3 with files of this disk; a context manager."""

    def __init__(self, spec: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.origin", str(spec)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # ^C is ours; the end of its stdin is what ends it
        )
        self.pid = self._process.pid
        self._link = DIRECT
        self.url = self._line()

    def clear(self) -> None:
        """Forget what was asked."""
        self.command("clear_log")

    def set(self, link: Link) -> None:
        """Be that far away from now on."""
        self._link = link
        self.command("set", delay=link.delay, total_rate=link.rate, handshake=link.handshake)

    def settled(self) -> Traffic:
        """What was asked, once nobody asks any more, or when patience ends."""
        self._await_quiet(QUIET + self._link.delay)
        said = self.command("traffic")
        said["ranges"] = tuple(tuple(one) for one in said["ranges"])
        return Traffic(**said)

    def _await_quiet(self, seconds: float) -> None:
        deadline = time.monotonic() + PATIENCE
        seen, since = None, time.monotonic()
        while (now := time.monotonic()) < deadline and now - since < seconds:
            activity = self.command("activity")
            if activity != seen or activity["in_flight"]:
                seen, since = activity, now
            time.sleep(0.02)


@contextmanager
def serving(scratch: Path, files: Iterable[BenchFile], names: Iterable[Name]) -> Iterator[Server]:
    """A server that has these."""
    files, names = list(files), list(names)
    room = _memory(scratch, sum(file.size for file in files))
    try:
        with Server(_publish(room, files, names)) as server:
            yield server
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _memory(scratch: Path, size: int) -> Path:
    """A new folder on tmpfs if *size* fits there twice, else on the disk."""
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and shutil.disk_usage(shared).free > 2 * size
    room = (shared if roomy else scratch) / f"vbofs-bench-{os.getpid()}"
    shutil.rmtree(room, ignore_errors=True)
    room.mkdir(mode=0o700)
    return room


def _publish(room: Path, files: list[BenchFile], names: list[Name]) -> Path:
    served = [(file, room / file.name) for file in files]
    for file, target in served:
        shutil.copyfile(file.local, target)
    spec = room / "spec.json"
    document = {
        "bucket": BUCKET,
        "files": [(f.key, f.version_id, f.etag, str(target)) for f, target in served],
        "names": [(one.key, one.version_id, one.size) for one in names],
        "texts": [(manifest_key(), manifest(files, names).decode())],
    }
    spec.write_text(json.dumps(document))
    return spec
