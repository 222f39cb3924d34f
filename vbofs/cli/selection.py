"""Which files a verb is about: by path, by query, by release, or all; and in which cache.

A path is one on a mount (any symbolic link to it will do: ``latest``, the views), or relative to
the dataset as the mount's root shows it: ``v1.0.1/behavior_sessions``, with or without a mount.  A
path on a mount also says which dataset is meant and where its cache is, whatever the options say.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click
import msgspec

from .. import control, mounts
from ..catalog.query import Query
from ..config import Settings
from ..errors import NotInDataset, NotMounted, SettingsInvalid, VbofsError
from .options import act_as_owner, dataset_options, names_dataset, settings_at, settings_of
from .query import query_options

F = TypeVar("F", bound=Callable[..., Any])

#: How the dataset's own names begin: a release, or the link to the latest.
RELEASE = re.compile(r"(?:v(?P<release>\d+\.\d+\.\d+[^/]*)|latest)(?:/(?P<path>.*))?")


class Place(NamedTuple):
    """Where a path leads: *inner* is relative to the dataset, on the mount at *mountpoint* or on
    none."""

    inner: str
    mountpoint: Path | None = None


@dataclass(frozen=True)
class Asked:
    """What the command line says; ``release`` is "" where it names none."""

    places: tuple[Place, ...]
    query: Query
    release: str
    everything: bool

    def __bool__(self) -> bool:
        return bool(self.places or self.query or self.release or self.everything)

    @property
    def is_all(self) -> bool:
        """Whether nothing narrows it: no path, or the root of a mount, and no query or release."""
        narrow = self.query or self.release
        return not narrow and not all(place.inner for place in self.places or (Place(""),))


def selection_options(*, everything: str = "") -> Callable[[F], F]:
    """PATHs, the query's options, the dataset's, and with *everything* (its help) ``--all``.

    The verb is called with ``asked`` and ``settings`` in their place.
    """

    def decorate(function: F) -> F:
        # No functools.wraps: the verb's own options would be taken over, and shown last.
        def gathered(
            paths: Sequence[str], query: Query, release: str, whole: bool = False, **options: Any
        ) -> Any:
            own = {name: options.pop(name) for name in list(options) if name in mine}
            source = click.get_current_context().get_parameter_source("release")
            named = source is not click.core.ParameterSource.DEFAULT
            places = tuple(place_of(path) for path in paths)
            asked = Asked(places, query, release if named else "", whole)
            return function(asked=asked, settings=_settings(options, places), **own)

        gathered.__doc__ = function.__doc__
        gathered.__name__ = function.__name__
        params = getattr(function, "__click_params__", [])
        mine = {param.name for param in params}
        decorated: Any = query_options(dataset_options(gathered))
        decorated.__click_params__ += params  # click shows what was decorated last first.
        if everything:
            decorated = click.option("--all", "whole", is_flag=True, help=everything)(decorated)
        complete: F = click.argument("paths", nargs=-1, metavar="[PATH]…")(decorated)
        return complete

    return decorate


def place_of(path: str) -> Place:
    """What *path* names.  NotInDataset if that is on no mount and no path of a dataset."""
    if found := mounted_place(path):
        return found
    if RELEASE.fullmatch(path.strip("/")) and not os.path.exists(path):
        return Place(path.strip("/"))
    raise NotInDataset(
        f"{path} is on no mount of vbofs, and no path in a release either;"
        " write for example v1.0.1/behavior_sessions"
    )


def mounted_place(path: str) -> Place | None:
    """Where *path* leads on a mount of this user; None if it is on none."""
    real = Path(os.path.realpath(os.path.expanduser(path)))
    for mount in reversed(mounts.mounts()):
        if mount.is_ours and real.is_relative_to(mount.path):
            inner = "" if real == mount.path else str(real.relative_to(mount.path))
            return Place(inner, mount.path)
    return None


def _settings(options: dict[str, Any], places: Collection[Place]) -> Settings:
    """Those of the mount that a path lies on, else those of the options, or of the mount that
    there is.  Root goes on as the owner of their cache."""
    if all(place.mountpoint is None for place in places):
        return settings_at(None, options)
    settings = settings_of(dict(options))
    named = names_dataset(options, settings)
    found: dict[Path, Settings] = {}
    for place in places:
        if place.mountpoint is not None and place.mountpoint not in found:
            origin = origin_of(place.mountpoint)
            if origin is None and not named:
                raise NotMounted(
                    f"{place.mountpoint} is another user's, or its daemon is dead: say which"
                    " dataset and cache are meant, with --dataset or --cache-dir"
                )
            found[place.mountpoint] = adopted(settings, origin) if origin else settings
    if len({_where(one) for one in found.values()}) > 1:
        raise SettingsInvalid("the paths are on mounts of different datasets or caches")
    meant = next(iter(found.values()), settings)
    act_as_owner(meant)
    return meant


def origin_of(mountpoint: Path) -> dict[str, Any] | None:
    """The settings of a mount's daemon, as far as they matter here; None if it does not answer."""
    try:
        answer: dict[str, Any] = control.ask(mountpoint, "origin")
    except VbofsError:
        return None
    return answer


def adopted(settings: Settings, origin: dict[str, Any]) -> Settings:
    """*settings*, but of the dataset and the cache of a daemon."""
    offline = settings.offline or origin["offline"]
    stated = {**origin, "cache_dir": Path(origin["cache_dir"]), "offline": offline}
    return msgspec.structs.replace(settings, **stated)


def _where(settings: Settings) -> tuple[object, ...]:
    return settings.cache_dir, settings.bucket, settings.project, settings.endpoint_url


def served_by(settings: Settings) -> tuple[Path | None, Settings]:
    """The mountpoint of a daemon that fetches the same dataset into the same cache, and its
    settings; None, and these *settings*, if there is none."""
    for mountpoint, theirs in sharing(settings):
        if not theirs.offline:
            return mountpoint, theirs
    return None, settings


def sharing(settings: Settings) -> Iterator[tuple[Path, Settings]]:
    """The mounts that have the same dataset and cache, and their settings."""
    for mount in mounts.mounts():
        origin = origin_of(mount.path) if mount.is_ours else None
        if origin is not None:
            theirs = adopted(settings, origin)
            if _where(theirs) == _where(settings):
                yield mount.path, theirs
