"""Who takes part: what each is called, how it is started, and where its files then are.

Mounts are started in the foreground, as their manuals say for daily use, with a cache that is as
large as the disk; options beyond that are only those without which a peer would be at a
disadvantage that has nothing to do with reading (rclone would send a HEAD for each file's time).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.files import BUCKET, PROJECT, RELEASE
from tests.benchmarks.peers import Peers
from tests.benchmarks.processes import ROOT

NOBODY = 65534


@dataclass(frozen=True)
class Place:
    """Where a contestant lives during one trial."""

    url: str
    mountpoint: Path
    cache: Path
    home: Path


Start = Callable[[Place, Peers], "list[str] | None"]


@dataclass(frozen=True)
class Contestant:
    """*kind* is mount, local, http or library; *start* gives a mount's words, None if absent.

    *below* is where in the mount the bucket's prefix is; *keeps* says that it has a cache on disk.
    """

    name: str
    kind: str
    start: Start | None = None
    below: str = ""
    user: int | None = None
    env: dict[str, str] = field(default_factory=dict)
    keeps: bool = True

    def why_absent(self, peers: Peers) -> str:
        """Why it cannot take part here; "" if it can."""
        if self.user is not None and os.geteuid() != 0:
            return "only root can be somebody else"
        if self.kind == "library":
            return "" if peers.python() else peers.absent.get("libraries", "not installed")
        if self.start and self.start(_NOWHERE, peers) is None:
            return peers.absent.get(self.name.split("-")[0], "not installed")
        return ""

    def environment(self, place: Place) -> dict[str, str]:
        """A clean one; VBOFS_* of the caller pass, so that settings can be tried."""
        env = {
            "HOME": str(place.home),
            "LANG": "C.UTF-8",
            "PATH": os.environ["PATH"],
            "XDG_RUNTIME_DIR": str(place.home / "run"),
            "PYTHONPATH": str(ROOT),
        }
        env |= {name: value for name, value in os.environ.items() if name.startswith("VBOFS_")}
        return env | {name: text.format(place=place) for name, text in self.env.items()}


def _vbofs(place: Place, peers: Peers) -> list[str]:
    words = [sys.executable, "-m", "vbofs", "mount", str(place.mountpoint), "--foreground"]
    return [*words, "--endpoint-url", place.url, "--cache-dir", str(place.cache)]


def _rclone(mode: str) -> Start:
    def start(place: Place, peers: Peers) -> list[str] | None:
        program = peers.program("rclone")
        if program is None:
            return None
        words = [program, "mount", f"bench:{BUCKET}/{PROJECT}", str(place.mountpoint)]
        words += ["--read-only", "--use-server-modtime", f"--cache-dir={place.cache}"]
        return [*words, f"--vfs-cache-mode={mode}"]

    return start


_RCLONE = {
    "RCLONE_CONFIG": "{place.home}/rclone.conf",
    "RCLONE_CONFIG_BENCH_TYPE": "s3",
    "RCLONE_CONFIG_BENCH_PROVIDER": "Other",
    "RCLONE_CONFIG_BENCH_ENDPOINT": "{place.url}",
    "RCLONE_CONFIG_BENCH_REGION": "us-west-2",
}


def _s3fs(*, cached: bool) -> Start:
    def start(place: Place, peers: Peers) -> list[str] | None:
        program = peers.program("s3fs")
        if program is None:
            return None
        options = [f"url={place.url}", "use_path_request_style", "public_bucket=1", "ro"]
        options += [f"use_cache={place.cache}" if cached else f"tmpdir={place.cache}"]
        words = [program, f"{BUCKET}:/{PROJECT}", str(place.mountpoint), "-f"]
        return [*words, *(word for option in options for word in ("-o", option))]

    return start


_NOWHERE = Place("", Path("/"), Path("/"), Path("/"))
_IN_VBOFS = f"v{RELEASE}"

CONTESTANTS = (
    Contestant("vbofs", "mount", _vbofs, _IN_VBOFS),
    Contestant("vbofs-user", "mount", _vbofs, _IN_VBOFS, NOBODY),
    Contestant("rclone-full", "mount", _rclone("full"), env=_RCLONE),
    Contestant("rclone-off", "mount", _rclone("off"), env=_RCLONE, keeps=False),
    Contestant("s3fs-cache", "mount", _s3fs(cached=True)),
    Contestant("s3fs", "mount", _s3fs(cached=False), keeps=False),
    Contestant("remfile", "library"),
    Contestant("fsspec", "library"),
    Contestant("http", "http"),
    Contestant("local", "local"),
)
