"""A soak: one mount, many readers, everything that can go wrong; and the verdict."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mount.machine import Machine
from tests.soak import truth
from tests.soak.ledger import Ledger, size, words
from tests.soak.origin import ROOT, Origin
from tests.soak.troubles import STALL, TIMEOUT, Troubles, clear
from tests.soak.watch import MOST_DESCRIPTORS, MOST_MEMORY, Watch
from vbofs.demo import Sample

KINDS = ("random", "sequential", "hdf5", "cp", "stat", "random", "sequential", "random")
#: Seconds that an answer may take beyond the daemon's patience: the last attempt's stall, the time
#: for which a daemon is stopped or being replaced, and a busy machine.
SLACK = STALL + 7
#: Seconds without a word after which a reader hangs.
SILENCE = 6 * TIMEOUT
#: A daemon that calls it a stall after some seconds; the constant is 15.
SITE = f"""
import vbofs.remote.s3_ranges

vbofs.remote.s3_ranges.READ_TIMEOUT = {STALL}
"""
FOREIGN = ("VBOFS_", "AWS_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


class Reading(threading.Thread):
    """A reader's process, and what it says."""

    def __init__(self, ledger: Ledger, *words: str) -> None:
        super().__init__(name=" ".join(words[-2:]), daemon=True)
        self.ledger, self.heard = ledger, time.monotonic()
        command = [sys.executable, "-m", "tests.soak.reader", *words]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
        self.start()

    def run(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.heard = time.monotonic()
                self.ledger.add(json.loads(line))

    def end(self) -> None:
        """Let it finish what it is at."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def judge(self) -> None:
        try:
            status = self.process.wait(SILENCE)
        except subprocess.TimeoutExpired:
            self.ledger.violate(f"the reader {self.name} hangs")
            self.process.kill()
            return
        self.join()
        if status:
            self.ledger.violate(f"the reader {self.name} ended with status {status}")


class Soak:
    """*seconds* of *readers* under troubles that follow from *seed*."""

    def __init__(
        self, seconds: float, readers: int, seed: int, sample: Sample | None = None
    ) -> None:
        self.seconds, self.readers, self.seed, self.sample = seconds, readers, seed, sample
        # Twice: a page whose read-ahead has failed is asked for again by the kernel, alone.
        self.ledger = Ledger(deadline=2 * TIMEOUT + SLACK)
        self.requests = self.sent = 0
        self.kept: Path | None = None
        self._log = ""

    def run(self) -> bool:
        """Whether there was no violation."""
        folder = Path(tempfile.mkdtemp(prefix="vbofs-soak-"))
        try:
            truths = truth.make(folder, self.sample)
            with Origin(truths) as origin:
                self._run(folder, truths, origin)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self.causes = self.ledger.causes()
        self.ledger.judge_latency()
        self.watch.judge()
        self._keep_log()
        return not self.ledger.violations

    def _run(self, folder: Path, truths: Path, origin: Origin) -> None:
        machine = Machine(folder / "machine", origin.url)
        (machine.root / "sitecustomize.py").write_text(SITE)
        # Every daemon of this soak is of the same code, whoever edits it meanwhile.
        shutil.copytree(ROOT / "vbofs", machine.root / "vbofs")
        machine.env |= {
            "PYTHONPATH": str(machine.root),
            "VBOFS_TIMEOUT": str(TIMEOUT),
            "VBOFS_KEEP_FREE": "0",
            "VBOFS_REFRESH_INTERVAL": "5",
        }
        machine.expect(r" (WARNING|ERROR) ")  # The watch looks for what is not to be there.
        self.watch = Watch(machine, self.ledger)
        troubles = Troubles(machine, origin, self.ledger, self.watch, self.seed)
        troubles.options = ("--cache-size", "30M")
        try:
            troubles.mount()
            self.watch.start()
            with self._reading(machine, truths) as readings:
                self._trouble(troubles, origin, readings)
            self.watch.stop()
            self._read_all(machine, truths)
        finally:
            self.watch.follow(None)
            self._log = machine.log()
            machine.clean()

    def _keep_log(self) -> None:
        """For whoever has to find out why."""
        if self.ledger.violations:
            self.kept = Path(tempfile.gettempdir(), f"vbofs-soak-{self.seed}-{os.getpid()}.log")
            self.kept.write_text(self._log)

    @contextmanager
    def _reading(self, machine: Machine, truths: Path) -> Iterator[list[Reading]]:
        readings = []
        try:
            for nth in range(self.readers):
                kind = KINDS[nth % len(KINDS)]
                place = str(machine.home / "vbo")
                seed = str(self.seed * 1000 + nth)
                readings.append(Reading(self.ledger, place, str(truths), kind, seed))
            yield readings
        finally:
            for reading in readings:
                reading.end()
            for reading in readings:
                reading.judge()

    def _trouble(self, troubles: Troubles, origin: Origin, readings: list[Reading]) -> None:
        """Break things in two threads, until the time is over; then mend all."""
        until = time.monotonic() + self.seconds

        def keep_breaking(kinds: list[Callable[[], None]], pause: float) -> None:
            while not troubles.ended.wait(troubles.chance.uniform(0, pause)):
                try:
                    troubles.chance.choice(kinds)()
                except Exception as error:
                    self.ledger.violate(f"trouble with the troubles: {error!r}")
                    return

        breakers = [
            threading.Thread(target=keep_breaking, args=args)
            for args in ((troubles.of_the_network(), 1.0), (troubles.of_the_machine(), 1.5))
        ]
        for breaker in breakers:
            breaker.start()
        while time.monotonic() < until and not self._is_over(readings):
            troubles.ended.wait(min(5.0, max(0.0, until - time.monotonic())))
            self._harvest(origin)
        troubles.ended.set()
        for breaker in breakers:
            breaker.join()
        origin.command("up")
        origin.command("heal")
        self._harvest(origin)
        clear(troubles.machine.cache)

    def _is_over(self, readings: list[Reading]) -> bool:
        """A reader that hangs or has died ends it all; so does a wrong byte."""
        for reading in readings:
            if time.monotonic() - reading.heard > SILENCE or reading.process.poll() is not None:
                self.ledger.violate(f"the reader {reading.name} is silent")
                return True
        return any(what.startswith("WRONG") for what in self.ledger.violations)

    def _harvest(self, origin: Origin) -> None:
        harvest = origin.command("harvest")
        self.ledger.fired += Counter(harvest["fired"])
        self.requests += harvest["requests"]
        self.sent += harvest["sent"]

    def _read_all(self, machine: Machine, truths: Path) -> None:
        """When all is well again, every file can be read, with no action by anyone."""
        for path in truths.rglob("*"):
            if path.is_file():
                place = machine.home / "vbo" / path.relative_to(truths)
                try:
                    with contextlib.closing(os.fdopen(os.open(place, os.O_RDONLY), "rb")) as file:
                        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                        if file.read() != path.read_bytes():
                            self.ledger.violate(f"WRONG at the end: {place}")
                except OSError as error:
                    self.ledger.violate(f"at the end: {error}")

    # --- what to say

    def _peaks(self) -> str:
        each = " + ".join(f"{peak >> 10}" for peak in self.watch.peaks)
        return f"{self.watch.peak_memory >> 10} MiB: {each}"

    def summary(self) -> str:
        """The table."""
        ledger, watch = self.ledger, self.watch
        restarts = ledger.troubles["kill -9"] + ledger.troubles["SIGTERM"]
        p50, p99, p100 = (ledger.quantile(share) for share in (0.5, 0.99, 1))
        rows = [
            ("time", f"{self.seconds:.0f} s, {self.readers} readers, seed {self.seed}"),
            ("work", f"{words(ledger.reads)}"),
            ("reads", f"{len(ledger.latencies)} answers, {size(ledger.bytes)} compared"),
            ("errors", words(self.causes)),
            ("troubles", words(ledger.troubles)),
            ("faults fired", words(ledger.fired)),
            ("requests", f"{self.requests}, {size(self.sent)} sent, {watch.retried} tried again"),
            ("restarts", f"{restarts}"),
            ("cache", f"{size(watch.evicted)} evicted, {watch.damaged} blocks found damaged"),
            ("peak memory", f"{self._peaks()} (at most {MOST_MEMORY >> 10})"),
            ("peak files", f"{watch.peak_descriptors} (at most {MOST_DESCRIPTORS})"),
            ("latency", f"p50 {p50 * 1000:.1f} ms, p99 {p99:.2f} s, p100 {p100:.2f} s"),
            ("", f"(at most {ledger.deadline:.0f} s)"),
            *(("slow", f"{took:.1f} s: {what}") for took, what in ledger.slowest),
            ("violations", f"{len(ledger.violations)}"),
            ("log", f"{self.kept or 'not kept: there was nothing wrong'}"),
        ]
        table = [f"  {name:<14}{text}" for name, text in rows]
        return "\n".join([*table, *(f"    {what}" for what in ledger.violations[:40])])
