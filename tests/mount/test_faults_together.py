"""Many at once: daemons on one cache, readers, handles, few descriptors, and an end under load."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.mount.descriptors import descriptors
from tests.mount.family import peak_memory
from tests.mount.machine import VBOFS, Mounted, is_mounted
from tests.mount.reading import forget, opened
from tests.mount.waiting import eventually

MIB = 1 << 20
HANDLES = 10_000
#: KiB that a daemon may ever take, whatever its readers do.
MOST_MEMORY = 256 << 10


def _names(count):
    return [f"behavior_sessions/{n}.nwb" for n in range(count)]


def _descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


# --- two daemons


def test_two_daemons_on_a_small_cache_read_right_and_one_outlives_the_other(at_s3, published):
    names = _names(3)
    published.release("1.0.0", dict.fromkeys(names, 6 * MIB + 7))
    truths = {name: published.truth("1.0.0", name) for name in names}
    small = "--cache-size", "5M"
    one = at_s3.mount(*small)
    two = at_s3.mount(*small, at=at_s3.home / "other")
    killed = threading.Event()

    def read(mounted, seed):
        """Pieces of all files until told to end; how many."""
        chance, count = random.Random(seed), 0
        while not ended.is_set():
            name = chance.choice(names)
            offset, size = chance.randrange(6 * MIB), chance.choice((1, 5000, 700_000))
            try:
                with opened(mounted / f"v1.0.0/{name}") as fd:
                    if chance.random() < 0.5:
                        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                    piece = os.pread(fd, size, offset)
            except OSError:
                assert mounted is one
                assert killed.is_set()
                return count
            assert piece == truths[name][offset : offset + size]
            count += 1
        return count

    ended = threading.Event()
    with ThreadPoolExecutor(8) as readers:
        reading = [readers.submit(read, (one, two)[n % 2], n) for n in range(8)]
        try:
            eventually(lambda: all(m.status()["cache"]["evicted"] for m in (one, two)), within=20)
            killed.set()
            one.kill()
            before = two.status()["readers"]["reads"]
            eventually(lambda: two.status()["readers"]["reads"] > before + 20, within=20)
        finally:
            ended.set()
        assert all(future.result() for future in reading)
    for name in names:
        forget(two / f"v1.0.0/{name}")
        assert (two / f"v1.0.0/{name}").read_bytes() == truths[name]
    cache = two.status()["cache"]
    assert cache["used"] <= 2 * cache["limit"]
    assert cache["damaged"] == 0 or published.s3.requests


# --- an end under load


def test_sigterm_under_load_lets_every_reader_end_right(at_s3, published):
    names = _names(8)
    published.release("1.0.0", dict.fromkeys(names, 2 * MIB))
    mounted = at_s3.mount()
    published.s3.total_rate = 16 * MIB
    paths = [str(mounted / f"v1.0.0/{name}") for name in names]
    readers = [at_s3.start("cat", path, stdout=subprocess.PIPE) for path in paths]
    eventually(lambda: mounted.status()["readers"]["handles"] == len(names))
    os.kill(mounted.pid, 15)
    eventually(lambda: not is_mounted(mounted.path), what="the end of the name")
    with ThreadPoolExecutor(len(readers)) as threads:
        bodies = list(threads.map(lambda reader: reader.communicate(timeout=30)[0], readers))
    assert bodies == [published.truth("1.0.0", name) for name in names]
    eventually(lambda: mounted.pid not in at_s3.processes(), what="the end of the daemon")


# --- many


@pytest.fixture
def many_descriptors():
    """This process may open what the test needs."""
    with descriptors(HANDLES + 500):
        yield


def test_ten_thousand_handles_on_many_files_by_a_daemon_with_256_descriptors(
    at_s3, published, many_descriptors
):
    names = _names(500)
    published.release("1.0.0", dict.fromkeys(names, 20_000))
    truths = {name: published.truth("1.0.0", name) for name in names}
    outcome = at_s3.execute("prlimit", "--nofile=256:256", *VBOFS, "mount")
    assert outcome.status == 0, outcome
    mounted = Mounted(at_s3, at_s3.home / "vbo")
    with ExitStack() as stack:
        fds = []
        for n in range(HANDLES):
            name = names[n % len(names)]
            fds.append((os.open(mounted / f"v1.0.0/{name}", os.O_RDONLY), name))
            stack.callback(os.close, fds[-1][0])
        for n, (fd, name) in enumerate(fds):
            if n < len(names) or n % 7 == 0:
                assert os.pread(fd, 100, n) == truths[name][n : n + 100]
        readers = mounted.status()["readers"]
        assert (readers["handles"], readers["files"]) == (HANDLES, len(names))
        assert _descriptors(mounted.pid) < 256
        assert peak_memory(mounted.pid) < MOST_MEMORY
    eventually(lambda: mounted.status()["readers"]["handles"] == 0)
    assert mounted.status()["cache"]["refused"] == 0


# 25 processes of 8 threads each: reads anywhere, compared with the truth; the slowest in seconds.
READERS = """
import os, random, sys, threading, time
root, truth, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
names = sorted(os.listdir(truth))
slowest, wrong = [], []

def read(nth):
    chance = random.Random(seed * 100 + nth)
    for _ in range(6):
        name, size = chance.choice(names), chance.choice((1, 4096, 300_000))
        with open(f"{truth}/{name}", "rb") as file:
            body = file.read()
        offset = chance.randrange(len(body))
        fd = os.open(f"{root}/{name}", os.O_RDONLY)
        begun = time.monotonic()
        piece = os.pread(fd, size, offset)
        slowest.append(time.monotonic() - begun)
        if piece != body[offset : offset + size]:
            wrong.append((name, offset, size))
        os.close(fd)

threads = [threading.Thread(target=read, args=(n,)) for n in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(slowest) == 48 and not wrong, wrong
print(max(slowest))
"""


def test_two_hundred_readers_at_once_are_all_answered_and_memory_stays_bounded(
    at_s3, published, tmp_path
):
    names = _names(12)
    published.release("1.0.0", dict.fromkeys(names, 3 * MIB))
    for name in names:
        (tmp_path / os.path.basename(name)).write_bytes(published.truth("1.0.0", name))
    mounted = at_s3.mount("--cache-size", "20M")
    published.s3.delay = 0.02
    begun = time.monotonic()
    command = sys.executable, "-SEc", READERS, str(mounted / "v1.0.0/behavior_sessions")
    readers = [
        at_s3.start(*command, str(tmp_path), str(seed), stdout=subprocess.PIPE)
        for seed in range(25)
    ]
    said = [reader.communicate(timeout=60)[0] for reader in readers]
    assert [reader.returncode for reader in readers] == [0] * 25
    assert max(map(float, said)) <= time.monotonic() - begun
    assert mounted.status()["blocks"]["failed"] == 0
    assert peak_memory(mounted.pid) < MOST_MEMORY
