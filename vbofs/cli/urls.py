"""``vbofs urls``"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import click

from ..catalog.urls import versioned_url
from ..config import Settings
from .chosen import Chosen, chosen
from .selection import Asked, selection_options
from .words import shown

FORMATS = ("url", "aria2", "curl", "b2sum", "json")
#: What would end a line, or begin another, in a list of names.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@click.command()
@selection_options()
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="url",
    show_default=True,
    help="URLs alone; what aria2c -i or curl -K reads; hashes for b2sum -c; or all of it.",
)
def command(asked: Asked, settings: Settings, form: str) -> None:
    """Print HTTPS URLs of files, each of the very version that its release pins: of PATHs, of what
    a query finds, or of a --release.

    A PATH is on a mount, or relative to the dataset (v1.0.1/behavior_sessions).  What other
    programs fetch with these lists lies in directories as on a mount.
    """
    import trio

    if not asked:
        raise click.UsageError("Name a PATH, a query or a --release.")
    files = trio.run(_files, settings, asked)
    if form == "json":
        click.echo(json.dumps([_document(settings, file) for file in files], indent=2))
        return
    for line in _lines(settings, files, form):
        click.echo(line)


async def _files(settings: Settings, asked: Asked) -> list[Chosen]:
    from ..daemon import library

    async with library(settings) as floors:
        return await chosen(floors, asked)


def _lines(settings: Settings, files: list[Chosen], form: str) -> Iterator[str]:
    if form == "curl":
        yield from ("create-dirs", "fail", "globoff")
    for file in files:
        url = _url(settings, file)
        if form == "url":
            yield url
        elif form == "curl":
            yield f'url = "{url}"'
            yield f'output = "{_quoted(file.name)}"'
        elif form == "b2sum":
            if file.blob.digest:
                yield _hash_line(file)
        # aria2's lists know no quoting: a name with a line break in it would be read as options.
        elif _CONTROL.search(file.name) or file.name != file.name.rstrip():
            click.echo(f"vbofs: left out, aria2 cannot name it: {shown(repr(file.name))}", err=True)
        else:
            yield f"{url}\n  out={file.name}"


def _url(settings: Settings, file: Chosen) -> str:
    return versioned_url(file.blob.version, settings.region, settings.endpoint_url)


def _quoted(name: str) -> str:
    """*name* as it stands between quotes in a file that ``curl -K`` reads."""
    escapes = {"\\": r"\\", '"': r"\"", "\t": r"\t", "\n": r"\n", "\r": r"\r", "\v": r"\v"}
    return "".join(escapes.get(letter, letter) for letter in name)


def _hash_line(file: Chosen) -> str:
    """A line that ``b2sum -c`` reads; a backslash before it says that the name has some."""
    name = file.name.replace("\\", r"\\").replace("\n", r"\n").replace("\r", r"\r")
    return f"{'' if name == file.name else chr(92)}{file.blob.digest}  {name}"


def _document(settings: Settings, file: Chosen) -> dict[str, Any]:
    return {
        "url": _url(settings, file),
        "release": file.release,
        "path": file.path,
        "bytes": file.blob.size,
        "blake2b": file.blob.digest,
        "etag": file.blob.etag,
    }
