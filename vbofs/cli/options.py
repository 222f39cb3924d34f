"""Options that several verbs have, and the way from them to ``Settings``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ..config import Settings, load
from ..presets import PRESETS

F = TypeVar("F", bound=Callable[..., Any])

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
    name no dataset those of the mount that there is."""
    from ..api import place

    settings = settings_of(dict(options))
    if mountpoint is not None:
        return place.at(mountpoint, settings)
    named = any(options.get(name) is not None for name in (*place.STATED, "config_file"))
    return settings if named else place.usual(settings) or settings
