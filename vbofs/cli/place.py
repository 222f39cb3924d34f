"""Which mount is meant, and what dataset it shows: for verbs that work with a mount and without."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from .. import control, mounts
from ..config import Settings, load
from ..errors import NotMounted, VbofsError
from .options import settings_of

#: What a mount states of the dataset that it shows, by the same names as the settings.
_STATED = ("dataset", "bucket", "project", "region", "endpoint_url", "profile", "offline")


def mounted(settings: Settings) -> dict[Path, dict[str, Any]]:
    """This user's mounts of the dataset of *settings*, the settings' own mountpoint first.

    Values are what the daemons say of themselves; one that says nothing is passed over.
    """
    states = {}
    for mount in sorted(mounts.mounts(), key=lambda each: each.path != settings.mountpoint):
        state = _state(mount.path) if mount.is_ours else None
        if state is not None and _same(settings, state):
            states[mount.path] = state
    return states


def settings_at(place: str | os.PathLike[str] | None, options: dict[str, Any]) -> Settings:
    """The settings of the mount at *place*.  NotMounted if no vbofs of this user is there.

    Without a place those that *options* amount to; and where these say nothing of a dataset, those
    of the mount that there is, if there is one at the usual mountpoint, or only one.
    """
    if place is not None:
        path = Path(os.path.realpath(Path(place).expanduser()))
        return of_mount(path, control.ask(path, "status"), options)
    settings = settings_of(dict(options))
    if any(options.get(name) is not None for name in (*_STATED, "config_file")):
        return settings
    found = {mount.path: _state(mount.path) for mount in mounts.mounts() if mount.is_ours}
    living = {path: state for path, state in found.items() if state is not None}
    where = settings.mountpoint if settings.mountpoint in living else next(iter(living), None)
    if where is None or (len(living) > 1 and where != settings.mountpoint):
        return settings
    return of_mount(where, living[where], options)


def of_mount(path: Path, state: dict[str, Any], options: dict[str, Any] | None = None) -> Settings:
    """The settings under which *path* is mounted, as far as its dataset and cache go."""
    settings = load({name: v for name, v in (options or {}).items() if name != "config_file"})
    stated = {name: state[name] for name in _STATED if name in state}
    cache = Path(state["cache"]["dir"])
    return msgspec.structs.replace(settings, **stated, cache_dir=cache, mountpoint=path, release=())


def root(settings: Settings, release: str) -> Path | None:
    """The directory of *release* in a mount of the dataset of *settings*; None if none shows it."""
    for path, state in mounted(settings).items():
        if release in state["releases"]:
            return path / f"v{release}"
    return None


def _state(path: Path) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = control.ask(path, "status")
    except (NotMounted, VbofsError):
        return None  # Another user's, dead or hanging.
    return state


def _same(settings: Settings, state: dict[str, Any]) -> bool:
    return all(
        state.get(name) == getattr(settings, name) for name in ("bucket", "project", "endpoint_url")
    )
