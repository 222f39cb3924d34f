"""``vbofs record``"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from .. import control
from .options import settings_of
from .words import counted, size

_MOUNTPOINT = click.argument("mountpoint", required=False)


@click.group()
def command() -> None:
    """Record which files, versions and byte ranges are read through a mount, as JSON.

    The record says what an analysis stood on: vbofs cite makes a sentence of it, and
    vbofs prefetch --from-record fetches the very same bytes elsewhere.
    """


@command.command()
@_MOUNTPOINT
@click.option(
    "-o",
    "--output",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A new file, or a directory.  [vbofs-record-<date>T<time>Z.json, here]",
)
def start(mountpoint: str | None, file: Path | None) -> None:
    """Record what is read through MOUNTPOINT (default ~/vbo) from now on, by whomever."""
    path = file or Path(f"vbofs-record-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json")
    where = _mountpoint(mountpoint)
    # The directory is looked up here: in the daemon it might be one of its own mount's.
    whole = Path(os.path.realpath(path.expanduser().parent), path.name)
    begun = _ask(where, "record_start", file=os.fsdecode(whole))["file"]
    click.echo(
        f"What is read through {where} is recorded in {begun}; end it with: vbofs record stop"
    )


@command.command()
@_MOUNTPOINT
def stop(mountpoint: str | None) -> None:
    """End the record of MOUNTPOINT (default ~/vbo), and say where it is and what it came to."""
    answer = _ask(_mountpoint(mountpoint), "record_stop")
    click.echo(
        f"{answer['file']}: {counted(answer['files'], 'file')}, {size(answer['bytes'])} read"
    )


def _mountpoint(word: str | None) -> Path:
    return settings_of({"mountpoint": word}).mountpoint


def _ask(mountpoint: Path, verb: str, **args: str) -> dict[str, Any]:
    answer: dict[str, Any] = control.ask(mountpoint, verb, **args)
    return answer
