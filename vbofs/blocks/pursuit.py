"""A chase under way: blocks of an open HDF5 file to ``Chase``, what it asks for to the fetcher.

It begins at the first jump.  A reader that goes from front to back wants the bytes, not the
structure, and would only find his large requests cut up; whoever follows pointers jumps at once.
Each wait is a task of its own in the mount's nursery, so that a wave of requests goes out together;
between two pieces of work the readers get their turn.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterable, Iterator, MutableMapping

import trio

from ..errors import VbofsError
from ..model import Blob, Extent
from .extents import covering, runs, span
from .fetcher import Fetcher
from .flights import Priority
from .hdf5 import Chase
from .profile import Profile
from .store import BlockStore

log = logging.getLogger(__name__)

#: Requests that a chase makes at once.  Over TCP and TLS a new connection costs as much as two to
#: three waits for an answer, so they are made while head and tail are waited for.
WAVE = 16
#: Seconds without a read after which one who has looked at everything is taken to think, not to be
#: looking still: between the reads of a listing there are some milliseconds.
REST = 0.05


class Pursuit:
    """Fetches the metadata of *blob* ahead of its reader.

    *known* has the blobs that need it no more, with their arrays.  *remember* what its reader
    wanted: not of one who only looks what there is.
    """

    def __init__(
        self,
        blob: Blob,
        store: BlockStore,
        fetcher: Fetcher,
        nursery: trio.Nursery,
        known: MutableMapping[str, list[Extent]],
        *,
        remember: bool = True,
    ) -> None:
        self._blob = blob
        self._store = store
        self._fetcher = fetcher
        self._nursery = nursery
        self._known = known
        self._remember = remember
        self._chase = Chase(blob.size)
        self._profile = Profile(store.folder.parent / "profiles", blob)
        self._tasks: set[trio.CancelScope] = set()
        self._learned: set[int] = set()
        self._opening: list[Extent] | None = None  # What was asked for at a first peek.
        self._begun = self._closed = self._is_visited = False
        self._waiting = 0
        self._rest: trio.CancelScope | None = None  # Ends when the reader rests.

    def __repr__(self) -> str:
        return f"<Pursuit {self._chase!r}>"

    def peek(self) -> None:
        """The reader has asked for a few bytes of the file's head: have head and tail fetched.

        No more: he may only want to know what kind of file it is, and then of the next thousand.
        """
        if self._opening is None and self._is_worth_it():
            self._opening = self._chase.opening()
            self._fetcher.expect(self._blob, WAVE)
            self._fetch({b for one in self._opening for b in covering(one)}, learn=False)

    def _is_worth_it(self) -> bool:
        file = self._store.file(self._blob)
        return file is not None and not file.is_complete()

    def begin(self) -> None:
        """The reader has jumped: ask for head and tail, and follow what they point to."""
        if self._begun:
            return
        self._begun = True
        file = self._store.file(self._blob)
        if file is None or not self._is_worth_it():
            self._closed = True
            return
        self._fetcher.expect(self._blob, WAVE)
        # All at once; what is learned from these blocks is mostly here by then.
        self._fetch(b for b in self._profile.replay() if file.missing(range(b, b + 1)))
        if self._blob.ident in self._known:
            self._closed = True
        else:
            self._ask(self._chase.opening() if self._opening is None else self._opening)

    def array_at(self, offset: int) -> Extent | None:
        """The large array in which byte *offset* lies, if it is known."""
        return next((a for a in self.arrays if a.start <= offset < a.stop), None)

    def array_after(self, array: Extent) -> Extent | None:
        """The large array that comes next in the file, if any is known."""
        return min((a for a in self.arrays if a.start >= array.stop), default=None)

    @property
    def arrays(self) -> list[Extent]:
        """The large arrays that are known, as who visits them by name comes to them."""
        if not self._closed:
            return self._chase.arrays
        return self._known.get(self._blob.ident, [])

    @contextlib.contextmanager
    def waited_for(self, read: Extent) -> Iterator[None]:
        """A reader waits for *read* as long as this lasts."""
        if self._begun and not self._closed:
            self._ask(self._chase.missed(read))
        self._waiting += 1
        self._put_off_rest()
        try:
            yield
        finally:
            self._waiting -= 1
            self._put_off_rest()

    def visited(self) -> None:
        """The reader goes from array to array: he wants what is small as well."""
        if self._begun and not self._closed and not self._is_visited:
            self._is_visited = True
            self._ask(self._chase.visited())

    def saw(self, read: Extent) -> None:
        """*read* has been answered: there may be metadata in its blocks."""
        blocks = covering(read)
        self._profile.note(blocks)
        self._put_off_rest()
        if not self._begun or self._closed:
            return
        self._ask(self._chase.saw(read))
        if self._chase.finished:
            return
        if self._chase.may_want_values and self._rest is None:
            self._rest = trio.CancelScope()
            self._put_off_rest()
            self._nursery.start_soon(self._await_rest, self._rest)
        if not self._chase.rests:
            fresh = [block for block in blocks if block not in self._learned]
            self._ask(span(range(b, b + 1), self._blob.size) for b in fresh)

    def close(self) -> None:
        """The file is closed; what is under way lands, and nothing follows."""
        if self._begun and self._remember:
            self._profile.save()
        self._closed = True
        for task in self._tasks:
            task.cancel()

    @property
    def _is_over(self) -> bool:
        return self._closed or self._chase.finished

    def _ask(self, extents: Iterable[Extent]) -> None:
        self._fetch({block for extent in extents for block in covering(extent)})

    def _fetch(self, blocks: Iterable[int], *, learn: bool = True) -> None:
        for run in runs(sorted(blocks)):
            if not self._fetcher.may_chase:
                return
            self._nursery.start_soon(self._follow, run, learn)

    async def _follow(self, run: range, learn: bool) -> None:
        """Have *run*, and learn from it block by block."""
        with self._boundary():
            loose = await self._fetcher.have(self._blob, run, priority=Priority.CHASE)
            for block in run if learn else ():
                self._learn(block, loose.get(block))
                await trio.lowlevel.checkpoint()

    def _put_off_rest(self) -> None:
        """Somebody has begun to read, or has been answered."""
        if self._rest is not None:
            self._rest.deadline = math.inf if self._waiting else trio.current_time() + REST

    async def _await_rest(self, rest: trio.CancelScope) -> None:
        """Wait until the reader rests, then have fetched what he may read next."""
        with self._boundary():
            with rest:
                await trio.sleep_forever()
            if not self._closed:
                self._ask(self._chase.rested())

    @contextlib.contextmanager
    def _boundary(self) -> Iterator[None]:
        """Around a task: it ends with the file, and no error of it ends the nursery."""
        task = trio.CancelScope()
        self._tasks.add(task)
        try:
            with task:
                yield
        except VbofsError as error:
            # A reader who needs that block will hear of it.
            log.debug("%r: %s", self, error)
        except Exception:
            log.exception("%r: a bug; reading goes on without it", self)
            self._closed = True
        finally:
            self._tasks.discard(task)

    def _learn(self, block: int, content: bytes | None) -> None:
        if self._is_over:
            return
        self._learned.add(block)
        extent = span(range(block, block + 1), self._blob.size)
        view: memoryview | None = memoryview(content) if content is not None else None
        if view is None:
            file = self._store.file(self._blob)
            view = file.read(extent) if file else None
        if view is None:
            return
        self._ask(self._chase.learn(extent.start, view))
        if self._chase.finished:
            self._known[self._blob.ident] = self._chase.arrays
