"""The directory ``allensdk`` of a mount: for AllenSDK, a cache that has everything.  Pure.

AllenSDK (2.16) looks for manifests and files by names of its own, in a directory that it is told,
and writes there; docs/allensdk.md has the contract.  Nothing is copied to satisfy it: manifests are
the files of ``manifests/`` under another name, releases are links to the real ones.

    allensdk/                                       every release
        <project>_project_manifest_v1.0.1.json      for from_local_cache and from_s3_cache
        <project>-1.0.1 -> ../v1.0.1
        <project> -> v1.1.0/<project>               for use_static_cache: the latest
        resources/                                  else the SDK's constructor makes it
        _downloaded_data.json                       else it proposes to hash every file
        _manifest_last_used.txt -> …                it writes here; a file of the user's own
        v1.0.1/                                     the same for one release: pinned
            <project>/                              built when looked into
                manifests/<project>_project_manifest_v1.0.1.json
                behavior_sessions -> ../../../v1.0.1/behavior_sessions

No link leads to a directory above itself, so whoever follows links comes to an end.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..model import Blob
from .tree import ROOT, Tree
from .views import VIEWS

NAME = "allensdk"
LAST_USED = "_manifest_last_used.txt"
#: The SDK's record of what it has downloaded, by hash: nothing.
DOWNLOADED = "_downloaded_data.json"
MANIFESTS = "manifests"


@dataclass(frozen=True)
class Shown:
    """A release of the mount: its directory's inode number, and its manifest."""

    release: str
    ino: int
    name: str
    manifest: Blob


class AllenSDKTree:
    """Keeps ``allensdk`` in line with the releases of *tree*, of *project*.

    A project that lies deeper than one directory in its bucket is none that the SDK can address:
    there ``allensdk`` is not shown at all.
    """

    def __init__(self, tree: Tree, project: str) -> None:
        self._tree = tree
        self._project = project
        self._latest = ""
        #: The one whose names change as releases are published; 0: there is none.
        self.ino = 0

    def __repr__(self) -> str:
        return f"<AllenSDKTree {self._project!r}, latest {self._latest!r}>"

    def show(self, shown: Shown) -> int:
        """A release has come.  The directory that ``build`` is to build when somebody looks into
        it; 0: there is none."""
        if "/" in self._project:
            return 0
        mtime = shown.manifest.mtime
        if not self.ino:
            self.ino = self._cache_dir(ROOT, NAME, mtime, own="")
        self._tree.directory(self.ino).mtime = mtime
        self._release(self.ino, shown, "..")
        pinned = self._cache_dir(self.ino, f"v{shown.release}", mtime, own=f"-v{shown.release}")
        self._release(pinned, shown, "../..")
        return self._tree.add_directory(pinned, self._project, mtime, built=False)

    def point_latest(self, release: str) -> None:
        """*release* is the latest one."""
        if self.ino and release != self._latest:
            mtime = self._tree.directory(self.ino).mtime
            target = f"v{release}/{self._project}"
            self._tree.set_symlink(self.ino, self._project, target, mtime)
            self._latest = release

    def build(self, shown: Shown, ino: int) -> None:
        """Build the directory that ``show`` announced; the release itself has been built."""
        self._tree.mirror(ino, shown.ino, f"../../../v{shown.release}", without=VIEWS)
        manifests = self._tree.add_directory(ino, MANIFESTS, shown.manifest.mtime)
        self._tree.add_file(manifests, shown.name, shown.manifest)

    def _cache_dir(self, parent: int, name: str, mtime: int, *, own: str) -> int:
        """What every cache_dir has, whichever releases it shows."""
        ino = self._tree.add_directory(parent, name, mtime)
        self._tree.add_directory(ino, "resources", mtime)
        self._tree.add_text(ino, DOWNLOADED, b"{}\n", mtime)
        self._tree.add_own_link(ino, LAST_USED, f"{NAME}{own}{LAST_USED}", mtime)
        return ino

    def _release(self, ino: int, shown: Shown, way: str) -> None:
        self._tree.add_file(ino, shown.name, shown.manifest)
        name = f"{self._project}-{shown.release}"
        self._tree.set_symlink(ino, name, f"{way}/v{shown.release}", shown.manifest.mtime)
