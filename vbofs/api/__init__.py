"""The Python API: ``vbofs.open``, and the ``Dataset`` that it returns.

    >>> import vbofs
    >>> ds = vbofs.open("~/vbo")
    >>> ds
    <Dataset visual-behavior-ophys v1.1.0 on ~/vbo>
    >>> ds.path(ophys_experiment_id=951980471).name
    'behavior_ophys_experiment_951980471.nwb'

Tables are pandas frames, typed and indexed as AllenSDK's.  Nothing needs a mount; with one, paths
are paths in it.  Errors are ``vbofs.VbofsError``, with the words that the commands print.
"""

from __future__ import annotations

import os
from typing import Any

from ..config import Settings, load
from . import place
from .dataset import Dataset
from .words import named
from .worker import Worker

__all__ = ["Dataset", "open"]


def open(  # noqa: A001  # vbofs.open, as gzip.open is
    mountpoint: str | os.PathLike[str] | None = None,
    *,
    dataset: str | None = None,
    release: str = "latest",
    **settings: Any,
) -> Dataset:
    """A release of a dataset: of the one mounted at *mountpoint*, or without a mount of *dataset*.

    Other keywords are settings, by the names that docs/settings.md has: ``cache_dir``,
    ``endpoint_url``, ``offline`` …  Without a mountpoint and without any of them it is the dataset
    of the mount that there is.  Reads go through the same block cache as those of every mount;
    paths are paths only where a mountpoint is named or found.

    NotMounted, SettingsInvalid, UnknownRelease, or what the bucket's side has to say.

    >>> vbofs.open("~/vbo", release="1.0.1").release
    '1.0.1'
    """
    options = {**settings, **({"dataset": dataset} if dataset else {})}
    chosen = load(options)
    mounted: Settings | None = None
    if mountpoint is not None:
        mounted = place.at(mountpoint, chosen)
    elif not options:
        mounted = place.usual(chosen)
    mount = mounted.mountpoint if mounted is not None else None
    return Dataset(Worker(mounted or chosen), named(release), mount)
