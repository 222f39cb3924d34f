"""One program that reads from a mount and compares every byte with the truth, until told to end.

`python -m tests.soak.reader MOUNT TRUTH KIND SEED` prints a line of JSON per piece of work: its
latencies in seconds, its bytes, its errors with their times, and what was wrong. Times are of
CLOCK_MONOTONIC, which all processes share. It ends with its stdin.
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

MIB = 1 << 20
SIZES = (1, 700, 4096, 70_000, 300_000, MIB + 1)
#: Bytes of a file that a sequential reader or cp takes at the most.
ENOUGH = 12 * MIB
#: Seconds after which an answer is worth a line.
SLOW = 5.0
_NUMBERS = {os.strerror(number): number for number in errno.errorcode}


class Reader:
    """Reads below *mount* what *truth* has, in one way."""

    def __init__(self, mount: Path, truth: Path, kind: str, seed: int) -> None:
        self.mount, self.truth = mount, truth
        self.chance = random.Random(f"{kind} {seed}")
        self.names = sorted(str(p.relative_to(truth)) for p in truth.rglob("*") if p.is_file())
        self.work: Callable[[str], None] = getattr(self, kind)
        self.kind = kind
        if kind == "hdf5":
            self.names = [name for name in self.names if name.endswith(".nwb")]

    def once(self) -> dict[str, Any]:
        """Do one piece of work, and say how it went."""
        self.said: dict[str, Any] = {"kind": self.kind, "latencies": [], "bytes": 0}
        self.said |= {"errors": [], "wrong": [], "slow": []}
        name = self.chance.choice(self.names)
        begun = time.monotonic()
        try:
            self.work(name)
        except OSError as error:
            number = error.errno or _number_in(str(error))
            self.said["errors"].append((begun, time.monotonic(), number, f"{name}: {error}"))
        return self.said

    def _timed(self, work: Callable[..., T], *words: Any) -> T:
        """What *work* gives; how long it took counts, unless there was no mount to ask."""
        begun, counts = time.monotonic(), True
        try:
            return work(*words)
        except OSError as error:
            counts = error.errno in (errno.EIO, errno.EACCES, errno.ENETUNREACH)
            raise
        finally:
            took = time.monotonic() - begun
            if counts or took > 1:
                self.said["latencies"].append(round(took, 5))
            if took > SLOW:
                self.said["slow"].append((took, f"{work.__name__} {words[-1]} {words[0]}"))

    def _read(self, fd: int, size: int, offset: int) -> bytes:
        """All of it, or an error.  Where a page cannot be had the kernel returns those before it,
        and the error with the next call; nothing at all says that the file ends there."""
        got = b""
        while len(got) < size:
            piece = self._timed(os.pread, fd, size - len(got), offset + len(got))
            if not piece:
                break
            got += piece
        return got

    def _compare(self, what: str, got: bytes, true: bytes) -> None:
        self.said["bytes"] += len(got)
        if got != true:
            self.said["wrong"].append(f"{what}: {self._difference(got, true)}")

    def _difference(self, got: bytes, true: bytes) -> str:
        """Where *got* departs from *true*, how long, and what stands there instead."""
        if len(got) != len(true):
            return f"{len(got)} bytes for {len(true)}"
        places = [at for at in range(len(got)) if got[at] != true[at]]
        first, last = places[0], places[-1]
        piece = got[first : first + 32]
        everything = {p: (self.truth / p).read_bytes() for p in self.names}
        homes = [f"{p} at {body.find(piece)}" for p, body in everything.items() if piece in body]
        said = (
            f"{len(places)} of {len(got)} bytes differ, from +{first} to +{last}: {piece[:8].hex()}"
        )
        return f"{said}; {time.monotonic():.1f}; that is in {homes[:3]}"

    # --- the ways

    def random(self, name: str) -> None:
        """Pieces anywhere, mostly past the kernel's cache."""
        fd = self._timed(os.open, self.mount / name, os.O_RDONLY)
        true = os.open(self.truth / name, os.O_RDONLY)
        try:
            if self.chance.random() < 0.7:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            whole = os.fstat(true).st_size
            for _ in range(8):
                offset, size = self.chance.randrange(whole + 1), self.chance.choice(SIZES)
                got = self._read(fd, size, offset)
                self._compare(f"{name} at {offset}", got, os.pread(true, size, offset))
        finally:
            os.close(fd)
            os.close(true)

    def sequential(self, name: str) -> None:
        """From the front, or from somewhere, on."""
        fd = self._timed(os.open, self.mount / name, os.O_RDONLY)
        true = os.open(self.truth / name, os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            size = self.chance.choice((65_536, 262_144, MIB))
            offset = self.chance.choice((0, 0, os.fstat(true).st_size // 3))
            for at in range(offset, offset + ENOUGH, size):
                got = self._read(fd, size, at)
                self._compare(f"{name} at {at}", got, os.pread(true, size, at))
                if len(got) < size:
                    break
        finally:
            os.close(fd)
            os.close(true)

    def cp(self, name: str) -> None:
        """The program of that name."""
        if (self.truth / name).stat().st_size > ENOUGH:
            return
        with tempfile.TemporaryDirectory(prefix="copy-", dir=self.truth.parent) as folder:
            command = ["cp", str(self.mount / name), f"{folder}/copy"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise OSError(_number_in(done.stderr), done.stderr.strip())
            self._compare(name, Path(folder, "copy").read_bytes(), (self.truth / name).read_bytes())

    def stat(self, name: str) -> None:
        """Names and sizes."""
        size = self._timed(os.stat, self.mount / name).st_size
        if size != (self.truth / name).stat().st_size:
            self.said["wrong"].append(f"{name}: it is said to have {size} bytes")
        folder = os.path.dirname(name)
        if set(self._timed(os.listdir, self.mount / folder)) != set(
            os.listdir(self.truth / folder)
        ):
            self.said["wrong"].append(f"{folder}: other names")

    def hdf5(self, name: str) -> None:
        """A few datasets, through h5py."""
        import h5py

        names: list[str] = []
        with h5py.File(self.truth / name) as true:
            true.visititems(lambda n, v: names.append(n) if isinstance(v, h5py.Dataset) else None)
            chosen = self.chance.sample(names, 4)
            truths = [true[one][()] for one in chosen]
        try:
            with h5py.File(self.mount / name) as file:
                for one, truth in zip(chosen, truths, strict=True):
                    self._compare(f"{name}:{one}", _bytes(file[one][()]), _bytes(truth))
        except (KeyError, RuntimeError) as error:  # How h5py says that a file could not be read.
            raise OSError(0, str(error)) from error


def _bytes(value: Any) -> bytes:
    """Of an array; of one that holds Python's objects, what they say."""
    kind = getattr(value, "dtype", None)
    if kind is None or kind.hasobject:
        return repr(value.tolist() if kind else value).encode()
    return bytes(value.tobytes())


def _number_in(text: str) -> int:
    """The errno that a program's words name; 0 if they name none."""
    found = re.search(r"errno = (\d+)", text)
    if found:
        return int(found[1])
    return next((number for words, number in _NUMBERS.items() if text.strip().endswith(words)), 0)


def main() -> None:
    mount, truth, kind, seed = sys.argv[1:]
    reader = Reader(Path(mount), Path(truth), kind, int(seed))
    ended = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    while not ended.is_set():
        said = reader.once()
        print(json.dumps(said), flush=True)
        ended.wait(reader.chance.uniform(0, 0.5 if said["errors"] else 0.1))


if __name__ == "__main__":
    main()
