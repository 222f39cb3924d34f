"""The sample on disk: made once, kept, found again.

``build`` owns ``<folder>/full`` and ``<folder>/small``. A sample is complete when its
``sample.json`` is there and was written by this generator; that file is written last, under a
temporary name, and each file in it before. Anything else is thrown away and made again. A lock
lets several processes ask for the same sample at once: one makes it, the others find it made.

The files are made by two processes of our own (``nwb`` reads its orders from stdin), so that
asking for a sample that exists imports neither pynwb nor h5py, and making one uses two cores
without forking a process that may have threads.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import pickle
import shutil
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import IO, TYPE_CHECKING

from . import releases
from .tables import SHIPPED
from .trouble import DemoFailed, DemoUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .recording import Recording
    from .releases import PlannedRelease

PROCESSES = 2
MARKER = "sample.json"
# What decides the bytes: these files of ours, and those packages.
MODULES = ("allen", "behavior", "imaging", "nwb", "recording", "releases", "signals", "tables")
SOURCES = (*(f"{name}.py" for name in MODULES), *(f"{name}.csv" for name in SHIPPED))
PACKAGES = ("h5py", "hdmf", "numpy", "pynwb")


@dataclass(frozen=True)
class LocalFile:
    """One file of a release as it lies on this machine.

    *path* is relative to the release; *ident* is the file_id, or a table's name; *digest* is hex
    blake2b-512.  Two releases that pin the same bytes have the same *local*.
    """

    path: str
    local: Path
    ident: str
    size: int
    digest: str


@dataclass(frozen=True)
class SampleRelease:
    """What a release holds, with the truth about every byte of it."""

    version: str
    tables: tuple[LocalFile, ...]
    files: tuple[LocalFile, ...]

    @cached_property
    def paths(self) -> Mapping[str, Path]:
        """Path in the release: local file; tables too."""
        return {file.path: file.local for file in (*self.tables, *self.files)}


@dataclass(frozen=True)
class Sample:
    """All releases, in the order of publication."""

    root: Path
    releases: tuple[SampleRelease, ...]

    def release(self, version: str) -> SampleRelease:
        """The release called *version*; KeyError if there is none."""
        return {release.version: release for release in self.releases}[version]


@dataclass(frozen=True)
class _Order:
    """Something to be made: a recording, or a table's bytes."""

    target: str  # relative to the sample's root
    product: Recording | bytes


def build(folder: Path, *, small: bool = False) -> Sample:
    """The sample in *folder*: as it was left there, or made now.

    That takes ten seconds and 800 MB; *small* two seconds and 100 MB.
    """
    generator = _generator()
    root = folder.resolve() / ("small" if small else "full")
    planned = releases.plan(small=small)
    root.parent.mkdir(parents=True, exist_ok=True)
    with _locked(root.with_suffix(".lock")) as lock:
        known = _known(root, generator)
        if known is None:
            known = _make(root, planned, lock)
            _mark(root, generator, known)
    return Sample(root, tuple(_found(root, release, known) for release in planned))


def _generator() -> str:
    """A name for all that decides the bytes: another name, another sample."""
    said = hashlib.blake2b(digest_size=16)
    package = resources.files(__package__)
    for name in SOURCES:
        said.update((package / name).read_bytes())
    try:
        for name in PACKAGES:
            said.update(f"{name} {importlib.metadata.version(name)}\n".encode())
    except importlib.metadata.PackageNotFoundError as error:
        raise DemoUnavailable(error.name) from error
    return said.hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[IO[str]]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


# --- what is there


def _known(root: Path, generator: str) -> dict[str, str] | None:
    """Digests by path under *root*; None unless all is here, and was made by *generator*."""
    try:
        marker = json.loads((root / MARKER).read_text())
    except (OSError, ValueError):
        return None
    digests: dict[str, str] = marker["digests"]
    if marker["generator"] != generator or not all((root / name).exists() for name in digests):
        return None
    return digests


def _mark(root: Path, generator: str, digests: Mapping[str, str]) -> None:
    new = root / f"{MARKER}.new"
    new.write_text(json.dumps({"generator": generator, "digests": digests}, indent=1))
    new.rename(root / MARKER)


def _found(root: Path, release: PlannedRelease, digests: Mapping[str, str]) -> SampleRelease:
    def found(path: str, revision: str, ident: str) -> LocalFile:
        target = _target(revision, path)
        local = root / target
        return LocalFile(path, local, ident, local.stat().st_size, digests[target])

    return SampleRelease(
        release.version,
        tuple(found(table.path, release.version, table.name) for table in release.tables),
        tuple(found(file.path, file.recording.revision, file.file_id) for file in release.files),
    )


def _target(revision: str, path: str) -> str:
    return f"{revision}/{path}"


# --- making it


def _make(root: Path, planned: Iterable[PlannedRelease], lock: IO[str]) -> dict[str, str]:
    """Make every file anew; the digests of all."""
    shutil.rmtree(root, ignore_errors=True)
    orders = {order.target: order for release in planned for order in _orders(release)}
    for target in orders:
        (root / target).parent.mkdir(parents=True, exist_ok=True)
    workers = [_Worker(root, share, lock) for share in _shares(list(orders.values()))]
    answers = [worker.finish() for worker in workers]  # all of them, before any complaint
    made: dict[str, str] = {}
    for answer in answers:
        if answer is None:
            raise DemoFailed("making the sample's files failed; see the lines above")
        made |= json.loads(answer)
    return made


def _orders(release: PlannedRelease) -> Iterator[_Order]:
    for table in release.tables:
        yield _Order(_target(release.version, table.path), table.text)
    for file in release.files:
        yield _Order(_target(file.recording.revision, file.path), file.recording)


def _shares(orders: Sequence[_Order]) -> list[list[_Order]]:
    """Neighbours are alike in size, so dealing them out in turn is fair."""
    return [list(orders[start::PROCESSES]) for start in range(PROCESSES)]


class _Worker:
    """One process that makes its share, from the moment it is created.

    It inherits the lock: should we die, nobody starts anew beside it until it is done.
    """

    def __init__(self, root: Path, share: list[_Order], lock: IO[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vbofs.demo.nwb", str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[lock.fileno()],
        )
        assert self._process.stdin is not None
        # A worker that died is noticed by its exit status, not by the pipe it broke.
        with suppress(BrokenPipeError), self._process.stdin as orders:
            pickle.dump([(order.target, order.product) for order in share], orders)

    def __repr__(self) -> str:
        return f"_Worker({self._process.pid})"

    def finish(self) -> bytes | None:
        """Wait for the end; the digests it made, or None if it failed."""
        assert self._process.stdout is not None
        with self._process.stdout as answer:
            said = answer.read()
        return said if self._process.wait() == 0 else None
