"""Readers that are interrupted while the bucket keeps them waiting.

The kernel waits for the page in a sleep that only a fatal signal ends, and asks nobody about it.
So a program that a signal kills goes at once, and one that handles the signal, as Python and dd
handle SIGINT, does so when its read is answered.  A read past the page cache waits whatever comes.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from tests.mount.waiting import eventually
from tests.s3 import Fault

FILE = "behavior_sessions/one.nwb"
SIZE = 2 << 20
#: Seconds: "at once", on a busy machine.
SOON = 5
HANDLES_IT = """
import mmap, os, signal, sys
signal.signal(signal.SIGINT, lambda *_: print("told", flush=True))
fd = os.open(sys.argv[1], FLAGS)
room = mmap.mmap(-1, 4096)
print("reading", flush=True)
print(os.preadv(fd, [room], 0), flush=True)
"""
WAYS = {
    "cat": ("cat", "{}"),
    "dd": ("dd", "if={}", "bs=64K", "status=none"),
    "python": (sys.executable, "-SEc", "import sys; open(sys.argv[1], 'rb').read()", "{}"),
}


@pytest.fixture
def stalled(at_s3, published):
    """A mount whose bucket answers nothing but the first half of a file, until lifted."""
    published.release("1.0.0", {FILE: SIZE})
    mounted = at_s3.mount()
    fault = Fault(operation="GET", key=FILE, stall_at=1000)
    published.s3.faults.append(fault)
    return mounted, fault


def _start(mounted, words):
    path = str(mounted / f"v1.0.0/{FILE}")
    words = [word.format(path) if "{}" in word else word for word in words]
    return mounted.machine.start(*words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("way", "number"),
    [
        ("cat", signal.SIGINT),
        ("cat", signal.SIGTERM),
        ("dd", signal.SIGTERM),
        ("python", signal.SIGTERM),
        ("python", signal.SIGKILL),
    ],
)
def test_a_signal_that_ends_a_program_ends_it_at_once_and_its_fetch_goes_on(
    stalled, published, way, number
):
    mounted, fault = stalled
    reader = _start(mounted, WAYS[way])
    other = _start(mounted, WAYS["cat"])
    eventually(lambda: fault.fired and mounted.status()["readers"]["handles"] == 2)
    before = time.monotonic()
    reader.send_signal(number)
    out, _ = reader.communicate(timeout=SOON)
    assert time.monotonic() - before < SOON
    assert reader.returncode in (-number, 128 + number, 1)
    assert published.truth("1.0.0", FILE).startswith(out)
    asked = len(published.ranges(FILE))
    fault.lift()
    body, _ = other.communicate(timeout=20)
    assert body == published.truth("1.0.0", FILE)
    assert len(set(published.ranges(FILE)[:asked])) == asked  # Nothing was asked for again.
    assert mounted.status()["blocks"]["failed"] == 0


@pytest.mark.parametrize("flags", ["os.O_RDONLY", "os.O_RDONLY | os.O_DIRECT"])
def test_a_signal_that_is_handled_waits_for_the_read_and_costs_nothing(stalled, flags):
    mounted, fault = stalled
    program = HANDLES_IT.replace("FLAGS", flags)
    reader = _start(mounted, (sys.executable, "-SEc", program, "{}"))
    assert reader.stdout.readline() == b"reading\n"
    eventually(lambda: fault.fired)
    reader.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        reader.wait(0.5)
    fault.lift()
    out, _ = reader.communicate(timeout=20)
    assert (reader.returncode, out) == (0, b"told\n4096\n")


def test_closing_a_file_ends_what_was_fetched_ahead_of_its_reader(at_s3, published):
    published.release("1.0.0", {FILE: 96 << 20})
    mounted = at_s3.mount()
    path = mounted / f"v1.0.0/{FILE}"
    published.s3.total_rate = 16e6
    with path.open("rb", buffering=0) as file:
        for _ in range(20):
            file.read(1 << 20)
    mounted.requests()  # Nothing is under way any more.
    asked = sum(stop - start for start, stop in published.ranges(FILE))
    # The kernel, too, reads ahead, and waits for what it has asked for.
    assert sum(one.sent for one in published.s3.requests if one.range) < asked - (2 << 20)
    published.s3.total_rate = None
    assert path.read_bytes() == published.truth("1.0.0", FILE)
