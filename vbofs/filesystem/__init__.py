"""The read-only file system: names, attributes and bytes.  It has never heard of FUSE.

``Tree`` answers whatever is known; this room decides when something must be found out first: a
release, and each view in it, is built when it is first looked into, and the root asks for news when
somebody looks at it and the last look is long ago.  Nothing here runs by a clock, so an idle mount
never wakes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from ..blocks.fetcher import Fetcher
from ..blocks.store import BlockStore
from ..catalog.allensdk import NAME as ALLENSDK
from ..catalog.allensdk import AllenSDKTree, Shown
from ..catalog.tree import ROOT, Directory, File, Node, OwnLink, Symlink, Text, Tree
from ..catalog.views import VIEWS, Layout
from ..dataset import Dataset, Document
from ..dataset.newer import NewerWatch
from ..errors import NoSuchName, TableInvalid, VbofsError
from ..metadata import Metadata
from ..model import Attrs
from ..ownfiles import OwnFiles
from .openfiles import OpenFiles, ReadStatistics

log = logging.getLogger(__name__)

#: Seconds that a look at the root waits for news; what comes later is seen by the next look.
NEWS_PATIENCE = 3.0
#: Seconds that statfs(2) waits to learn the size of the latest release: df must not hang.
SIZE_PATIENCE = 5.0

#: Fills the directory whose inode number it gets.
Builder = Callable[[int], Awaitable[None]]

MANIFESTS = "manifests"
LATEST = "latest"


class Filesystem:
    """The tree of *dataset*, its bytes through *fetcher*; *nursery* is for work nobody awaits.

    *chase*: follow the metadata of HDF5 files ahead of their readers.  *own*: where each user has
    the file that AllenSDK writes; None: that file is not there.
    """

    def __init__(
        self,
        dataset: Dataset,
        store: BlockStore,
        fetcher: Fetcher,
        nursery: trio.Nursery,
        *,
        chase: bool = True,
        own: OwnFiles | None = None,
    ) -> None:
        self._dataset = dataset
        self._nursery = nursery
        self.tree = Tree()
        self._own = own
        self._allensdk = AllenSDKTree(self.tree, dataset.project)
        self._manifests = self.tree.add_directory(ROOT, MANIFESTS, 0)
        self._releases: dict[int, str] = {}
        self._metadata = Metadata(dataset, store, fetcher)
        #: How each directory that has not been looked into is built.
        self._builders: dict[int, Builder] = {}
        self._building: dict[int, trio.Lock] = {}
        self.files = OpenFiles(store, fetcher, nursery, chase=chase)
        self.newer = NewerWatch(dataset)
        self._show_news()

    def __repr__(self) -> str:
        return f"<Filesystem {self.tree!r}>"

    @property
    def built(self) -> list[str]:
        """The releases that somebody has looked into."""
        return [r for ino, r in self._releases.items() if self._is_built(ino)]

    # --- names

    def node(self, ino: int) -> Node:
        """The node of an inode number that the kernel has been told."""
        return self.tree[ino]

    def attrs(self, node: Node) -> Attrs:
        return self.tree.attrs(node)

    async def lookup(self, parent: int, name: bytes) -> Node:
        """The node called *name*; NoSuchName."""
        await self._built(parent)
        if not self.is_lasting(parent) and (name == LATEST.encode() or not self._has(parent, name)):
            await self._ask_for_news()
        return self.tree.child(parent, name)

    async def entries(self, ino: int) -> list[tuple[bytes, Node]]:
        """What a directory holds now, with . and .., in an order of its own."""
        if not self.is_lasting(ino):
            await self._ask_for_news()
        directory = await self._built(ino)
        dots = [(b".", directory), (b"..", self.tree.directory(directory.parent))]
        return [*dots, *self.tree.children(ino)]

    def is_lasting(self, ino: int) -> bool:
        """Whether the names in directory *ino* can never change: all but the root's and, as
        releases are published, the manifests' and AllenSDK's."""
        return ino not in (ROOT, self._manifests, self._allensdk.ino)

    def target(self, ino: int) -> bytes:
        """Where a symbolic link points, the same for everybody."""
        node = self.tree[ino]
        if not isinstance(node, Symlink):
            raise NoSuchName(f"inode {ino} is not a symbolic link")
        return node.target

    async def target_for(self, ino: int, uid: int) -> bytes:
        """Where a symbolic link points for the user *uid*."""
        node = self.tree[ino]
        if not isinstance(node, OwnLink) or self._own is None:
            return self.target(ino)
        return os.fsencode(await trio.to_thread.run_sync(self._own.path, uid, node.name))

    async def size(self) -> tuple[int, int]:
        """Bytes and number of the distinct files known, the latest release's at least."""
        try:
            with trio.move_on_after(SIZE_PATIENCE):
                await self._built(self._inode_of(self._dataset.latest))
        except VbofsError as error:
            log.log(error.level, "the size of v%s is not known: %s", self._dataset.latest, error)
        return self.tree.bytes, self.tree.file_count

    def _has(self, parent: int, name: bytes) -> bool:
        return name in (self.tree.directory(parent).children or {})

    def _is_built(self, ino: int) -> bool:
        return self.tree.directory(ino).children is not None

    def _inode_of(self, release: str) -> int:
        return next(ino for ino, known in self._releases.items() if known == release)

    async def _built(self, ino: int) -> Directory:
        """The directory *ino*, after building it if nobody has looked into it yet."""
        if not self._is_built(ino):
            async with self._building.setdefault(ino, trio.Lock()):
                if not self._is_built(ino):
                    await self._builders[ino](ino)
                    del self._builders[ino], self._building[ino]
        return self.tree.directory(ino)

    async def _build_release(self, release: str, ino: int) -> None:
        contents = await self._dataset.contents(release)
        self.tree.fill(ino, contents.files)
        self.newer.look(self.built)
        if not contents.tables:
            return  # Nothing that a view could be made of.
        taken = self.tree.directory(ino).children or {}
        for view in VIEWS:
            if view.encode() not in taken:
                made = self.tree.add_directory(ino, view, contents.mtime, built=False)
                self._builders[made] = partial(self._build_view, release, view)

    async def _build_view(self, release: str, view: str, ino: int) -> None:
        """A view of tables that are bad is empty; one whose tables cannot be had now is an error,
        and is built at another look."""
        layout: Layout = {}
        try:
            layout = await self._metadata.layout(release, view)
        except TableInvalid as error:
            log.log(error.level, "v%s/%s is empty: %s", release, view, error)
        self.tree.fill_links(ino, layout)

    async def _build_static(self, shown: Shown, ino: int) -> None:
        await self._built(shown.ino)
        self._allensdk.build(shown, ino)

    # --- news

    async def refresh(self) -> None:
        """Look for new releases now.  RemoteError if the bucket cannot be asked."""
        if await self._dataset.refresh():
            self._show_news()

    async def _ask_for_news(self) -> None:
        if not self._dataset.is_due:
            return
        asked = trio.Event()
        # Not in this task: a reader that is interrupted, or has waited enough, ends nothing.
        self._nursery.start_soon(self._look_for_news, asked)
        with trio.move_on_after(NEWS_PATIENCE):
            await asked.wait()

    async def _look_for_news(self, asked: trio.Event) -> None:
        try:
            if await self._dataset.refresh_if_due():
                self._show_news()
        except Exception:
            # This task has no caller to tell, and its nursery is the mount's.
            log.exception("looking for new releases: a bug; what is known stays")
        finally:
            asked.set()

    def _show_news(self) -> None:
        """Bring the root in line with the dataset.  Releases are only ever added."""
        releases = self._dataset.releases
        root = self.tree.directory(ROOT)
        for release, document in releases.items():
            if release not in self._releases.values():
                log.info("release v%s: %d files", release, document.entries)
                mtime = document.facts.mtime
                ino = self.tree.add_directory(ROOT, f"v{release}", mtime, built=False)
                self._releases[ino] = release
                self._builders[ino] = partial(self._build_release, release)
                root.mtime = max(root.mtime, mtime)
                shown = Shown(release, ino, document.name, document.blob)
                if static := self._allensdk.show(shown):
                    self._builders[static] = partial(self._build_static, shown)
            self._show(self._manifests, document)
        self.tree.directory(self._manifests).mtime = root.mtime
        for document in self._dataset.listing.root:
            if not self._is_ours(document.name):
                self._show(ROOT, document)
        self._point_latest(f"v{self._dataset.latest}", root.mtime)
        self._allensdk.point_latest(self._dataset.latest)
        self.newer.look(self.built)

    def _is_ours(self, name: str) -> bool:
        return name in (
            LATEST,
            MANIFESTS,
            ALLENSDK,
            *(f"v{release}" for release in self._releases.values()),
        )

    def _show(self, parent: int, document: Document) -> None:
        self.tree.add_file(parent, document.name, document.blob)

    def _point_latest(self, target: str, mtime: int) -> None:
        ino = (self.tree.directory(ROOT).children or {}).get(LATEST.encode())
        link = None if ino is None else self.tree[ino]
        if not isinstance(link, Symlink) or link.target != target.encode():
            self.tree.set_symlink(ROOT, LATEST, target, mtime)

    # --- bytes

    def statistics(self) -> ReadStatistics:
        return self.files.statistics()

    def open(self, ino: int) -> bool:
        """Count a handle on a file; whether what the kernel keeps of it may be kept."""
        node = self.tree[ino]
        if isinstance(node, Text):
            return True
        if not isinstance(node, File):
            raise NoSuchName(f"inode {ino} is not a file")
        return self.files.open(ino, node.blob)

    def close(self, ino: int) -> None:
        """The kernel lets go of a handle; with the last one, read-ahead ends."""
        self.files.close(ino)

    async def read(self, ino: int, offset: int, size: int) -> memoryview:
        """Bytes of an open file, fewer than *size* only at its end.  BlockUnavailable."""
        if isinstance(node := self.tree[ino], Text):
            return memoryview(node.content)[offset : offset + size]
        return await self.files.read(ino, offset, size)
