"""Nodes of a site that read the same files at the same time, and what the origin had to send.

A trial has nodes of its own, each with its own namespace, home, cache and mount, and a caching
server with an empty cache, or none.  Every byte that is read is compared.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.mount.machine import Machine, Mounted, Outcome
from tests.mount.published import Published
from tests.s3 import ProgrammableS3
from tests.site.network import Site
from tests.site.servers import CacheServer
from vbofs.blocks.extents import BLOCK_SIZE

MIB = 1 << 20
FILES = {f"behavior_sessions/{name}.nwb": 16 * MIB for name in ("a", "b", "c")}
#: Of each file, read by every node, and by one node each.
SHARED_READS, OWN_READS = 24, 8
AWAY = r"WARNING .*the site cache http://\S+ is passed by for a while"


#: What a node does: its mount, and which node it is.
Reading = Callable[[Mounted, int], None]


class Node(Machine):
    """A machine in a network namespace."""

    apart: tuple[str, ...] = ()

    def execute(self, *command: str, **env: str) -> Outcome:
        return super().execute(*self.apart, *command, **env)


class Result(NamedTuple):
    """What a trial took: bytes that the origin sent, its requests, and seconds."""

    sent: int
    requests: int
    seconds: float


class Bench:
    """The origin, and the ground on which trials are made."""

    def __init__(self, folder: Path, site: Site, s3: ProgrammableS3) -> None:
        self.folder, self.site, self.s3 = folder, site, s3
        self.published = Published(s3)
        self.published.release("1.0.0", FILES)
        self._trials = 0

    @contextlib.contextmanager
    def cache(self, kind: type[CacheServer]) -> Iterator[CacheServer]:
        """A running caching server with nothing in it."""
        self._trials += 1
        name = f"c{self._trials}"
        address, apart = self.site.plug(name)
        try:
            with kind(self.folder / name, self.s3.url, host=address, apart=apart) as server:
                yield server
        finally:
            self.site.unplug(name)

    @contextlib.contextmanager
    def nodes(self, count: int, *words: str) -> Iterator[list[Mounted]]:
        """So many nodes, each with the release mounted and looked into."""
        self._trials += 1
        nodes: list[Node] = []
        try:
            for number in range(count):
                name = f"n{self._trials}x{number}"
                node = Node(self.folder / name, self.s3.url)
                _, node.apart = self.site.plug(name)
                node.expect(AWAY)
                nodes.append(node)
            with ThreadPoolExecutor(4) as pool:
                mounts = list(pool.map(lambda node: node.mount(*words), nodes))
            for mounted in mounts:
                os.listdir(mounted / "v1.0.0")
            self.s3.clear_log()
            yield mounts
        finally:
            for node in nodes:
                node.clean()
                self.site.unplug(node.root.name)

    def sent(self) -> tuple[int, int]:
        """Bytes of released files that the origin sent, and its requests for them."""
        asked = [one for one in self.s3.requests if one.key.endswith(".nwb")]
        return sum(one.sent for one in asked), len(asked)

    def measured(self, mounts: Sequence[Mounted], read: Reading) -> Result:
        """Have all nodes *read* at once."""
        began = time.monotonic()
        with ThreadPoolExecutor(len(mounts)) as pool:
            list(pool.map(read, mounts, range(len(mounts))))
        taken = time.monotonic() - began
        return Result(*self.sent(), taken)

    def copy(self, mounted: Mounted, number: int) -> None:
        """Read every file from front to back, as cp does."""
        for path, size in FILES.items():
            truth = self.published.pin("1.0.0", path)
            with (mounted / f"v1.0.0/{path}").open("rb") as file:
                for start in range(0, size, MIB):
                    assert file.read(MIB) == truth.read(start, start + MIB), (path, start)

    def scatter(self, mounted: Mounted, number: int) -> None:
        """Read single blocks here and there, most of them the same on every node."""
        for path in FILES:
            truth = self.published.pin("1.0.0", path)
            blocks = scattered(path, number)
            with open(mounted / f"v1.0.0/{path}", "rb", buffering=0) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
                for block in blocks:
                    start = block * BLOCK_SIZE
                    got = os.pread(file.fileno(), 4096, start)
                    assert got == truth.read(start, start + 4096), (path, block)

    def mixed(self, mounted: Mounted, number: int) -> None:
        """Half of the nodes copy while the others read here and there, and then copy too."""
        if number % 2:
            self.scatter(mounted, number)
        self.copy(mounted, number)


def scattered(path: str, number: int) -> list[int]:
    """The blocks of *path* that node *number* reads."""
    count = FILES[path] // BLOCK_SIZE
    shared = random.Random(path).sample(range(count), SHARED_READS)
    own = random.Random(f"{path} {number}").sample(range(count), OWN_READS)
    blocks = sorted({*shared, *own})
    random.Random(number).shuffle(blocks)
    return blocks


def unique_bytes(job: str, nodes: int) -> int:
    """Bytes of different blocks that so many nodes want."""
    if job != "scatter":
        return sum(FILES.values())
    wanted = {(path, block) for path in FILES for n in range(nodes) for block in scattered(path, n)}
    return len(wanted) * BLOCK_SIZE
