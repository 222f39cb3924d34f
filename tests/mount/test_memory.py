"""What the daemon takes of memory, counted by the kernel: no more than --memory, whoever reads.

The bounds scale with the setting and not with files or time, so here the files are short and the
setting is the least; in the long profile (``make soak`` sets SOAK_MEMORY=1) the files are whole
recordings and the handles are on as many files.
"""

from __future__ import annotations

import mmap
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.mount.descriptors import descriptors
from tests.mount.family import peak_memory
from tests.mount.reading import opened
from tests.mount.waiting import eventually
from tests.s3 import Fault

LONG = "SOAK_MEMORY" in os.environ
MIB = 1 << 20
#: Bytes: the least that the setting takes, and what is said of it in docs/settings.md.
LEAST = 128_000_000
READERS = 200
HANDLES = 10_000
FILES = 6_000 if LONG else 300
VIRTUAL = 3 << 30 if LONG else 256 * MIB


def _peak(mounted):
    """Bytes of the most that the daemon and its processes ever had in memory."""
    return peak_memory(mounted.pid) * 1024


def _past_the_page_cache(path, offset):
    """A MiB in one request, of which the kernel has 12 under way, or 64 where root has let it."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, MIB) as room:
            return room[: os.preadv(fd, [room], offset)]
    finally:
        os.close(fd)


def _names(count):
    return [f"behavior_sessions/{n}.nwb" for n in range(count)]


def test_two_hundred_readers_that_wait_for_a_slow_bucket_share_the_memory(at_s3, published, cache):
    names = _names(20)
    published.release("1.0.0", dict.fromkeys(names, 22 * MIB))
    at_s3.expect(r"WARNING .*takes no more")
    mounted = at_s3.mount("--memory", "128M", "--cache-size", "0", VBOFS_CONNECTIONS="256")
    # Each answer stops when nearly all of it is here, and nothing can be put aside.
    stalled = Fault(operation="GET", key="_sessions/", stall_at=1_000_000)
    published.s3.faults.append(stalled)

    def read(nth):
        pin = published.pin("1.0.0", names[nth % 20])
        offset = nth // 20 * 2 * MIB
        piece = _past_the_page_cache(mounted / f"v1.0.0/{names[nth % 20]}", offset)
        assert piece == pin.read(offset, offset + MIB)
        return True

    asked = [-1, -1, -1, -1, -1]

    def all_wait():
        threading.Event().wait(0.1)
        asked.append(stalled.fired)
        return asked[-1] and len(set(asked[-5:])) == 1

    with ThreadPoolExecutor(READERS) as readers:
        reading = readers.map(read, range(READERS))
        eventually(all_wait, what="a standstill")
        stalled.lift()
        assert all(reading)
    assert _peak(mounted) < LEAST
    assert mounted.status()["blocks"]["failed"] == 0


def test_a_file_read_from_front_to_back_does_not_pass_through_memory(at_s3, published):
    (name,) = _names(1)
    published.release("1.0.0", {name: VIRTUAL})
    pin = published.pin("1.0.0", name)
    mounted = at_s3.mount("--memory", "128M")
    offset = 0
    with opened(mounted / f"v1.0.0/{name}") as fd:
        while piece := os.pread(fd, MIB, offset):
            if offset % (16 * MIB) == 0:
                assert piece == pin.read(offset, offset + len(piece))
            offset += len(piece)
            os.posix_fadvise(fd, 0, offset, os.POSIX_FADV_DONTNEED)
    assert offset == VIRTUAL
    assert _peak(mounted) < LEAST


@pytest.fixture
def many_descriptors():
    """As many as the test needs, of files and of directories."""
    with descriptors(HANDLES + HANDLES // 2 + 500):
        yield


def test_ten_thousand_handles_on_files_and_half_as_many_on_a_directory_take_little(
    at_s3, published, many_descriptors
):
    names = _names(FILES)
    published.release("1.0.0", dict.fromkeys(names, 300_000))
    mounted = at_s3.mount()
    folder = mounted / "v1.0.0/behavior_sessions"
    with ExitStack() as stack:
        for n in range(HANDLES):
            name = names[n % FILES]
            fd = os.open(mounted / f"v1.0.0/{name}", os.O_RDONLY)
            stack.callback(os.close, fd)
            if n < FILES:  # At the end first: whoever jumps is read ahead for, and chased.
                offset = 299_000
                assert os.pread(fd, 9, offset) == published.pin("1.0.0", name).read(
                    offset, offset + 9
                )
        for _ in range(HANDLES // 2):
            stack.callback(os.close, os.open(folder, os.O_RDONLY))
        assert mounted.status()["readers"]["handles"] == HANDLES
        assert len(os.listdir(folder)) == FILES
        assert _peak(mounted) < 256_000_000
    eventually(lambda: mounted.status()["readers"]["handles"] == 0)


def test_a_setting_that_leaves_no_room_is_refused(at_s3):
    outcome = at_s3.run("mount", "--memory", "100M")
    assert outcome.status == 50
    assert "--memory" in outcome.err
