"""Everybody does every job in turn, as often as asked, and nothing is left behind.

The order of contestants moves on by one with each turn, so nobody always follows the same one. A
contestant that fails, or needs more time than a job has, is noted and left out of the rest of that
job.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.contestants import Contestant
from tests.benchmarks.files import Corpus
from tests.benchmarks.jobs import Job
from tests.benchmarks.peers import Peers
from tests.benchmarks.processes import Failed, clear_leftovers, in_our_care
from tests.benchmarks.servers import serving
from tests.benchmarks.trials import Field, Sample, Trial


@dataclass
class Outcome:
    """All that was measured; *absent* says who could not take part and why."""

    samples: list[Sample]
    mismatches: list[str]
    absent: dict[str, str]
    interrupted: bool = False


class Bench:
    """A run: these jobs, these contestants, so many times.

    With *drops*, and if it is root, it empties the whole machine's page cache again and again.
    *named* says that somebody wants these contestants and no others, even where a job does without.
    """

    def __init__(
        self,
        folder: Path,
        *,
        size: str,
        repeat: int,
        say: Callable[[str], None],
        drops: bool = True,
        named: bool = False,
    ) -> None:
        self.corpus = Corpus(folder / "files", size)
        self.peers = Peers(folder / "peers")
        self._scratch = folder / "scratch"
        self._repeat, self._say, self._drops = repeat, say, drops
        self._named = named
        self._samples: list[Sample] = []

    def run(self, jobs: Sequence[Job], contestants: Sequence[Contestant]) -> Outcome:
        """Do it all.  Interrupted, it still takes everything down."""
        clear_leftovers(self._scratch)
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(parents=True, mode=0o755)
        absent = {one.name: self._why_absent(one) for one in contestants}
        present = [one for one in contestants if not absent[one.name]]
        with self._field(jobs) as ground:
            interrupted, began = False, time.monotonic()
            try:
                for number, job in enumerate(jobs, 1):
                    elapsed = time.monotonic() - began
                    self._say(f"[{number}/{len(jobs)}, {elapsed:.0f} s] {job.name}")
                    self._do(job, self._admitted(job, present), ground)
            except KeyboardInterrupt:
                interrupted = True
            outcome = Outcome(self._samples, ground.mismatches, absent, interrupted)
        clear_leftovers(self._scratch)
        shutil.rmtree(self._scratch, ignore_errors=True)
        return outcome

    def _admitted(self, job: Job, present: list[Contestant]) -> list[Contestant]:
        without = frozenset() if self._named else job.without
        return [one for one in present if one.kind in job.kinds and one.name not in without]

    @contextlib.contextmanager
    def _field(self, jobs: Sequence[Job]) -> Iterator[Field]:
        self._say("Making and publishing the files …")
        files = [self.corpus.file(name) for name in sorted({n for job in jobs for n in job.files})]
        names = self.corpus.names() if any(job.names for job in jobs) else []
        if names:
            self.corpus.local_names()
        with serving(self._scratch, files, names) as server:
            ground = Field(server, self.corpus, self.peers, self._scratch, self._drops)
            try:
                yield ground
            finally:
                ground.stop()

    def _do(self, job: Job, contestants: list[Contestant], ground: Field) -> None:
        left = list(contestants)
        for turn in range(0 if job.rehearsed else 1, self._repeat + 1):
            for contestant in left[turn % len(left) :] + left[: turn % len(left)] if left else []:
                why = self._take_turn(job, contestant, ground, rehearsal=turn == 0)
                if why:
                    left.remove(contestant)
                    self._say(f"    {contestant.name}: {why}")
                    self._samples.append(Sample(job.name, contestant.name, note=why))

    def _take_turn(
        self, job: Job, contestant: Contestant, ground: Field, *, rehearsal: bool
    ) -> str:
        """One trial; why it failed, or ""."""
        trial = Trial(ground, contestant, link=job.link, limit=job.limit, rehearsal=rehearsal)
        why, wrong = "", len(ground.mismatches)
        try:
            with trial:
                job.run(trial)
        except (Failed, OSError) as error:
            why = str(error) or repr(error)
        except Exception as bug:  # what the others did in an hour must not be lost for it
            traceback.print_exc()
            why = f"a bug of the benchmark: {bug!r}"
        for sample in trial.samples:
            self._say(f"    {contestant.name:12} {sample.row:44} {sample.seconds:8.3f} s")
        for mismatch in ground.mismatches[wrong:]:
            self._say(f"*** {mismatch}")
        self._samples += trial.samples
        return why

    def _why_absent(self, contestant: Contestant) -> str:
        why = contestant.why_absent(self.peers)
        if not why and contestant.user is not None:
            why = self._why_shut_out(contestant.user)
        return why

    def _why_shut_out(self, user: int) -> str:
        """Why another user cannot run what is here, in the benchmark's folder; "" if he can."""
        probe = "import os, sys, vbofs; os.listdir(sys.argv[1]); os.open('/dev/fuse', os.O_RDWR)"
        words = [sys.executable, "-c", probe, str(self._scratch)]
        try:
            done = subprocess.run(
                in_our_care(words, user), capture_output=True, text=True, check=False, cwd="/"
            )
        except Failed as error:
            return str(error)
        said = done.stderr.strip().splitlines()
        return f"user {user} cannot run it here: {said[-1]}" if done.returncode else ""
