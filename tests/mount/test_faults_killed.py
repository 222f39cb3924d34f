"""kill -9 at any moment of a cold read: the next daemon believes what is whole, and only that."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import xxhash

from tests.mount.machine import Machine
from tests.mount.published import Published
from tests.mount.reading import opened
from tests.s3 import ProgrammableS3
from vbofs.blocks.blobmap import HEADER_SIZE
from vbofs.blocks.extents import BLOCK_SIZE, covering
from vbofs.model import Extent

#: Kills in all, shared by two machines at once.
KILLS = int(os.environ.get("SOAK_KILLS", "20"))
MIB = 1 << 20
SIZE = 6 * MIB + 77
#: Bytes a second: a file takes a few kills.
RATE = 10 * MIB


class Life:
    """A cache that outlives many daemons, and what they were reading when they died."""

    def __init__(self, machine: Machine, published: Published, seed: int) -> None:
        self.machine, self.published = machine, published
        self.chance = random.Random(seed)
        self.names = (f"behavior_sessions/{n}.nwb" for n in range(1000))
        self.read: list[tuple[str, str]] = []
        self.blocks_checked = 0
        self.publish()

    def publish(self) -> None:
        """Something cold to read."""
        self.name, self.release = next(self.names), f"1.{len(self.read)}.0"
        self.read.append((self.release, self.name))
        self.published.release(self.release, {self.name: SIZE})
        self.truth = self.published.truth(self.release, self.name)

    def kept(self) -> list[int]:
        """The blocks that the file's map claims; each must be in the data file, and right."""
        for marks in (self.machine.cache / "blobs").glob("??/*.map"):
            slots = marks.read_bytes()[HEADER_SIZE:]
            slots = struct.unpack(f"<{len(slots) // 8}Q", slots)
            body = marks.with_name(marks.stem).read_bytes()
            found = [block for block, slot in enumerate(slots) if slot]
            # Blobs are filed under hashes: only the bytes tell which is which.
            if found and len(body) == SIZE and _block(body, found[0]) == self.piece(found[0]):
                for block in found:
                    assert _block(body, block) == self.piece(block)
                    assert slots[block] == xxhash.xxh3_64_intdigest(self.piece(block))
                return found
        return []

    def piece(self, block: int) -> bytes:
        return _block(self.truth, block)

    def live_and_die(self) -> None:
        """Mount, check what is kept, read on, and be killed at a random moment of that."""
        kept = self.kept()
        if len(kept) == -(-SIZE // BLOCK_SIZE):
            self.publish()
            kept = []
        mounted = self.machine.mount()
        path = mounted / f"v{self.release}/{self.name}"
        self.published.s3.clear_log()
        reader = subprocess.Popen(["cat", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        killer = threading.Timer(self.chance.uniform(0, 0.25), mounted.kill)
        killer.start()
        body, _ = reader.communicate(timeout=30)
        killer.join()
        assert self.truth.startswith(body)
        self.assert_not_fetched(kept)

    def assert_not_fetched(self, kept: list[int]) -> None:
        ranges = self.published.ranges(self.name)
        asked = {n for start, stop in ranges for n in covering(Extent(start, stop))}
        assert not asked & set(kept)
        self.blocks_checked += len(kept)

    def end(self) -> None:
        """All of every file is right, and of the last one nothing is asked twice."""
        self.published.s3.total_rate = None
        kept = self.kept()
        mounted = self.machine.mount()
        self.published.s3.clear_log()
        with opened(mounted / f"v{self.release}/{self.name}") as fd:
            for block in kept:
                size = len(self.piece(block))
                assert os.pread(fd, size, block * BLOCK_SIZE) == self.piece(block)
        assert (mounted / f"v{self.release}/{self.name}").read_bytes() == self.truth
        self.assert_not_fetched(kept)
        assert mounted.status()["cache"]["damaged"] == 0
        for release, name in self.read:
            truth = self.published.truth(release, name)
            assert (mounted / f"v{release}/{name}").read_bytes() == truth


def _block(body: bytes, block: int) -> bytes:
    return body[block * BLOCK_SIZE : (block + 1) * BLOCK_SIZE]


@pytest.mark.timeout(60 + 4 * KILLS)
def test_killed_at_random_moments_of_cold_reads_it_forgets_no_block_and_serves_no_wrong_one(
    machines,
):
    def live(seed: int) -> Life:
        with ProgrammableS3(total_rate=RATE) as s3:
            life = Life(machines(s3.url), Published(s3), seed)
            try:
                for _ in range(KILLS // 2):
                    life.live_and_die()
                life.end()
            finally:
                life.machine.clean()
        return life

    with ThreadPoolExecutor(2) as lives:
        done = list(lives.map(live, (1, 2)))
    assert all(life.blocks_checked for life in done)
