"""How memory is counted, which is a claim of its own."""

import os
import subprocess
import sys

from tests.mount.family import children, peak_memory
from tests.mount.waiting import eventually

#: Has so many MIB of memory, and perhaps a child that is only forked; lives until its stdin ends.
HOLDER = """
import os, sys
held = bytearray(b"x") * (int(sys.argv[1]) << 20)
if sys.argv[2:] and not os.fork():
    sys.stdin.read()
    os._exit(0)
print(flush=True)
sys.stdin.read()
"""


def held(*words):
    command = [sys.executable, "-S", "-c", HOLDER, *words]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"\n"
    return process


def ended(process):
    process.communicate()
    assert process.returncode == 0


def test_a_child_counts_with_its_parent():
    before = peak_memory(os.getpid())
    process = held("80")
    try:
        assert process.pid in children(os.getpid())
        assert 80 << 10 < peak_memory(os.getpid()) - before < 120 << 10
    finally:
        ended(process)


def test_a_child_that_has_not_begun_its_program_is_not_counted_twice():
    """As between vfork(2) and execve(2): what it has in memory is its parent's."""
    process = held("80", "and a child")
    try:
        eventually(lambda: children(process.pid))
        assert 80 << 10 < peak_memory(process.pid) < 120 << 10
    finally:
        ended(process)
