"""The file system against a dict of bytes: releases, faults, damage, evictions, restarts.

Each rule is one life of a mount, on a disk and over a bucket that live on.  Whatever happened
before, a read gives the published bytes or, where the network failed, an error; never other bytes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import hypothesis
import pytest
import trio
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.conftest import BUCKET, Publisher, contents
from tests.model.remote import ScriptedStore
from vbofs import config
from vbofs.blocks.extents import BLOCK_SIZE
from vbofs.blocks.fetcher import Fetcher
from vbofs.blocks.store import open_store
from vbofs.catalog.tree import ROOT
from vbofs.dataset import Dataset
from vbofs.errors import BlockUnavailable, RemoteError
from vbofs.filesystem import Filesystem
from vbofs.remote.memory import MemoryObjectStore
from vbofs.remote.retrying import Retrying

SIZES = {"a/empty.nwb": 0, "a/short.nwb": BLOCK_SIZE - 1, "b/long.nwb": 12 * BLOCK_SIZE + 17}
PATHS = sorted(SIZES)
LARGEST = max(SIZES.values())

#: Which file of which release, from where, how much.
READ = st.tuples(
    st.integers(0, 9),
    st.sampled_from(PATHS),
    st.integers(0, LARGEST + 10),
    st.integers(1, 1 << 20),
)
#: Steps of the long profile, which `make soak` runs: SOAK_STEPS=10000.
LONG = int(os.environ.get("SOAK_STEPS", "0"))
READS = st.lists(READ, min_size=1, max_size=6)
FAILURE = st.tuples(st.integers(0, LARGEST), st.just(RemoteError("the line broke")))


class Mounts(RuleBasedStateMachine):
    """One cache directory and one bucket, mounted again and again."""

    #: Of all machines that ran.
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="vbofs-model-"))
        self.settings = config.load({"cache_dir": self.folder / "cache"}, environ={})
        memory = MemoryObjectStore(BUCKET)
        self.remote = ScriptedStore(memory)
        self.publisher = Publisher(memory)
        self.releases: list[dict[str, bytes]] = []
        self.store = open_store(self.settings.cache_dir, 1 << 30, keep_free=0)

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    # --- what happens to the bucket and the disk

    @initialize()
    def publish_the_first_release(self):
        self._publish({path: contents(size, path) for path, size in SIZES.items()})

    @rule(path=st.sampled_from(PATHS))
    def publish_a_correction(self, path):
        changed = contents(SIZES[path], (path, len(self.releases)))
        self._publish({**self.releases[-1], path: changed})

    def _publish(self, files):
        self.publisher.release(f"1.{len(self.releases)}.0", files)
        self.releases.append(files)

    @rule(blocks=st.integers(0, 30))
    def open_the_cache_again_with_another_limit(self, blocks):
        self.store = open_store(self.settings.cache_dir, blocks * BLOCK_SIZE, keep_free=0)

    @rule(nth=st.integers(0, 1000), at=st.integers(0, 1 << 21), flip=st.integers(1, 255))
    def damage_a_byte(self, nth, at, flip):
        path = self._kept_file(nth)
        if path and path.stat().st_size:
            with path.open("r+b") as file:
                file.seek(at % path.stat().st_size)
                byte = file.read(1)[0]
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte ^ flip]))

    @rule(nth=st.integers(0, 1000), at=st.integers(0, 1 << 21))
    def cut_a_file_short(self, nth, at):
        path = self._kept_file(nth)
        if path:
            os.truncate(path, at % (path.stat().st_size + 1))

    @rule(nth=st.integers(0, 1000))
    def delete_a_file(self, nth):
        path = self._kept_file(nth)
        if path:
            path.unlink()

    def _kept_file(self, nth):
        every = sorted(self.settings.cache_dir.glob("*/**/*"))
        files = [path for path in every if path.is_file()]
        return files[nth % len(files)] if files else None

    @invariant()
    def count_the_step(self):
        Mounts.steps += 1

    # --- lives of a mount

    @rule(reads=READS)
    def read(self, reads):
        self._live(self._reading(reads, may_fail=False))

    @rule(reads=READS, failures=st.lists(FAILURE, min_size=1, max_size=3))
    def read_over_a_bad_line(self, reads, failures):
        self._live(self._reading(reads, may_fail=True), failures=failures)

    @rule(reads=READS, failures=st.lists(FAILURE, min_size=1, max_size=3))
    def read_over_a_bad_line_patiently(self, reads, failures):
        self._live(self._reading(reads, may_fail=False), failures=failures, timeout=1000)

    @rule(reads=READS, others=READS, at=st.integers(0, LARGEST))
    def read_while_others_give_up(self, reads, others, at):
        async def work(filesystem):
            await self._read_all(filesystem, [], may_fail=False)
            self.remote.hold(at)
            async with trio.open_nursery() as lasting:
                lasting.start_soon(self._read_all, filesystem, reads)
                async with trio.open_nursery() as leaving:
                    leaving.start_soon(self._read_all, filesystem, others)
                    await wait_all_tasks_blocked()
                    leaving.cancel_scope.cancel()
                self.remote.let_go()

        self._live(work)
        self.remote.let_go()

    def _reading(self, reads, *, may_fail):
        async def work(filesystem):
            await self._read_all(filesystem, reads, may_fail=may_fail)

        return work

    def _live(self, work, *, failures=(), timeout=0.0):
        """Mount, do *work*, unmount; the network fails as told once the mount is there."""

        async def life():
            remote = Retrying(self.remote, timeout) if timeout else self.remote
            async with trio.open_nursery() as nursery:
                fetcher = Fetcher(nursery, self.store, remote, 3)
                dataset = await Dataset.open(self.remote, self.settings)
                filesystem = Filesystem(dataset, self.store, fetcher, nursery)
                for release in range(len(self.releases)):
                    await self._find(filesystem, release, PATHS[0])
                self.remote.failures.extend(failures)
                await work(filesystem)
                assert filesystem.statistics().handles == 0
                nursery.cancel_scope.cancel()
            assert not fetcher.under_way
            self.remote.failures.clear()

        trio.run(life, clock=MockClock(autojump_threshold=0))

    async def _read_all(self, filesystem, reads, may_fail=False):
        async with trio.open_nursery() as readers:
            for release, path, offset, size in reads:
                which = release % len(self.releases)
                readers.start_soon(self._read, filesystem, which, path, offset, size, may_fail)

    async def _read(self, filesystem, release, path, offset, size, may_fail):
        node = await self._find(filesystem, release, path)
        truth = self.releases[release][path]
        assert filesystem.attrs(node).size == len(truth)
        filesystem.open(node.ino)
        try:
            got = await filesystem.read(node.ino, offset, size)
            assert got == truth[offset : offset + size]
        except BlockUnavailable:
            assert may_fail
        finally:
            filesystem.close(node.ino)

    async def _find(self, filesystem, release, path):
        node = filesystem.node(ROOT)
        for name in (f"v1.{release}.0", *path.split("/")):
            node = await filesystem.lookup(node.ino, name.encode())
        return node


@pytest.fixture
def allows_trouble(allows_log):
    """What the troubles write to the log, if chance has it."""
    for words in ("not the map that belongs there", "the cache takes no more", "the line broke"):
        allows_log(words)


def test_reads_are_the_published_bytes_whatever_happens(allows_trouble):
    run_state_machine_as_test(
        Mounts,
        settings=hypothesis.settings(max_examples=25, stateful_step_count=15, deadline=None),
    )


@pytest.mark.skipif(not LONG, reason="the long profile is run by make soak: SOAK_STEPS=10000")
@pytest.mark.timeout(0)
def test_reads_are_the_published_bytes_in_a_long_life_too(allows_trouble):
    """Machines of a hundred steps, other ones in every run, until there were enough steps."""
    wanted = Mounts.steps + LONG
    while Mounts.steps < wanted:
        run_state_machine_as_test(
            Mounts,
            settings=hypothesis.settings(
                max_examples=25,
                stateful_step_count=100,
                deadline=None,
                derandomize=False,
                database=None,
                suppress_health_check=list(hypothesis.HealthCheck),
            ),
        )
    print(f"{Mounts.steps} steps")
