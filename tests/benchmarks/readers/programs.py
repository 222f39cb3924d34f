"""Programs that read: each in the page cache before its clock starts, its output thrown away."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from tests.benchmarks.readers.clock import Clock, timed
from tests.benchmarks.readers.content import read_whole, remove, scattered, whole


def dd(clock: Clock, path: str, digest: bool = False, **_: Any) -> Any:
    """`dd bs=1M` to nowhere."""
    _load("dd")
    if digest:
        return read_whole(clock, path)
    _tool(clock, "dd", f"if={path}", "of=/dev/null", "bs=1M", "status=none")
    return None


def cp(clock: Clock, path: str, target: str, digest: bool = False, **_: Any) -> Any:
    """`cp` to the disk where the caches are."""
    _load("cp")
    try:
        _tool(clock, "cp", path, target)
        return whole(target) if digest else None
    finally:
        remove(target)


def fio(clock: Clock, path: str, size: int, count: int, jobs: int, **words: Any) -> Any:
    """`fio --rw=randread`, or where bytes are compared `scattered`."""
    if words.get("digest"):
        return scattered(clock, path, size, count, jobs)
    # fio would tell the kernel that reads are random; HDF5 does not.
    _load("fio")
    fixed = (
        *("--rw=randread", "--ioengine=psync", "--readonly", "--fadvise_hint=0", "--invalidate=0"),
        *("--group_reporting", "--output-format=json", "--thread", "--name=scattered"),
    )
    what = (f"--bs={size}", f"--number_ios={count}", f"--numjobs={jobs}")
    done = _tool(
        clock, "fio", *fixed, *what, f"--filename={path}", f"--size={os.stat(path).st_size}"
    )
    took = json.loads(done)["jobs"][0]["read"]["runtime"] / 1000
    clock.ended = clock.began + took  # without fio's own second of start and end
    return None


def _load(tool: str) -> None:
    """Have the program in the page cache, which may just have been dropped."""
    subprocess.run([tool, "--version"], capture_output=True, check=False)


def _tool(clock: Clock, *words: str) -> str:
    with timed(clock):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{words[0]} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


def h5ls(clock: Clock, path: str, **_: Any) -> Any:
    _load("h5ls")
    return _tool(clock, "h5ls", "-r", path)


def ncdump(clock: Clock, path: str, **_: Any) -> Any:
    _load("ncdump")
    # The first line of its output is the file's name.
    return _tool(clock, "ncdump", "-h", path).partition("\n")[2]


def ls(clock: Clock, folders: list[str], digest: bool = False, **_: Any) -> Any:
    _load("ls")
    shown = _tool(clock, "ls", "-l", "--", *folders)
    return _sizes(folders) if digest else len(shown.splitlines())


def find(clock: Clock, folders: list[str], digest: bool = False, **_: Any) -> Any:
    """`find -size`, which must stat each name."""
    _load("find")
    shown = _tool(clock, "find", *folders, "-name", "*.nwb", "-size", "+1")
    return _sizes(folders) if digest else len(shown.splitlines())


def _sizes(folders: list[str]) -> list[tuple[str, int]]:
    return sorted((e.name, e.stat().st_size) for folder in folders for e in os.scandir(folder))
