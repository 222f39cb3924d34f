"""``vbofs find``"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..catalog.query import Query
from ..errors import SettingsInvalid
from .options import dataset_options, settings_at
from .query import query_options
from .selection import RELEASE, mounted_place
from .words import counted, shown

if TYPE_CHECKING:
    from rich.table import Table

    from ..catalog.tables import Files, Selection
    from ..config import Settings

FORMATS = ("paths", "table", "csv", "json", "ids")
#: Columns that ``--format table`` shows of many, where they say anything.
SHOWN = (
    *("mouse_id", "cre_line", "genotype", "date_of_acquisition", "session_type"),
    *("experience_level", "targeted_structure", "imaging_depth", "name"),
)
#: A table of no more columns is shown whole.
FEW = 8


@click.command()
@click.argument("mount", metavar="[MOUNT]", required=False)
@query_options
@click.option(
    "--table", metavar="NAME", default="", help="Ask the rows of this table, not the files."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="paths",
    show_default=True,
    help="What is printed of each.",
)
@click.option("--columns", is_flag=True, help="List the columns that can be asked, and values.")
@dataset_options
def command(
    mount: str | None,
    query: Query,
    release: str,
    table: str,
    form: str,
    columns: bool,
    **options: Any,
) -> None:
    """Find files by mouse, cre line, session type, and all that the release's tables say.

    Prints paths in the mount, if the dataset is mounted, or else relative to the release.  Asks the
    dataset at MOUNT (~/vbo, or of a release in it: ~/vbo/v1.0.1), or that the options name, or that
    is mounted.  An option that is given twice means either of
    its values; different options must all hold.
    """
    import dataclasses

    import trio

    if mount is not None:
        mount, release = _apart(mount, release)
    settings = settings_at(mount, options)
    query = dataclasses.replace(query, table=table)
    files, root = trio.run(_files, settings, release, query)
    if columns:
        _print_columns(files, query)
        return
    found = files.select(query)
    _print(found, form, root)
    _note(found, form)


def _apart(path: str, release: str) -> tuple[str, str]:
    """The mountpoint above *path*, and the release that it is the directory of, or else *release*.

    SettingsInvalid if it is the directory of another, or none of a release.
    """
    place = mounted_place(path)
    if place is None or place.mountpoint is None or not place.inner:
        return path, release
    within = RELEASE.fullmatch(place.inner)
    if within is None or within["path"]:
        raise SettingsInvalid(f"{path} is not a release; name the mount, {place.mountpoint}")
    named = within["release"] or "latest"
    if release not in ("latest", named):
        raise SettingsInvalid(f"{path} is release {named}, and --release says {release}")
    return str(place.mountpoint), named


async def _files(settings: Settings, release: str, query: Query) -> tuple[Files, Path | None]:
    from ..api import place
    from ..daemon import library

    async with library(settings) as floors:
        files = await floors.metadata.files(release, query.table)
        return files, place.root(settings, floors.metadata.release(release))


def _print(found: Selection, form: str, root: Path | None) -> None:
    if form == "paths":
        for path in found.files:
            _echo(f"{root}/{path}" if root else path)
    elif form == "ids":
        for ident in dict.fromkeys(found.ids):
            _echo(ident)
    elif form == "csv":
        _echo(found.under(root).frame.to_csv(index=False), end="")
    elif form == "json":
        rows = found.under(root).frame.to_json(orient="records", date_format="iso")
        _echo(json.dumps(json.loads(rows), indent=2))
    else:
        _print_table(found)


def _note(found: Selection, form: str) -> None:
    if not len(found.frame):
        click.echo("vbofs: nothing matches", err=True)
    elif form == "paths":
        without = sum(not paths for paths in found.paths)
        if without:
            click.echo(f"vbofs: {counted(without, 'row')} of those have no file", err=True)


def _echo(text: str, end: str = "\n") -> None:
    click.echo(shown(text) if sys.stdout.isatty() else text, nl=bool(end))


def _print_table(found: Selection) -> None:
    from rich.table import Table

    frame = found.frame
    wanted = [c for c in SHOWN if c in frame and frame[c].notna().any()]
    if len(frame.columns) <= FEW:
        wanted = [str(column) for column in frame.columns if column != "path"]
    table = Table(box=None, pad_edge=False)
    for heading in (*(() if found.key in wanted else (found.key,)), *wanted):
        table.add_column(heading)
    for ident, *cells in zip(found.ids, *(found.text(column) for column in wanted), strict=True):
        first = () if found.key in wanted else (ident,)
        table.add_row(*(shown(cell) for cell in (*first, *cells)))
    _echo_table(table)


def _print_columns(files: Files, query: Query) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("column", "type", "values"):
        table.add_column(heading)
    for column in files.columns(query.table):
        table.add_row(*(shown(cell) for cell in column))
    _echo_table(table)


def _echo_table(table: Table) -> None:
    """Print *table* uncut, however narrow the terminal, without blanks at the ends of lines."""
    from rich.console import Console

    # What a table says is no markup.
    console = Console(width=10_000, markup=False, emoji=False, highlight=False, color_system=None)
    with console.capture() as captured:
        console.print(table, soft_wrap=True)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())
