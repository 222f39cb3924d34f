"""Bytes of files: by path, and by HTTP into a file."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import random
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from tests.benchmarks.readers.clock import Clock, timed

MiB = 1 << 20


def stat(clock: Clock, paths: list[str], **_: Any) -> Any:
    with timed(clock):
        return [os.stat(path).st_size for path in paths]


def first_byte(clock: Clock, path: str, **_: Any) -> Any:
    with timed(clock), open(path, "rb", buffering=0) as file:
        return file.read(1)


def readers(clock: Clock, paths: list[str], digest: bool = False, **_: Any) -> Any:
    """One thread for each of *paths*, all at once, each reads all of it.

    If it is the same path for all, they share the work of comparing.
    """
    results: list[Any] = [None] * len(paths)

    def read(place: int) -> None:
        share = (place, len(paths)) if len(set(paths)) == 1 else (0, 1)
        results[place] = whole(paths[place], share) if digest else _skim(paths[place])

    threads = [threading.Thread(target=read, args=(place,)) for place in range(len(paths))]
    with timed(clock):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return results


def forget(clock: Clock, paths: list[str], **_: Any) -> Any:
    """Have the kernel drop the clean pages of these files, for want of drop_caches."""
    with timed(clock):
        for path in paths:
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def scattered(clock: Clock, path: str, size: int, count: int, jobs: int, **words: Any) -> Any:
    """*jobs* readers of *count* blocks of *size* bytes each, all over the file."""
    blocks = os.stat(path).st_size // size
    dice = random.Random(words.get("seed", 1))
    plans = [[dice.randrange(blocks) * size for _ in range(count)] for _ in range(jobs)]
    results: list[Any] = [None] * jobs

    def read(place: int) -> None:
        with open(path, "rb", buffering=0) as file:
            results[place] = [os.pread(file.fileno(), size, at) for at in plans[place]]

    threads = [threading.Thread(target=read, args=(place,)) for place in range(jobs)]
    with timed(clock):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return results


def await_mount(clock: Clock, path: str, timeout: float, **_: Any) -> Any:
    """When the mount can be listed; the clock is this machine's monotonic one."""
    with timed(clock):
        while not _is_mounted(path):
            if time.monotonic() > clock.began + timeout:
                raise TimeoutError(f"{path} was not mounted in {timeout:.0f} s")
            time.sleep(0.003)
        os.listdir(path)
    return None


def _is_mounted(path: str) -> bool:
    with open("/proc/self/mountinfo", errors="replace") as lines:
        return any(line.split(" ")[4] == path for line in lines)


# --- HTTP


def download(clock: Clock, url: str, target: str, digest: bool = False, **_: Any) -> Any:
    """The plain HTTP client: one GET into a file."""
    buffer = memoryview(bytearray(MiB))
    try:
        with timed(clock), open(target, "wb", buffering=0) as file:
            file.writelines(_got(url, buffer, {}))
        return whole(target) if digest else None
    finally:
        remove(target)


def download_first(clock: Clock, url: str, **_: Any) -> Any:
    with timed(clock):
        return b"".join(
            bytes(v) for v in _got(url, memoryview(bytearray(16)), {"Range": "bytes=0-0"})
        )


def _got(url: str, buffer: memoryview, headers: dict[str, str]) -> Iterator[memoryview]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc)
    with contextlib.closing(connection):
        connection.request("GET", f"{parts.path}?{parts.query}", headers=headers)
        answer = connection.getresponse()
        if answer.status not in (200, 206):
            raise OSError(f"{url}: status {answer.status}")
        while size := answer.readinto(buffer):
            yield buffer[:size]


# --- what they have in common


def _skim(path: str) -> int:
    buffer, total = bytearray(MiB), 0
    with open(path, "rb", buffering=0) as file:
        while size := file.readinto(buffer):
            total += size
    return total


def whole(path: str, share: tuple[int, int] = (0, 1)) -> str:
    """Read all of it; the digest of every so-manieth piece."""
    digest, buffer = hashlib.blake2b(digest_size=16), memoryview(bytearray(MiB))
    number, (mine, of_all) = 0, share
    with open(path, "rb", buffering=0) as file:
        while size := file.readinto(buffer):
            if number % of_all == mine:
                digest.update(buffer[:size])
            number += 1
    return digest.hexdigest()


def read_whole(clock: Clock, path: str) -> str:
    with timed(clock):
        return whole(path)


def remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
