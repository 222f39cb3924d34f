"""``vbofs diff``"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ..config import Settings, release_name
from ..errors import SettingsInvalid, TableInvalid
from .options import dataset_options, settings_at
from .words import counted, shown, size

if TYPE_CHECKING:
    from ..catalog.diff import FilesDiff
    from ..daemon import Floors
    from ..dataset import Contents
    from ..model import Blob

#: Names shown of each kind, unless all are wanted.
SHOWN = 10


@click.command()
@click.argument("older")
@click.argument("newer", default="latest")
@click.option("--all", "everything", is_flag=True, help="Show every name, however many.")
@click.option("--no-tables", is_flag=True, help="Do not read the tables that have changed.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@dataset_options
def command(
    older: str, newer: str, everything: bool, no_tables: bool, as_json: bool, **options: Any
) -> None:
    """What changes from release OLDER to NEWER (default: the latest), and what moving costs.

    Files that are added, removed, changed and renamed; rows of tables by id, and in which columns;
    and how much is to be fetched, given what is cached.
    """
    import trio

    names = [_release(word) for word in (older, newer)]
    document = trio.run(_work, settings_at(None, options), names, not no_tables)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo("\n".join(map(shown, _described(document, SHOWN if not everything else None))))


def _release(word: str) -> str:
    try:
        return release_name(word)
    except ValueError as error:
        raise SettingsInvalid(str(error)) from error


# --- finding out


async def _work(settings: Settings, names: list[str], with_tables: bool) -> dict[str, Any]:
    from ..catalog.diff import compared
    from ..daemon import library

    async with library(settings) as floors:
        old, new = [await floors.metadata.contents(name) for name in names]
        both = [_apart(contents) for contents in (old, new)]
        tables, files = (compared(both[0][n], both[1][n]) for n in (0, 1))
        return {
            "from": old.release,
            "to": new.release,
            "bytes": {"from": old.bytes, "to": new.bytes},
            "files": _files(tables + files),
            "tables": await _tables(floors, old, new) if with_tables else [],
            "fetch": _cost(floors, tables + files, new),
        }


def _apart(contents: Contents) -> tuple[dict[str, Blob], dict[str, Blob]]:
    """Tables and other files: AllenSDK compares them apart, too."""
    named = set(contents.tables.values())
    tables = {path: blob for path, blob in contents.files if path in named}
    return tables, {path: blob for path, blob in contents.files if path not in named}


def _files(diff: FilesDiff) -> dict[str, Any]:
    return {
        "added": [{"path": path, "bytes": blob.size} for path, blob in diff.added],
        "removed": [{"path": path, "bytes": blob.size} for path, blob in diff.removed],
        "changed": [
            {"path": one.path, "bytes": one.after.size, "was": one.before.size}
            for one in diff.changed
        ],
        "renamed": [
            {"path": one.path, "was": one.before, "bytes": one.blob.size} for one in diff.renamed
        ],
        "unchanged": diff.unchanged,
    }


async def _tables(floors: Floors, old: Contents, new: Contents) -> list[dict[str, Any]]:
    """Rows and columns of the tables that both have and that differ."""
    found = []
    blobs = dict(old.files), dict(new.files)
    for name, path in new.tables.items():
        before = old.tables.get(name)
        if before is None or blobs[0][before].digest == blobs[1][path].digest:
            continue
        found.append({"name": name, "path": path, **await _table(floors, old, new, name)})
    return found


async def _table(floors: Floors, old: Contents, new: Contents, name: str) -> dict[str, Any]:
    from ..catalog.tablediff import compared

    try:
        before, after = [await floors.metadata.table(one, name) for one in (old, new)]
        return asdict(compared(name, before, after, new.ident_column))
    except TableInvalid as error:
        return {"flaw": str(error)}


def _cost(floors: Floors, diff: FilesDiff, new: Contents) -> dict[str, int]:
    """Bytes to be fetched to have all of *new*, and to have of it what is cached of the older."""
    from ..blocks.coverage import look

    def cached(blob: Blob) -> int:
        return look(floors.store.folder, blob).bytes

    whole = {blob.ident: blob for _, blob in new.files}
    return {
        "everything": sum(blob.size - cached(blob) for blob in whole.values()),
        "what_is_cached": sum(
            max(0, min(cached(one.before), one.after.size) - cached(one.after))
            for one in diff.changed
        ),
    }


# --- saying it


def _described(document: dict[str, Any], most: int | None) -> list[str]:
    sizes = document["bytes"]
    lines = [
        f"v{document['from']} ({size(sizes['from'])}) to v{document['to']} ({size(sizes['to'])})"
    ]
    files = document["files"]
    for kind in ("added", "removed", "changed", "renamed"):
        lines += _kind(kind, files[kind], most)
    lines.append(f"  unchanged  {counted(files['unchanged'], 'file')}")
    for table in document["tables"]:
        lines += _table_lines(table, most)
    fetch = document["fetch"]
    lines += [
        f"  to fetch   {size(fetch['everything'])} for all of v{document['to']};"
        f" {size(fetch['what_is_cached'])} for what you have of v{document['from']} and has changed"
    ]
    return lines


def _kind(kind: str, files: list[dict[str, Any]], most: int | None) -> list[str]:
    if not files:
        return []
    total = size(sum(file["bytes"] for file in files))
    lines = [f"  {kind:<9}  {counted(len(files), 'file')}, {total}"]
    for file in files[:most]:
        was = file.get("was")
        before = f"  was {size(was) if isinstance(was, int) else was}" if was is not None else ""
        lines.append(f"    {file['path']}  {size(file['bytes'])}{before}")
    return lines + _more(len(files), most)


def _more(number: int, most: int | None) -> list[str]:
    left = number - most if most is not None else 0
    return [f"    … and {left:,} more; --all shows them"] if left > 0 else []


def _table_lines(table: dict[str, Any], most: int | None) -> list[str]:
    head = f"  {table['path']}"
    if "flaw" in table:
        return [f"{head}: {table['flaw']}"]
    numbers = [f"{counted(len(table[kind]), 'row')} {kind}" for kind in ("added", "removed")]
    lines = [f"{head}: {', '.join(numbers)}, {len(table['changed']):,} changed"]
    lines += [
        f"    {kind}: {table['key']} {_some(table[kind], most)}"
        for kind in ("added", "removed")
        if table[kind]
    ]
    if table["by_column"]:
        columns = [f"{column} ({number:,})" for column, number in table["by_column"].items()]
        lines.append(f"    changed in: {', '.join(columns)}")
    return lines + [
        f"    {kind.replace('_', ' ')}: {', '.join(table[kind])}"
        for kind in ("columns_added", "columns_removed")
        if table[kind]
    ]


def _some(idents: tuple[str, ...], most: int | None) -> str:
    left = len(idents) - most if most is not None else 0
    return ", ".join(idents[:most]) + (f" and {left:,} more" if left > 0 else "")
