"""Daemons that die and caches that rot: the next read is right, or an error, never wrong."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess

import pytest

from tests.mount.machine import is_mounted
from tests.mount.reading import forget
from tests.mount.waiting import eventually
from tests.s3 import Fault
from vbofs.demo import BUCKET

BIG = "behavior_ophys_experiments/behavior_ophys_experiment_951980471.nwb"
FILE = "behavior_sessions/one.nwb"
SIZE = 3 << 20
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


def blobs(machine):
    """The cached bytes of every file that has any."""
    kept = [p for p in (machine.cache / "blobs").glob("??/*") if "." not in p.name]
    assert kept
    return kept


def test_killed_in_the_middle_of_a_read_it_mounts_again_and_reads_right(at_s3, published):
    published.release("1.0.0", {FILE: SIZE})
    truth = published.truth("1.0.0", FILE)
    mounted = at_s3.mount()
    published.s3.faults.append(Fault(key=FILE, stall_at=300_000))
    reader = at_s3.start("cat", str(mounted / f"v1.0.0/{FILE}"), **PIPES)
    eventually(lambda: published.ranges(FILE), what="the read's request")
    mounted.kill()
    body, said = reader.communicate(timeout=20)
    assert truth.startswith(body)
    assert (reader.returncode, b"connection abort" in said or b"not connected" in said) == (1, True)
    with pytest.raises(OSError, match="Transport endpoint is not connected"):
        os.listdir(mounted.path)
    published.s3.heal()
    again = at_s3.mount()
    assert (again / f"v1.0.0/{FILE}").read_bytes() == truth


def test_killed_again_and_again_while_reading_it_never_gives_a_wrong_byte(at_s3, published):
    published.release("1.0.0", {FILE: SIZE})
    truth = published.truth("1.0.0", FILE)
    published.s3.rate = 4 << 20
    chance = random.Random(5)
    for _ in range(2):
        mounted = at_s3.mount()
        fd = os.open(mounted / f"v1.0.0/{FILE}", os.O_RDONLY)
        for _ in range(6):
            offset = chance.randrange(SIZE)
            assert os.pread(fd, 5000, offset) == truth[offset : offset + 5000]
        mounted.kill()
        with contextlib.suppress(OSError):  # There is nobody left to be told.
            os.close(fd)
    published.s3.rate = None
    assert (at_s3.mount() / f"v1.0.0/{FILE}").read_bytes() == truth


def _overwrite(path):
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"rotten " * 1000)


def _empty(path):
    size = path.stat().st_size
    os.truncate(path, 0)
    os.truncate(path, size)


def _cut(path):
    os.truncate(path, path.stat().st_size // 2)


def _lengthen(path):
    with path.open("ab") as file:
        file.write(b"\1" * 100_000)


@pytest.mark.parametrize("damage", [_overwrite, _empty, _cut, _lengthen])
@pytest.mark.parametrize("which", ["the bytes", "the map", "both"])
def test_a_cache_damaged_under_a_live_mount_never_gives_wrong_bytes(live, damage, which):
    mounted, path, truth = live
    for blob in blobs(mounted.machine):
        marks = blob.with_name(blob.name + ".map")
        for target in {"the bytes": [blob], "the map": [marks], "both": [blob, marks]}[which]:
            damage(target)
    for _ in range(2):
        forget(path)
        assert path.read_bytes() == truth


@pytest.fixture(scope="module")
def live(machines, sample, sample_url):
    """One mount that goes on living while its cache is damaged again and again."""
    machine = machines(sample_url)
    mounted = machine.mount()
    path = mounted / f"v1.1.0/{BIG}"
    truth = sample.release("1.1.0").paths[BIG].read_bytes()
    assert path.read_bytes() == truth
    yield mounted, path, truth
    machine.clean()


def test_damage_is_counted_and_mended(at_sample, sample):
    mounted = at_sample.mount()
    path, truth = mounted / f"v1.1.0/{BIG}", sample.release("1.1.0").paths[BIG].read_bytes()
    assert path.read_bytes() == truth
    (blob,) = (one for one in blobs(at_sample) if one.stat().st_size == len(truth))
    _overwrite(blob)
    forget(path)
    assert path.read_bytes() == truth
    assert mounted.status()["cache"]["damaged"] >= 1
    assert blob.read_bytes() == truth


def test_a_cache_damaged_between_two_mounts_never_gives_wrong_bytes(at_sample, sample):
    truth = sample.release("1.1.0").paths[BIG].read_bytes()
    mounted = at_sample.mount()
    assert (mounted / f"v1.1.0/{BIG}").read_bytes() == truth
    mounted.umount()
    at_sample.expect(r"not the map that belongs there")
    for path in at_sample.cache.rglob("*"):
        if path.is_file() and path.name != "format":
            _overwrite(path)
            with path.open("r+b") as file:
                file.write(b"rotten")
    mounted = at_sample.mount()
    assert (mounted / f"v1.1.0/{BIG}").read_bytes() == truth


def test_the_cache_may_be_removed_under_a_live_mount(at_sample, sample):
    truth = sample.release("1.1.0").paths[BIG].read_bytes()
    mounted = at_sample.mount()
    path = mounted / f"v1.1.0/{BIG}"
    assert path.read_bytes() == truth
    assert at_sample.execute("rm", "-r", str(at_sample.cache)).status == 0
    forget(path)
    assert path.read_bytes() == truth
    other = mounted / f"v1.0.1/{BIG}"
    at_sample.expect(r"cannot be kept|the cache takes no more")
    assert other.read_bytes() == sample.release("1.0.1").paths[BIG].read_bytes()


def test_a_file_larger_than_the_cache_is_read_right(at_s3, published):
    published.release("1.0.0", {FILE: SIZE, "behavior_sessions/two.nwb": SIZE})
    mounted = at_s3.mount("--cache-size", "1M")
    for _ in range(2):
        for path in (FILE, "behavior_sessions/two.nwb"):
            forget(mounted / f"v1.0.0/{path}")
            assert (mounted / f"v1.0.0/{path}").read_bytes() == published.truth("1.0.0", path)
    cache = mounted.status()["cache"]
    assert cache["evicted"]
    assert cache["used"] <= 2 * cache["limit"]


def test_a_hanging_daemon_that_wakes_goes_on_where_it_was(at_s3, published):
    published.release("1.0.0", {FILE: SIZE})
    mounted = at_s3.mount()
    os.kill(mounted.pid, signal.SIGSTOP)
    reader = at_s3.start("cat", str(mounted / f"v1.0.0/{FILE}"), **PIPES)
    os.kill(mounted.pid, signal.SIGCONT)
    body, _ = reader.communicate(timeout=20)
    assert body == published.truth("1.0.0", FILE)
    assert is_mounted(mounted.path)
    assert published.s3.buckets.keys() == {BUCKET}
