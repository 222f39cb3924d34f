"""A lower cache: another cache of vbofs, on storage that nodes share, read before the remote.

It has the shape of a remote, so that the fetcher need not know of it.  Somebody else writes it, at
any time: a block counts only when its bytes match their map, so half a write is a miss.  What is
read is copied into the node's own cache and compared, whole, with its release's digest like all
else.  Nothing is written there.

Shared storage hangs.  Whatever touches it runs in a thread that is given up after a while; while
such a thread has not come back, nobody else is sent after it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import pwd
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import trio

from ..config import Settings
from ..errors import LowerCacheUnusable, SettingsInvalid
from ..model import Blob, Extent, ObjectVersion
from ..remote.breaker import Breaker
from ..remote.protocol import Listed, ObjectStore, Page, Requests, Sink
from .blobmap import FORMAT, sound_start
from .extents import BLOCK_SIZE, covering

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Bytes read at a time: with 64 connections at it, 32 MB of memory.
STEP = 512 << 10
#: Seconds for one of them; a remote is faster than storage slower than that.
LIMIT = 5.0
#: Seconds for the first read after some that failed: its reader waits in vain, mostly.
PROBE_LIMIT = 0.5
#: Reads at once, and so threads that storage which hangs can hold.
MOST_READS = 16
#: Bytes of its format file that are looked at.
FORMAT_SIZE = 64


@dataclass(frozen=True)
class LowerCacheStatistics:
    """*away*: it is passed by at the moment.  *bytes* and *blocks* were taken from it, *damaged*
    and *failed* reads were not, since the daemon began."""

    dir: str
    away: bool
    blocks: int
    bytes: int
    damaged: int
    failed: int


class LowerCache:
    """Blocks of the cache in *folder*, and of *remote* where it has none.

    Only files of *owners*, which nobody else can write, are read.
    """

    def __init__(self, remote: ObjectStore, folder: Path, owners: frozenset[int]) -> None:
        self._remote = remote
        self._folder = folder
        self._owners = owners
        self._limiter = trio.CapacityLimiter(MOST_READS)
        self._breaker = Breaker()
        self._checked = self._has_complained = False
        self._distrusted: set[ObjectVersion] = set()
        #: Reads in threads, and those of them that nobody waits for any more.
        self._under_way: set[object] = set()
        self._given_up: set[object] = set()
        self._blocks = self._bytes = self._damaged = self._failed = 0

    def __repr__(self) -> str:
        return f"<LowerCache {self._folder} {self._breaker!r}>"

    def statistics(self) -> LowerCacheStatistics:
        away = self._hangs or not self._breaker.is_closed
        counts = self._blocks, self._bytes, self._damaged, self._failed
        return LowerCacheStatistics(str(self._folder), away, *counts)

    async def open(self) -> None:
        """See whether it can be used; LowerCacheUnusable.  One that hangs may come later."""
        await self._read_in_time(lambda: None)

    # --- as an object store

    async def fetch(self, blob: Blob, extent: Extent, sink: Sink) -> None:
        at = extent.start
        while at < extent.stop:
            piece = Extent(at, min(at + STEP, extent.stop))
            here = await self._start_of(blob, piece)
            if here:
                await trio.to_thread.run_sync(_pour, here, sink, abandon_on_cancel=True)
                self._blocks += -(-len(here) // BLOCK_SIZE)
                self._bytes += len(here)
                at += len(here)
            if at < piece.stop:
                await self._remote.fetch(blob, Extent(at, extent.stop), sink)
                return

    async def head(self, version: ObjectVersion) -> Listed:
        return await self._remote.head(version)

    async def page(
        self, prefix: str, *, marker: Mapping[str, str] | None = None, shallow: bool = False
    ) -> Page:
        return await self._remote.page(prefix, marker=marker, shallow=shallow)

    async def prepare(self, version: ObjectVersion, requests: int) -> None:
        await self._remote.prepare(version, requests)

    def requests(self) -> Requests:
        return self._remote.requests()

    def distrust(self, version: ObjectVersion) -> None:
        self._distrusted.add(version)
        self._remote.distrust(version)

    # --- reading

    async def _start_of(self, blob: Blob, extent: Extent) -> memoryview:
        """As much of *extent* as is there from its start on; nothing, where it cannot be used."""
        nothing = memoryview(b"")
        # Without a digest nothing would ever vouch for what somebody else has written.
        is_vouched = bool(blob.digest) and blob.version not in self._distrusted
        if not is_vouched or extent.start % BLOCK_SIZE or self._hangs or not self._breaker.admits():
            return nothing
        try:
            answer = await self._read_in_time(lambda: self._sound_start(blob, covering(extent)))
        except LowerCacheUnusable as error:  # It hung when the mount began, and came back as this.
            self._fail(str(error))
            return nothing
        found, is_damaged = answer or (nothing, False)
        self._damaged += is_damaged
        return found

    async def _read_in_time(self, read: Callable[[], T]) -> T | None:
        """What *read* gives, in a thread; None if it fails or takes too long."""
        limit = LIMIT if self._breaker.is_closed else PROBE_LIMIT
        token = object()

        def work() -> T:
            self._under_way.add(token)
            try:
                self._check()
                return read()
            finally:
                self._under_way.discard(token)

        try:
            with trio.move_on_after(limit):
                answer = await trio.to_thread.run_sync(
                    work, limiter=self._limiter, abandon_on_cancel=True
                )
                if self._breaker.succeeded():
                    log.info("the lower cache %s answers again", self._folder)
                return answer
            self._fail(f"it took longer than {limit:g} s")
        except OSError as error:
            self._fail(str(error))
        except LowerCacheUnusable:
            raise
        except BaseException:
            self._breaker.gave_up()
            raise
        finally:
            self._given_up.add(token)
            self._given_up &= self._under_way
        return None

    @property
    def _hangs(self) -> bool:
        """A read that was given up has not come back yet."""
        self._given_up &= self._under_way
        return bool(self._given_up)

    def _fail(self, why: str) -> None:
        self._failed += 1
        if self._breaker.failed():
            log.warning("the lower cache %s is passed by for a while: %s", self._folder, why)

    # --- in a thread, which may never return

    def _check(self) -> None:
        if not self._checked:
            _check_cache(self._folder, self._owners)
            self._checked = True

    def _sound_start(self, blob: Blob, blocks: range) -> tuple[memoryview, bool]:
        """See ``blobfile.sound_start``; OSError if it is the storage that fails."""
        ident = blob.ident
        path = self._folder / "blobs" / ident[:2] / ident
        with contextlib.ExitStack() as opened:
            try:
                marks = opened.enter_context(self._opened(path.with_name(f"{ident}.map")))
                data = opened.enter_context(self._opened(path))
            except FileNotFoundError:
                return memoryview(b""), False
            except (LowerCacheUnusable, PermissionError) as error:
                return self._left_out(error)
            except OSError as error:
                if error.errno == errno.ELOOP:
                    return self._left_out(error)
                raise
            return sound_start((marks, data), blob, blocks)

    def _left_out(self, error: Exception) -> tuple[memoryview, bool]:
        """A miss; said once, for there may be thousands of such files."""
        if not self._has_complained:
            self._has_complained = True
            log.warning("the lower cache %s has files that are left out: %s", self._folder, error)
        return memoryview(b""), True

    @contextlib.contextmanager
    def _opened(self, path: Path) -> Iterator[int]:
        """A descriptor of a plain file that only its owner can write, and he is trusted."""
        # A pipe in its place would keep open(2) waiting, a link would lead anywhere.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            _check_trust(path, os.fstat(fd), self._owners, stat.S_ISREG)
            yield fd
        finally:
            os.close(fd)


async def open_lower_cache(remote: ObjectStore, settings: Settings) -> LowerCache | None:
    """*remote* under the lower cache that *settings* name, if they name one.

    LowerCacheUnusable, or SettingsInvalid for an owner that nobody knows.
    """
    if settings.lower_cache is None:
        return None
    owners = frozenset({0, os.geteuid(), *_named(settings.lower_cache_owner)})
    lower = LowerCache(remote, settings.lower_cache, owners)
    await lower.open()
    return lower


def _named(owner: str) -> list[int]:
    if not owner:
        return []
    try:
        return [int(owner) if owner.isdecimal() else pwd.getpwnam(owner).pw_uid]
    except KeyError as error:
        raise SettingsInvalid(f"lower_cache_owner: there is no user {owner!r} here") from error


def _pour(content: memoryview, sink: Sink) -> None:
    while content:
        room = sink.get_buffer()
        step = min(len(room), len(content))
        room[:step] = content[:step]
        sink.buffer_updated(step)
        content = content[step:]


def _check_cache(folder: Path, owners: frozenset[int]) -> None:
    """LowerCacheUnusable unless *folder* is a cache that we can read, and only *owners* write."""
    try:
        for place in (folder, folder / "blobs"):
            _check_trust(place, place.stat(), owners, stat.S_ISDIR)
        with (folder / "format").open("rb") as file:
            said = file.read(FORMAT_SIZE).split()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise LowerCacheUnusable(
            f"{folder} is no cache of vbofs; fill one first, and name it with --lower-cache"
        ) from error
    except PermissionError as error:
        raise LowerCacheUnusable(
            f"the lower cache {folder} is closed to this user; chmod a+rx it and its blobs/"
        ) from error
    if said != [b"vbofs", str(FORMAT).encode()]:
        raise LowerCacheUnusable(
            f"the lower cache {folder} is damaged, or of another version of vbofs than this one"
        )


def _check_trust(
    path: Path, facts: os.stat_result, owners: frozenset[int], is_kind: Callable[[int], bool]
) -> None:
    if not is_kind(facts.st_mode):
        raise LowerCacheUnusable(f"{path} is not what it must be in a cache; it is not followed")
    if facts.st_uid not in owners:
        raise LowerCacheUnusable(
            f"{path} belongs to user {facts.st_uid}, neither root nor you; if that is right, set"
            f' lower_cache_owner = "{facts.st_uid}"'
        )
    if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise LowerCacheUnusable(f"{path} can be written by others than its owner; chmod go-w it")
