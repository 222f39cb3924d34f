"""Recording what is read through a mount: begun, saved now and then, ended.

A record must have every byte that was read, and the kernel answers reads out of what it keeps of a
file without asking.  So what it keeps of a file is dropped when the record begins, if the file is
open then, or else at the first open after that; from there on it asks for each page once, and is
noted.  It reads ahead of programs: what it asks for is more than they read, never less.

The file is made when the record begins, so that what cannot be written is known before an analysis
has run.  It is replaced whole, every ten seconds if something was read, and at the end.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trio

from .._version import __version__
from ..catalog.reads import Reads
from ..catalog.record import Record, RecordedFile, encode, recorded
from ..config import Settings
from ..control.server import Verbs
from ..dataset.places import Place, Places
from ..errors import RecordRefused, RemoteError, UnknownRelease
from ..filesystem import Filesystem
from ..model import Blob, Extent

log = logging.getLogger(__name__)

#: Seconds: what a daemon that is killed may lose of a record.
SAVE_EVERY = 10.0
#: Seconds that the kernel gets to forget: it waits for reads that are under way, and they may wait
#: for the network.  What it has not forgotten by then it forgets a little later.
FORGET_PATIENCE = 20.0
#: Seconds for the last save, when the daemon ends.
LAST_PATIENCE = 20.0

Lines = list[tuple[Blob, list[Extent]]]


class Recording:
    """At most one record at a time of what is read through *filesystem*."""

    def __init__(
        self, settings: Settings, places: Places, filesystem: Filesystem, nursery: trio.Nursery
    ) -> None:
        self._settings = settings
        self.places = places
        self._files = filesystem.files
        self._nursery = nursery
        self._path: Path | None = None
        self._began = self._saved = datetime.now(UTC)
        self._changing = trio.Lock()
        self._saving = trio.CancelScope()
        #: Has the kernel forget what it keeps of files; the mount's, once there is one.
        self.forget: Callable[[Iterable[int]], Awaitable[None]] = _nobody_keeps_anything

    def __repr__(self) -> str:
        return f"<Recording {self._path}, {self._files.recorded!r}>"

    def verbs(self) -> Verbs:
        return {"record_start": self.start, "record_stop": self.stop}

    def statistics(self) -> dict[str, Any] | None:
        """What is being recorded, for ``vbofs status``; None: nothing is."""
        reads = self._files.recorded
        if reads is None:
            return None
        return {
            "file": str(self._path),
            "since": self._began.timestamp(),
            "files": len(reads),
            "bytes": reads.bytes,
        }

    async def start(self, file: str) -> dict[str, Any]:
        """Record from now on, in the new *file*, an absolute path.  RecordRefused."""
        path = Path(file)
        async with self._changing:
            if self._files.recorded is not None:
                raise RecordRefused(f"what is read is being recorded already, in {self._path}")
            if not path.is_absolute() or path.is_relative_to(self._settings.mountpoint):
                raise RecordRefused(f"{path} lies in the mount; name a file outside of it")
            self._began = datetime.now(UTC)
            await _in_thread(path, _make, path, encode(await self._record([])))
            self._path = path
            self._files.recorded = Reads()
            with trio.move_on_after(FORGET_PATIENCE):
                await self.forget(self._files.opened)
            self._saving = trio.CancelScope()
            self._nursery.start_soon(self._keep_saving, self._saving)
            log.info("recording what is read, in %s", path)
        return self.statistics() or {}

    async def stop(self) -> dict[str, Any]:
        """Write the record and end it; what it came to.  RecordRefused: it goes on."""
        async with self._changing:
            reads = self._files.recorded
            if reads is None:
                raise RecordRefused("nothing is being recorded; begin with: vbofs record start")
            answer = self.statistics() or {}
            await self._save(reads)
            self._files.recorded = None
            self._saving.cancel()
            log.info("recorded what was read, in %s", self._path)
            return answer

    async def finish(self) -> None:
        """The daemon ends: write what there is."""
        with trio.move_on_after(LAST_PATIENCE) as patience:
            patience.shield = True
            if self._files.recorded is not None:
                try:
                    await self.stop()
                except Exception as error:  # Whatever it is, the mount ends as it should.
                    log.warning("the record is not whole: %s", error)

    # --- writing

    async def _keep_saving(self, scope: trio.CancelScope) -> None:
        with scope:
            noted = 0
            while True:
                await trio.sleep(SAVE_EVERY)
                reads = self._files.recorded
                if reads is None or reads.notes == noted:
                    continue
                noted = reads.notes
                try:
                    async with self._changing:
                        await self._save(reads)
                except RecordRefused as error:
                    log.warning("%s; it is tried again", error)
                except Exception:
                    # This task's nursery is the mount's.
                    log.exception("saving a record: a bug; it is tried again")

    async def _save(self, reads: Reads) -> None:
        assert self._path is not None, "only what has begun is saved"
        record = await self._record(list(reads.files()))
        await _in_thread(self._path, _replace, self._path, record)

    async def _record(self, lines: Lines) -> Record:
        settings = self._settings
        return Record(
            dataset=settings.dataset,
            bucket=settings.bucket,
            project=settings.project,
            region=settings.region,
            vbofs=__version__,
            began=self._began,
            ended=datetime.now(UTC),
            files=[await self._line(blob, extents) for blob, extents in lines],
        )

    async def _line(self, blob: Blob, extents: list[Extent]) -> RecordedFile:
        place = await self._place(blob)
        return recorded(place.path, place.releases, blob, extents)

    async def _place(self, blob: Blob) -> Place:
        """Where it lies.  A manifest that cannot be had costs the releases' names, and nothing
        that says which bytes were read."""
        try:
            return await self.places.of(blob.version)
        except (RemoteError, UnknownRelease) as error:
            log.info("the record cannot name releases: %s", error)
            return Place(blob.version.key.removeprefix(f"{self._settings.project}/"), (), ())


async def _nobody_keeps_anything(inodes: Iterable[int]) -> None:
    """Without a kernel."""


async def _in_thread(path: Path, work: Callable[..., None], *args: Any) -> None:
    """Do it where a slow disk, or this very mount, holds nobody up.  RecordRefused."""
    try:
        await trio.to_thread.run_sync(work, *args, abandon_on_cancel=True)
    except FileExistsError as error:
        raise RecordRefused(f"{path} is there already; name a new file") from error
    except OSError as error:
        raise RecordRefused(f"the record {path} cannot be written: {error.strerror}") from error


def _make(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)


def _replace(path: Path, record: Record) -> None:
    draft = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}")
    try:
        with draft.open("xb") as file:
            file.write(encode(record))
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
