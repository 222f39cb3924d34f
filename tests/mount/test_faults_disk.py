"""A cache disk that is full, fails or becomes read-only in the middle of a read."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.mount.reading import forget
from tests.mount.waiting import eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk")

FILES = [f"behavior_sessions/{n}.nwb" for n in range(3)]
MIB = 1 << 20
SIZE = 6 * MIB + 99
#: EXT4_IOC_SHUTDOWN without flushing the log, from <linux/ext4.h>: from now on all is EIO.
SHUTDOWN, NO_FLUSH = 0x8004587D, struct.pack("I", 2)
# A daemon that looks for room again after a second: the constant is ten.
HOPEFUL = """
import vbofs.blocks.refusals

vbofs.blocks.refusals.DESPAIR = 1.0
"""


class Disk:
    """A small file system at *path* that a test can take away from under its writers."""

    def __init__(self, folder: Path, size: int) -> None:
        self.path, self._image = folder / "disk", folder / "image"
        self.path.mkdir()
        with self._image.open("wb") as file:
            file.truncate(size)

    def make(self) -> None:
        words = ["mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0", str(self._image)]
        if subprocess.run(words, check=False).returncode or not self._mount():
            pytest.skip("this machine has no loop device with ext4")

    def _mount(self) -> bool:
        options = "loop,errors=remount-ro"
        command = ["mount", "-o", options, str(self._image), str(self.path)]
        return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0

    def become_read_only(self) -> None:
        """As after an error of the medium, whoever writes: remount,ro would wait for them."""
        subprocess.run(["mount", "-o", "remount,abort", str(self.path)], check=True)
        with pytest.raises(OSError, match="Read-only") as refused:
            (self.path / "probe").write_bytes(b"?")
        assert refused.value.errno == errno.EROFS

    def fail(self) -> None:
        fd = os.open(self.path, os.O_RDONLY)
        fcntl.ioctl(fd, SHUTDOWN, NO_FLUSH)
        os.close(fd)

    def replace(self) -> None:
        """Another disk in its place, empty, while somebody may still hold the old one."""
        self.take_away()
        self._image = self._image.with_name(f"{self._image.name}2")
        with self._image.open("wb") as file:
            file.truncate(64 * MIB)
        self.make()

    def take_away(self) -> None:
        subprocess.run(["umount", "-l", str(self.path)], check=False)


@pytest.fixture
def disk():
    with tempfile.TemporaryDirectory(prefix="vbofs-disk-") as folder:
        made = Disk(Path(folder), 64 * MIB)
        made.make()
        yield made
        made.take_away()


@pytest.fixture
def mounted(disk, at_s3, published):
    """Three files, and a cache on a disk of 64 MiB."""
    published.release("1.0.0", dict.fromkeys(FILES, SIZE))
    (at_s3.root / "sitecustomize.py").write_text(HOPEFUL)
    at_s3.expect(r"WARNING .*(takes no more|cannot be (read|kept|verified))")
    cache = "--cache-dir", str(disk.path / "cache")
    mounted = at_s3.mount(*cache, VBOFS_KEEP_FREE="0", PYTHONPATH=str(at_s3.root))
    published.s3.total_rate = 16 * MIB
    return mounted


def _cat(mounted, name):
    """A program that reads the file from front to back, and has begun."""
    path = mounted / f"v1.0.0/{name}"
    return mounted.machine.start("cat", str(path), stdout=subprocess.PIPE)


def _read_while(mounted, published, name, befall):
    """Read a file, let *befall* happen in the middle, and see that all of it was right."""
    reader = _cat(mounted, name)
    eventually(lambda: sum(stop - start for start, stop in published.ranges(name)))
    with reader.stdout as pipe:
        body = pipe.read(SIZE // 3)
        befall()
        body += pipe.read()
    assert (reader.wait(30), body == published.truth("1.0.0", name)) == (0, True)


def _is_kept(mounted, published, name):
    """Whether a second reading asks for nothing."""
    path = mounted / f"v1.0.0/{name}"
    forget(path)
    assert path.read_bytes() == published.truth("1.0.0", name)
    mounted.requests()
    published.s3.clear_log()
    forget(path)
    assert path.read_bytes() == published.truth("1.0.0", name)
    return not published.ranges(name)


def test_a_disk_that_fills_up_in_the_middle_of_a_read_costs_keeping_and_recovers(
    mounted, published, disk
):
    filler = disk.path / "filler"

    def fill():
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(b"\1" * MIB)

    fill()
    filler.unlink()
    _read_while(mounted, published, FILES[0], fill)
    _read_while(mounted, published, FILES[1], lambda: None)
    filler.unlink()
    eventually(lambda: _is_kept(mounted, published, FILES[2]), what="the cache's recovery")
    cache = mounted.status()["cache"]
    assert cache["refused"] or cache["evicted"]


def test_a_disk_that_becomes_read_only_in_the_middle_of_a_read_costs_no_byte(
    mounted, published, disk
):
    _read_while(mounted, published, FILES[0], disk.become_read_only)
    for name in FILES:
        forget(mounted / f"v1.0.0/{name}")
        assert (mounted / f"v1.0.0/{name}").read_bytes() == published.truth("1.0.0", name)
    assert mounted.status()["cache"]["refused"]
    disk.replace()
    for name in FILES:
        eventually(lambda name=name: _is_kept(mounted, published, name), what="recovery")


def test_a_disk_that_fails_in_the_middle_of_a_read_costs_no_byte(mounted, published, disk):
    _read_while(mounted, published, FILES[0], disk.fail)
    for name in FILES:
        forget(mounted / f"v1.0.0/{name}")
        mounted.requests()
        published.s3.clear_log()
        assert (mounted / f"v1.0.0/{name}").read_bytes() == published.truth("1.0.0", name)
        asked = sum(stop - start for start, stop in published.ranges(name))
        assert asked < SIZE + 2 * MIB  # Nothing is fetched ahead only to be thrown away.
    disk.replace()
    for name in FILES:
        eventually(lambda name=name: _is_kept(mounted, published, name), what="recovery")
    assert mounted.machine.log().count("the cache takes no more") == 1
    assert "the cache keeps blocks again" in mounted.machine.log()
