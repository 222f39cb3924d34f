"""The bytes are right, each is fetched once, and what was fetched is kept."""

from __future__ import annotations

import fcntl
import mmap
import os
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.mount.reading import forget, opened, walked
from vbofs.blocks.extents import BLOCK_SIZE, covering
from vbofs.demo import VERSIONS
from vbofs.model import Extent

BIG = "behavior_ophys_experiments/behavior_ophys_experiment_951980471.nwb"
COLD = "behavior_sessions/cold.nwb"
MIB = 1 << 20

# Reads pieces anywhere in a file and compares them with the same pieces of another.
READER = """
import os, random, sys
path, truth, seed = sys.argv[1:]
chance, fd, true = random.Random(int(seed)), os.open(path, os.O_RDONLY), os.open(truth, os.O_RDONLY)
size = os.fstat(true).st_size
assert os.fstat(fd).st_size == size
for _ in range(60):
    offset, length = chance.randrange(size), chance.choice((1, 700, 4096, 70000, 300000))
    assert os.pread(fd, length, offset) == os.pread(true, length, offset), (offset, length)
"""


# --- right


@pytest.mark.parametrize("version", VERSIONS)
def test_cmp_of_every_file_of_a_release_with_the_published_one_is_equal(shared, sample, version):
    paths = sample.release(version).paths
    assert walked(shared / f"v{version}") == set(paths)
    for path, local in paths.items():
        outcome = shared.machine.execute("cmp", str(shared / f"v{version}/{path}"), str(local))
        assert outcome == (0, "", "")


def test_pread_at_any_offset_gives_the_bytes_there_and_none_beyond_the_end(shared, sample):
    body = sample.release("1.1.0").paths[BIG].read_bytes()
    size, chance = len(body), random.Random(3)
    edges = [n * BLOCK_SIZE + d for n in (1, 2, 64) for d in (-1, 0, 1)]
    offsets = [0, size - 1, size, size + 1, size + MIB, *edges]
    offsets += [chance.randrange(size) for _ in range(100)]
    with opened(shared / f"v1.1.0/{BIG}") as fd:
        for offset in offsets:
            length = chance.choice((1, 3, 4096, BLOCK_SIZE, 3 * BLOCK_SIZE + 1))
            assert os.pread(fd, length, offset) == body[offset : offset + length]


def test_a_file_can_be_mapped_into_memory(shared, sample):
    body = sample.release("1.0.1").paths[BIG].read_bytes()
    with (
        (shared / f"v1.0.1/{BIG}").open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view,
    ):
        assert view[-5000:] == body[-5000:]
        assert view[:] == body


def test_sendfile_gives_the_same_bytes(shared, sample, tmp_path):
    with (shared / f"v0.1.0/{BIG}").open("rb") as source, (tmp_path / "copy").open("wb") as target:
        at = 0
        while sent := os.sendfile(target.fileno(), source.fileno(), at, 8 * MIB):
            at += sent
    assert (tmp_path / "copy").read_bytes() == sample.release("0.1.0").paths[BIG].read_bytes()


def test_many_readers_may_hold_a_shared_lock_and_one_an_exclusive_one(shared):
    path = shared / "latest" / BIG
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("rb")) for _ in range(20)]
        for file in files:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        with pytest.raises(BlockingIOError):
            fcntl.flock(files[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        for file in files[1:]:
            fcntl.flock(file, fcntl.LOCK_UN)
        fcntl.flock(files[0], fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_hundreds_of_handles_can_be_open_and_all_are_let_go(shared, sample):
    release = sample.release("1.1.0")
    with ExitStack() as stack:
        files = [
            (stack.enter_context((shared / f"v1.1.0/{path}").open("rb", buffering=0)), local)
            for path, local in release.paths.items()
            for _ in range(60)
        ]
        readers = shared.status()["readers"]
        assert (readers["handles"], readers["files"]) == (len(files), len(release.paths))
        for place, (file, local) in enumerate(files):
            file.seek(place)
            with local.open("rb") as truth:
                truth.seek(place)
                assert file.read(100) == truth.read(100)
    readers = shared.status()["readers"]
    assert (readers["handles"], readers["files"]) == (0, 0)


def test_dozens_of_readers_of_all_releases_at_once_get_right_bytes(shared, sample):
    files = [
        (shared / f"v{release.version}/{path}", local)
        for release in sample.releases
        for path, local in release.paths.items()
    ]

    def read(seed):
        path, local = random.Random(seed).choice(files)
        return path.read_bytes() == local.read_bytes()

    with ThreadPoolExecutor(48) as readers:
        assert all(readers.map(read, range(96)))


# --- once


def test_16_processes_at_random_in_one_cold_file_fetch_every_block_once(at_s3, published, tmp_path):
    published.release("1.0.0", {COLD: 24 * MIB + 4321})
    truth = tmp_path / "truth"
    truth.write_bytes(published.truth("1.0.0", COLD))
    mounted = at_s3.mount()
    path = mounted / f"v1.0.0/{COLD}"
    readers = [
        at_s3.start(sys.executable, "-SEc", READER, str(path), str(truth), str(seed))
        for seed in range(16)
    ]
    assert [reader.wait(60) for reader in readers] == [0] * 16
    mounted.requests()  # read-ahead has come to its end
    ranges = sorted(published.ranges(COLD))
    blocks = [n for start, stop in ranges for n in covering(Extent(start, stop))]
    assert len(blocks) == len(set(blocks))
    assert all(start % BLOCK_SIZE == 0 for start, _ in ranges)
    size = truth.stat().st_size
    assert all(stop % BLOCK_SIZE == 0 or stop == size for _, stop in ranges)
    asked = [one for one in published.s3.requests if one.key.endswith(COLD)]
    whole = sum(min(BLOCK_SIZE, size - n * BLOCK_SIZE) for n in blocks)
    assert sum(one.sent for one in asked) == whole


def test_a_second_mount_serves_from_disk_and_fetches_nothing(at_sample, sample):
    mounted = at_sample.mount()
    for path, local in sample.release("1.1.0").paths.items():
        assert (mounted / f"v1.1.0/{path}").read_bytes() == local.read_bytes()
    assert mounted.requests()["received"] >= sum(
        local.stat().st_size for local in sample.release("1.1.0").paths.values()
    )
    mounted.umount()
    mounted = at_sample.mount()
    for path, local in sample.release("1.1.0").paths.items():
        assert (mounted / f"v1.1.0/{path}").read_bytes() == local.read_bytes()
    requests = mounted.requests()
    assert (requests["get"], requests["head"], requests["list"]) == (0, 0, 1)


def test_reading_whole_files_fetches_each_byte_once(at_sample, sample):
    mounted = at_sample.mount("--release", "v1.0.1")
    before = mounted.requests()["received"]
    paths = sample.release("1.0.1").paths
    with ThreadPoolExecutor(8) as readers:
        bodies = readers.map(lambda path: (mounted / f"v1.0.1/{path}").read_bytes(), paths)
        assert sum(map(len, bodies)) == mounted.requests()["received"] - before


def test_two_mounts_on_one_cache_share_what_they_fetch(at_sample, sample):
    one, two = at_sample.mount(), at_sample.mount(at=at_sample.home / "other")
    body = sample.release("1.0.1").paths[BIG].read_bytes()
    assert (one / f"v1.0.1/{BIG}").read_bytes() == body
    assert one.requests()["received"] > len(body)
    assert (two / f"v1.0.1/{BIG}").read_bytes() == body
    assert two.requests()["get"] == 0


def test_two_mounts_on_one_cache_can_fetch_the_same_files_at_once(at_sample, sample):
    mounts = at_sample.mount(), at_sample.mount(at=at_sample.home / "other")
    paths = sample.release("0.2.0").paths
    reads = [(mounted / f"v0.2.0/{path}", paths[path]) for path in paths for mounted in mounts]
    with ThreadPoolExecutor(len(reads)) as readers:
        assert all(readers.map(lambda read: read[0].read_bytes() == read[1].read_bytes(), reads))


def test_two_releases_that_pin_one_version_share_inode_and_bytes(at_sample, sample):
    mounted = at_sample.mount()
    old, new = mounted / f"v0.1.0/{BIG}", mounted / f"v0.2.0/{BIG}"
    assert old.read_bytes() == sample.release("0.1.0").paths[BIG].read_bytes()
    assert os.path.samefile(old, new)
    before = mounted.requests()
    forget(old)
    assert new.read_bytes() == sample.release("0.2.0").paths[BIG].read_bytes()
    assert mounted.requests() == before
    assert not os.path.samefile(new, mounted / f"latest/{BIG}")


def test_a_file_that_is_opened_again_is_read_from_the_page_cache(at_sample):
    mounted = at_sample.mount()
    body = (mounted / f"latest/{BIG}").read_bytes()
    before = mounted.status()["readers"]["reads"]
    assert (mounted / f"latest/{BIG}").read_bytes() == body
    assert mounted.status()["readers"]["reads"] == before
