"""One contestant's turn at one job: mounted with nothing cached, measured, taken down.

A trial that is a rehearsal is not timed but compares every byte; the others compare where that
costs nothing (the digest is made when the clock has stopped). What is right is what the same
operation finds in the local file.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.contestants import NOBODY, Contestant, Place
from tests.benchmarks.files import BUCKET, FOLDER, Corpus
from tests.benchmarks.peers import Peers
from tests.benchmarks.processes import Costs, Daemon, Failed, Reader, drop_pages, in_our_care
from tests.benchmarks.servers import DIRECT, Link, Server

#: Seconds that a mount, or a look at a few names of it, may take.
MOUNT_PATIENCE = 40.0


@dataclass(frozen=True)
class Where:
    """How one contestant calls the files; what operations are made from."""

    kind: str
    name: str
    scratch: Path
    root: Path
    folder: Path
    url: str = ""

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def paths(self, names: Iterable[str]) -> list[str]:
        return [self.path(name) for name in names]

    def link(self, corpus: Corpus, name: str) -> str:
        file = corpus.file(name)
        return f"{self.url}/{BUCKET}/{file.key}?versionId={file.version_id}"


Operation = dict[str, Any]
Ask = Callable[[Where], Operation]


@dataclass
class Sample:
    """What one measurement came to; *note* says why there are no figures."""

    row: str
    contestant: str
    seconds: float = 0.0
    reader_cpu: float = 0.0
    cpu: float = 0.0
    peak: float = 0.0
    anonymous: float = 0.0
    requests: int = 0
    sent: int = 0
    needed: int = 0
    waits: int = 0
    note: str = ""
    ranges: tuple[Any, ...] = ()


@dataclass
class Field:
    """What all trials share: the server, the corpus, the peers, the readers, what is known."""

    server: Server
    corpus: Corpus
    peers: Peers
    scratch: Path
    drops: bool = True
    readers: dict[tuple[str, int | None], Reader] = field(default_factory=dict)
    truths: dict[str, str] = field(default_factory=dict)
    mismatches: list[str] = field(default_factory=list)

    def reader(self, python: str, user: int | None) -> Reader:
        return self.readers.setdefault((python, user), Reader(python, user))

    def stop(self) -> None:
        for reader in self.readers.values():
            reader.stop()


class Trial:
    """A context manager; what it measured is in *samples*."""

    def __init__(
        self, ground: Field, contestant: Contestant, *, link: Link, limit: float, rehearsal: bool
    ) -> None:
        self.ground = ground
        self.contestant = contestant
        self.rehearsal = rehearsal
        self.samples: list[Sample] = []
        self.scratch = ground.scratch / contestant.name
        self.link, self._limit = link, limit
        self._daemon: Daemon | None = None
        self._place = Place(
            ground.server.url, self.scratch / "mnt", self.scratch / "cache", self.scratch / "home"
        )

    def __enter__(self) -> Trial:
        shutil.rmtree(self.scratch, ignore_errors=True)
        for folder in (self._place.mountpoint, self._place.cache, self._place.home / "run"):
            folder.mkdir(parents=True, mode=0o755)
            self._give_away(folder)
        (self._place.home / "run").chmod(0o700)
        for folder in (self.scratch, self._place.home):
            self._give_away(folder)
        return self

    def __exit__(self, *_: object) -> None:
        self.umount()
        self.ground.server.set(DIRECT)
        shutil.rmtree(self.scratch, ignore_errors=True)

    @property
    def is_far(self) -> bool:
        return self.link != DIRECT

    @property
    def is_mount(self) -> bool:
        return self.contestant.kind == "mount"

    @property
    def where(self) -> Where:
        """How the contestant calls the files."""
        if not self.is_mount:
            truth = self._truth
            kind, name = self.contestant.kind, self.contestant.name
            return Where(kind, name, self.scratch, truth.root, truth.folder, self._place.url)
        root = self._place.mountpoint / self.contestant.below
        return Where("mount", self.contestant.name, self.scratch, root, root / FOLDER)

    @property
    def _truth(self) -> Where:
        corpus = self.ground.corpus
        root = corpus.folder / "names"
        return Where("local", "truth", self.ground.scratch, root, corpus.folder)

    # --- the mount

    def mount(self, *names: str) -> None:
        """Mount if there is anything to mount, and know these files' names."""
        self.ground.server.set(DIRECT)
        if self.is_mount:
            self.reader.tell(self._awaited())
            self._start()
            self._answered()
            if names:
                self.reader.ask(self._stat(names), MOUNT_PATIENCE)
        self.ground.server.set(self.link)

    def time_mount(self, row: str) -> None:
        """Mount, and measure from the command to the first listing of the root."""
        self.ground.server.set(self.link)
        self.ground.server.clear()
        self.reader.tell(self._awaited())
        self._start()
        answer = self._answered()
        assert self._daemon is not None
        sample = self._sample(row, answer["ended"] - self._daemon.began, Costs())
        self._keep(sample)

    def umount(self) -> None:
        if self._daemon is not None:
            daemon, self._daemon = self._daemon, None
            daemon.stop()

    def _awaited(self) -> Operation:
        path = str(self._place.mountpoint)
        return {"operation": "await_mount", "path": path, "timeout": MOUNT_PATIENCE}

    def _answered(self) -> dict[str, Any]:
        daemon = self._daemon
        assert daemon is not None
        try:
            return self.reader.answer(MOUNT_PATIENCE + 5, lambda: daemon.has_ended)
        except Failed as error:
            raise Failed(f"{error}; it said: {daemon.last_words()}") from error

    def _start(self) -> None:
        contestant = self.contestant
        assert contestant.start is not None
        words = contestant.start(self._place, self.ground.peers)
        assert words is not None
        log = self.scratch / "log"
        self._daemon = Daemon(
            in_our_care(words, contestant.user),
            self._place.mountpoint,
            env=contestant.environment(self._place),
            log=log,
        )

    def _stat(self, names: Iterable[str]) -> Operation:
        return {"operation": "stat", "paths": self.where.paths(names)}

    # --- measuring

    @property
    def reader(self) -> Reader:
        """Who reads for this contestant: a process of the user who mounted."""
        python = sys.executable
        if self.contestant.kind == "library":
            python = self.ground.peers.python() or python
        return self.ground.reader(python, self.contestant.user)

    def forget_pages(self, *names: str) -> None:
        """Empty the page cache, or, without the right to, have these files' pages dropped."""
        if self.ground.drops and drop_pages():
            return
        if names and self.contestant.kind in ("mount", "local"):
            asked = {"operation": "forget", "paths": self.where.paths(names)}
            self.reader.ask(asked, MOUNT_PATIENCE)

    def measure(self, row: str, ask: Ask, *, needed: int = 0) -> None:
        """Have it read what *ask* says, and keep what that cost as a sample of *row*."""
        operation = ask(self.where)
        operation["digest"] = not operation.pop("heavy", False) or self.rehearsal
        if self._daemon:
            self._daemon.await_idle()
        before = self._costs()
        self.ground.server.clear()
        answer = self.reader.ask(operation, self._limit)
        sample = self._sample(row, answer["seconds"], before)
        sample.reader_cpu, sample.needed = answer["cpu"], needed
        self._compare(row, ask, answer.get("digest"))
        self._keep(sample)

    def _keep(self, sample: Sample) -> None:
        if not self.rehearsal:
            self.samples.append(sample)

    def _sample(self, row: str, seconds: float, before: Costs) -> Sample:
        traffic = self.ground.server.settled()
        if self._daemon:
            self._daemon.await_idle()
        after = self._costs()
        return Sample(
            row=row,
            contestant=self.contestant.name,
            seconds=seconds,
            cpu=after.cpu - before.cpu,
            peak=after.peak,
            anonymous=after.anonymous,
            requests=traffic.requests,
            sent=traffic.sent,
            waits=traffic.waits,
            ranges=traffic.ranges,
        )

    def _costs(self) -> Costs:
        return self._daemon.costs() if self._daemon else Costs()

    def _compare(self, row: str, ask: Ask, digest: str | None) -> None:
        if digest is None or self.contestant.kind == "local":
            return
        operation = {**ask(self._truth), "digest": True}
        operation.pop("heavy", None)
        known = json.dumps(operation)
        if known not in self.ground.truths:
            local = self.ground.reader(sys.executable, None)
            self.ground.truths[known] = local.ask(operation, 300)["digest"]
        if self.ground.truths[known] != digest:
            self.ground.mismatches.append(f"{row}: {self.contestant.name} read WRONG BYTES")

    def _give_away(self, folder: Path) -> None:
        if self.contestant.user is not None:
            os.chown(folder, NOBODY, NOBODY)


def needed_by(ground: Field, what: str, name: str) -> int:
    """How many different bytes of an HDF5 file *what* reads, found with the local file."""
    known = f"needed {what} {name}"
    if known not in ground.truths:
        path = str(ground.corpus.file(name).local)
        asked = {"operation": "needed", "what": what, "path": path}
        ground.truths[known] = str(ground.reader(sys.executable, None).ask(asked, 300)["found"])
    return int(ground.truths[known])
