"""Which mount is meant, and what dataset it shows."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from .. import control, mounts
from ..config import Settings, load
from ..errors import VbofsError

#: What a mount states of the dataset that it shows, by the same names as the settings.
STATED = ("dataset", "bucket", "project", "region", "endpoint_url", "profile", "offline")


def at(place: str | os.PathLike[str], settings: Settings | None = None) -> Settings:
    """The settings under which vbofs is mounted at *place*, as far as its dataset and cache go;
    the others are those of *settings*.  NotMounted if no vbofs of this user is there."""
    path = Path(os.path.realpath(Path(place).expanduser()))
    return _stated(path, control.ask(path, "status"), settings)


def usual(settings: Settings, told: Iterable[str] = ()) -> Settings | None:
    """Those of the mount at the usual mountpoint, or of the only one; None if there is none.

    For who names no dataset, and means the one that is there; mounts in which one of the settings
    *told* is another are not there for him.
    """
    told = tuple(told)
    found = {path: _stated(path, state, settings) for path, state in living().items()}
    found = {
        path: one
        for path, one in found.items()
        if all(getattr(one, name) == getattr(settings, name) for name in told)
    }
    if settings.mountpoint in found:
        return found[settings.mountpoint]
    return found.popitem()[1] if len(found) == 1 else None


def root(settings: Settings, release: str) -> Path | None:
    """The directory of *release* in a mount of the dataset of *settings*; None if none shows it.

    Of several mounts, that at the settings' own mountpoint.
    """
    for path, state in sorted(living().items(), key=lambda item: item[0] != settings.mountpoint):
        same = ("bucket", "project", "endpoint_url")
        if release in state["releases"] and all(
            state.get(name) == getattr(settings, name) for name in same
        ):
            return path / f"v{release}"
    return None


def living() -> dict[Path, dict[str, Any]]:
    """This user's mounts, and what their daemons say of themselves; without those that say
    nothing."""
    found = {}
    for mount in mounts.mounts():
        if mount.is_ours:
            try:
                found[mount.path] = control.ask(mount.path, "status")
            except VbofsError:
                continue  # Another user's, dead or hanging.
    return found


def _stated(path: Path, state: dict[str, Any], settings: Settings | None) -> Settings:
    stated = {name: state[name] for name in STATED if name in state}
    return msgspec.structs.replace(
        settings or load({}),
        **stated,
        cache_dir=Path(state["cache"]["dir"]),
        mountpoint=path,
        release=(),
    )
