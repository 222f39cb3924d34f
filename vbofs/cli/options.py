"""Options that several verbs have, and the way from them to ``Settings``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from .. import behalf
from ..config import FILE_VARIABLE, Settings, load
from ..presets import PRESETS

F = TypeVar("F", bound=Callable[..., Any])

#: Settings that say which dataset is meant, and where it is kept.
NAMING = ("dataset", "bucket", "project", "region", "endpoint_url", "profile", "cache_dir")

_DATASET = [
    click.option("--dataset", metavar="NAME", help=f"A known dataset: {', '.join(PRESETS)}."),
    click.option("--bucket", help="The S3 bucket, if the dataset is not a known one."),
    click.option("--project", help="The prefix in the bucket that holds manifests/."),
    click.option("--region", help="The bucket's region.  [default: us-west-2]"),
    click.option("--endpoint-url", metavar="URL", help="Another S3 server."),
    click.option(
        "--site-cache", metavar="URL|…;…", help="Caches of your site, asked before the S3 server."
    ),
    click.option("--profile", metavar="NAME", help="AWS credentials; anonymous without it."),
    click.option("--cache-dir", metavar="DIR", help="Where blocks are kept.  [~/.cache/vbofs]"),
    click.option("--lower-cache", metavar="DIR", help="A shared cache, read before S3 is asked."),
    click.option("--offline", is_flag=True, default=None, help="Serve what is cached, ask nobody."),
    click.option(
        "--config",
        "config_file",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Settings in TOML.  [~/.config/vbofs/config.toml]",
    ),
]


def dataset_options(function: F) -> F:
    """The options that say which dataset, where, and where it is kept."""
    for option in reversed(_DATASET):
        function = option(function)
    return function


def settings_of(options: dict[str, Any]) -> Settings:
    """The settings that *options* amount to, over VBOFS_* variables and the file."""
    file = options.pop("config_file", None)
    return load(options, file=file)


def settings_at(mountpoint: str | None, options: dict[str, Any]) -> Settings:
    """The settings of the mount at *mountpoint*; without one those of *options*, and where these
    name no dataset and no cache, those of the mount that there is, if it is what variables and the
    file say.

    ``--offline`` names nothing, and holds whatever the mount does.  Root goes on as the owner of
    the cache.
    """
    from ..api import place

    settings = settings_of(dict(options))
    if mountpoint is not None:
        found: Settings | None = place.at(mountpoint, settings)
    elif _named_by(options):
        found = None
    else:
        found = place.usual(settings, told=_told(settings))
    if found is not None:
        settings = msgspec.structs.replace(found, offline=found.offline or settings.offline)
    act_as_owner(settings)
    return settings


def act_as_owner(settings: Settings) -> None:
    """Until this command ends, root is the owner of the cache."""
    click.get_current_context().with_resource(behalf.owner_of(settings.cache_dir))


def names_dataset(options: dict[str, Any], settings: Settings) -> bool:
    """Whether *options*, or the variables and the file behind *settings*, say which dataset or
    cache is meant."""
    return _named_by(options) or bool(_told(settings))


def _named_by(options: dict[str, Any]) -> bool:
    return any(options.get(name) is not None for name in (*NAMING, "config_file"))


def _told(settings: Settings) -> list[str]:
    """Which of the settings in NAMING are not what they are if nobody says anything."""
    silent = load({}, environ={FILE_VARIABLE: os.devnull})
    return [name for name in NAMING if getattr(settings, name) != getattr(silent, name)]
