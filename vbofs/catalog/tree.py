"""The directory tree of a dataset: nodes, and an inode number that is a node's position.  Pure.

A release never changes, so its nodes are appended once, whole, and then only read; inode numbers
are never used again.  Files are filed under their object version as well: two releases that pin the
same version share the node, hence the kernel's page cache.  Only the root directory is ever edited,
when a release is published.
"""

from __future__ import annotations

import stat
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ..errors import NoSuchName
from ..model import Attrs, Blob

ROOT = 1


@dataclass(slots=True)
class Directory:
    """*children* is None until the directory is built: find out what it holds, then ``fill``."""

    ino: int
    parent: int
    mtime: int
    children: dict[bytes, int] | None = field(default_factory=dict)
    subdirectories: int = 0


@dataclass(frozen=True, slots=True)
class File:
    """A blob with a name, or with several."""

    ino: int
    blob: Blob


@dataclass(frozen=True, slots=True)
class Symlink:
    """*target* is relative to the directory that holds it."""

    ino: int
    target: bytes
    mtime: int


@dataclass(frozen=True, slots=True)
class OwnLink:
    """A symbolic link to a file outside the mount: another one, called *name*, for every user."""

    ino: int
    name: str
    mtime: int


@dataclass(frozen=True, slots=True)
class Text:
    """A small file that no bucket holds: its bytes are here."""

    ino: int
    content: bytes
    mtime: int


Node = Directory | File | Symlink | OwnLink | Text


class Tree:
    """All nodes of one mount.  Every method is synchronous; NoSuchName where there is nothing."""

    def __init__(self, mtime: int = 0) -> None:
        # Position 0 is no inode number: the kernel reads it as "there is nothing".
        self._nodes: list[Node | None] = [None, Directory(ROOT, ROOT, mtime)]
        self._files: dict[tuple[str, str, str], int] = {}
        #: Bytes of all distinct blobs, for statfs(2).
        self.bytes = 0

    def __repr__(self) -> str:
        return f"<Tree {len(self._nodes) - 1} nodes, {len(self._files)} blobs, {self.bytes} bytes>"

    def __getitem__(self, ino: int) -> Node:
        node = self._nodes[ino] if 0 < ino < len(self._nodes) else None
        if node is None:
            raise NoSuchName(f"no inode {ino}")
        return node

    @property
    def file_count(self) -> int:
        return len(self._files)

    def directory(self, ino: int) -> Directory:
        """The directory *ino*; NoSuchName if it is none (the kernel never asks that)."""
        node = self[ino]
        if not isinstance(node, Directory):
            raise NoSuchName(f"inode {ino} is not a directory")
        return node

    def child(self, parent: int, name: bytes) -> Node:
        """The node called *name* in a directory that has been built."""
        ino = (self.directory(parent).children or {}).get(name)
        if ino is None:
            raise NoSuchName(f"no {name!r} in inode {parent}")
        return self[ino]

    def children(self, ino: int) -> list[tuple[bytes, Node]]:
        """The names in a directory that has been built, sorted as bytes."""
        return [(name, self[child]) for name, child in self._sorted(ino)]

    def _sorted(self, ino: int) -> Iterator[tuple[bytes, int]]:
        yield from sorted((self.directory(ino).children or {}).items())

    def attrs(self, node: Node) -> Attrs:
        match node:
            case Directory():
                links = 2 + node.subdirectories
                return Attrs(node.ino, stat.S_IFDIR | 0o555, 0, node.mtime, links)
            case Symlink():
                return Attrs(node.ino, stat.S_IFLNK | 0o777, len(node.target), node.mtime)
            case OwnLink():  # Its length is the caller's affair, as of those in /proc.
                return Attrs(node.ino, stat.S_IFLNK | 0o777, 0, node.mtime)
            case File():
                return Attrs(node.ino, stat.S_IFREG | 0o444, node.blob.size, node.blob.mtime)
            case Text():
                return Attrs(node.ino, stat.S_IFREG | 0o444, len(node.content), node.mtime)

    # --- building

    def add_directory(self, parent: int, name: str, mtime: int, *, built: bool = True) -> int:
        """Append a directory; an unbuilt one has no children yet."""
        node = Directory(len(self._nodes), parent, mtime, {} if built else None)
        self._nodes.append(node)
        self._enter(parent, name, node.ino)
        self.directory(parent).subdirectories += 1
        return node.ino

    def add_file(self, parent: int, name: str, blob: Blob) -> int:
        """Give *blob* a name; its node is appended if no release has brought it yet."""
        ino = self._files.get(blob.version)
        if ino is None:
            ino = len(self._nodes)
            self._nodes.append(File(ino, blob))
            self._files[blob.version] = ino
            self.bytes += blob.size
        self._enter(parent, name, ino)
        return ino

    def set_symlink(self, parent: int, name: str, target: str, mtime: int) -> int:
        """Point *name* at *target*; a new target is a new node, so that no old answer lingers."""
        node = Symlink(len(self._nodes), target.encode(), mtime)
        self._nodes.append(node)
        self._enter(parent, name, node.ino)
        return node.ino

    def add_own_link(self, parent: int, name: str, own: str, mtime: int) -> None:
        node = OwnLink(len(self._nodes), own, mtime)
        self._nodes.append(node)
        self._enter(parent, name, node.ino)

    def add_text(self, parent: int, name: str, content: bytes, mtime: int) -> None:
        node = Text(len(self._nodes), content, mtime)
        self._nodes.append(node)
        self._enter(parent, name, node.ino)

    def mirror(self, ino: int, original: int, way: str, *, without: Container[str]) -> None:
        """Build the directory *ino*: each name of the directory *original*, of which *way* is the
        path from *ino*, but those of *without*.  Directories are linked to, files are there
        themselves."""
        directory = self.directory(ino)
        directory.children = directory.children or {}
        for raw, node in self.children(original):
            name = raw.decode()
            if isinstance(node, File):
                self.add_file(ino, name, node.blob)
            elif name not in without:
                self.set_symlink(ino, name, f"{way}/{name}", directory.mtime)

    def fill(self, ino: int, files: Iterable[tuple[str, Blob]]) -> None:
        """Build the directory *ino*, once, from paths relative to it."""
        directory = self.directory(ino)
        if directory.children is not None:
            return
        directory.children = {}
        made = {"": ino}
        for path, blob in files:
            folder, _, name = path.rpartition("/")
            self.add_file(self._folder(made, folder, directory.mtime), name, blob)

    def fill_links(self, ino: int, layout: Mapping[str, Mapping[str, str]]) -> None:
        """Build the directory *ino*, once: of directories, and in each the links by name.

        Targets are paths relative to the directory that holds *ino*.
        """
        directory = self.directory(ino)
        if directory.children is not None:
            return
        directory.children = {}
        for folder, links in layout.items():
            made = self.add_directory(ino, folder, directory.mtime)
            for name, target in links.items():
                self.set_symlink(made, name, f"../../{target}", directory.mtime)

    def _folder(self, made: dict[str, int], folder: str, mtime: int) -> int:
        if folder not in made:
            above, _, name = folder.rpartition("/")
            made[folder] = self.add_directory(self._folder(made, above, mtime), name, mtime)
        return made[folder]

    def _enter(self, parent: int, name: str, ino: int) -> None:
        children = self.directory(parent).children
        assert children is not None, "an unbuilt directory takes no names"
        children[name.encode()] = ino
