"""`python -m tests.site`: nodes of a site in network namespaces, with and without its cache.

Prints what the origin sent for each number of nodes, then has the cache killed, hung and poisoned.
Exit status 1 if a byte was wrong, if a read failed, or if nginx let the origin send a byte twice.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mount.machine import Mounted
from tests.mount.waiting import eventually
from tests.s3 import ProgrammableS3
from tests.site.network import ORIGIN, Site, enter_apart
from tests.site.poison import poison
from tests.site.servers import CacheServer, Nginx, Varnish, found
from tests.site.trial import FILES, Bench, Reading, Result, unique_bytes


class Nginx128(Nginx):
    """With slices as small as vbofs's blocks."""

    slice_size = "128k"


class NginxUnsliced(Nginx):
    """Keeps ranges as they were asked for."""

    slice_size = ""


TIERS: dict[str, type[CacheServer] | None] = {
    "direct": None,
    "nginx": Nginx,
    "nginx, slices of 128k": Nginx128,
    "nginx, no slices": NginxUnsliced,
    "varnish": Varnish,
}


HEAD = f"{'':24}{'nodes':>6}{'unique MB':>11}{'origin MB':>11}{'ratio':>7}{'requests':>10}{'s':>7}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.site", description=__doc__)
    parser.add_argument("--nodes", default="1,2,4,8", help="numbers of nodes")
    parser.add_argument("--delay", type=float, default=0.02, help="of the origin, in seconds")
    parser.add_argument(
        "--jobs", default="copy,scatter,mixed", help="which; '' for the troubles alone"
    )
    options = parser.parse_args()
    enter_apart()
    counts = [int(number) for number in options.nodes.split(",")]
    with (
        tempfile.TemporaryDirectory(prefix="vbofs-site-") as folder,
        ProgrammableS3(host=ORIGIN, delay=options.delay) as s3,
    ):
        bench = Bench(Path(folder), Site(), s3)
        jobs = [job for job in options.jobs.split(",") if job]
        sound = table(bench, jobs, counts)
        troubles(bench, max(counts))
    return 0 if sound else 1


def table(bench: Bench, jobs: list[str], counts: list[int]) -> bool:
    """Print what each tier costs the origin; False if nginx let a byte be sent twice."""
    sound = True
    for job in jobs:
        read: Reading = {"copy": bench.copy, "scatter": bench.scatter, "mixed": bench.mixed}[job]
        print(f"\n{job}: {read.__doc__}\n{HEAD}")
        for name, kind in TIERS.items():
            if kind is not None and not found(kind.program):
                print(f"{name:24}{kind.program} is not installed")
                continue
            for count in counts:
                result = trial(bench, kind, count, read)
                unique = unique_bytes(job, count)
                ratio = result.sent / unique
                print(
                    f"{name:24}{count:6}{unique / 1e6:11.1f}{result.sent / 1e6:11.1f}{ratio:7.2f}"
                    f"{result.requests:10}{result.seconds:7.1f}",
                    flush=True,
                )
                sound &= job == "scatter" or name != "nginx" or ratio == 1
    return sound


def trial(bench: Bench, kind: type[CacheServer] | None, count: int, read: Reading) -> Result:
    """One cold run of so many nodes behind a cold cache, or none."""
    with contextlib.ExitStack() as stack:
        words = []
        if kind is not None:
            words = ["--site-cache", stack.enter_context(bench.cache(kind)).url]
        return bench.measured(stack.enter_context(bench.nodes(count, *words)), read)


def troubles(bench: Bench, count: int) -> None:
    """The cache dies, hangs and lies; AssertionError if a node reads a wrong byte because of it."""
    for trouble in (_killed, _hung, _poisoned):
        began = time.monotonic()
        said = trouble(bench, count)
        print(f"{count} nodes, {said}, in {time.monotonic() - began:.1f} s", flush=True)


def _killed(bench: Bench, count: int) -> str:
    with bench.cache(Nginx) as cache, bench.nodes(count, "--site-cache", cache.url) as mounts:
        _while_copying(bench, mounts, cache.kill)
        assert all(mounted.status()["site_caches"][0]["away"] for mounted in mounts)
        return f"cache killed in the middle: all right, {_sent(bench)}"


def _hung(bench: Bench, count: int) -> str:
    with bench.cache(Nginx) as cache, bench.nodes(count, "--site-cache", cache.url) as mounts:
        _while_copying(bench, mounts, cache.pause)
        cache.pause(signal.SIGCONT)
        return f"cache hung in the middle: all right, {_sent(bench)}"


def _while_copying(bench: Bench, mounts: list[Mounted], do: Callable[[], None]) -> None:
    with ThreadPoolExecutor(1) as pool:
        copied = pool.submit(bench.measured, mounts, bench.copy)
        eventually(lambda: bench.sent()[0] > sum(FILES.values()) // 3, within=60)
        do()
        copied.result()


def _poisoned(bench: Bench, count: int) -> str:
    path = next(iter(FILES))
    with bench.cache(Nginx) as cache:
        with bench.nodes(1, "--site-cache", cache.url) as mounts:
            bench.measured(mounts, bench.copy)
        flipped = sum(poison(cache, one) for one in FILES)
        with bench.nodes(count, "--site-cache", cache.url) as mounts:
            for mounted in mounts:
                mounted.machine.expect(r"ERROR .*(does not match its|is not what its) release")
            wrong = sum(not _is_right(bench, mounted, path) for mounted in mounts)
            for mounted in mounts:
                eventually(lambda m=mounted: m.status()["verifier"]["mismatched"], within=60)
                assert mounted.status()["site_caches"][0]["mismatched"] == 1
            bench.measured(mounts, bench.copy)
            return (
                f"{flipped} slices poisoned: {wrong} of {count} first reads were wrong, were caught"
                f" when the file was whole, and all reads after that were right, {_sent(bench)}"
            )


def _is_right(bench: Bench, mounted: Mounted, path: str) -> bool:
    return (mounted / f"v1.0.0/{path}").read_bytes() == bench.published.truth("1.0.0", path)


def _sent(bench: Bench) -> str:
    sent, unique = bench.sent()[0], sum(FILES.values())
    return f"{sent / 1e6:.1f} MB from the origin for {unique / 1e6:.1f}"


if __name__ == "__main__":
    sys.exit(main())
