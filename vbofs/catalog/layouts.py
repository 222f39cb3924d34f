"""Where the files of a release go in a directory of ordinary files.  Pure.

``Plain`` is what a mount shows.  ``AllenSDK`` is what its cloud cache makes and expects (its
``brain_observatory/.../cloud_cache/cloud_cache.py``): a directory per release, the manifests beside
them, and a file that says which files are there, by their absolute paths, with their hashes.
"""

from __future__ import annotations

from typing import Protocol

DOWNLOADED = "_downloaded_data.json"


class Layout(Protocol):
    """Paths are relative to the directory; those of files were checked in their manifest."""

    def path(self, release: str, path: str) -> str:
        """Where the file *path* of *release* goes."""

    def manifest(self, release: str) -> str:
        """Where the manifest of *release* goes."""


class Plain:
    def __init__(self, project: str) -> None:
        self._name = project.rpartition("/")[2]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name}>"

    def path(self, release: str, path: str) -> str:
        return f"v{release}/{path}"

    def manifest(self, release: str) -> str:
        return f"manifests/{self._name}_project_manifest_v{release}.json"


class AllenSDK(Plain):
    def path(self, release: str, path: str) -> str:
        return f"{self._name}-{release}/{path}"

    def manifest(self, release: str) -> str:
        return f"{self._name}_project_manifest_v{release}.json"


LAYOUTS = {"plain": Plain, "allensdk": AllenSDK}
