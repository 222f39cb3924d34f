"""``vbofs cache``"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from ..config import Settings
from .chosen import Chosen, everything
from .local import local_floors
from .selection import Asked, selection_options
from .words import counted, size

if TYPE_CHECKING:
    from ..blocks.coverage import Coverage
    from ..daemon import Floors

#: Cells of a picture, and what stands in one by how much of it is cached.
CELLS = 32
SHADES = "·░▒▓█"


@click.command()
@selection_options(everything="Each file of every release of which something is cached.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(asked: Asked, settings: Settings, as_json: bool) -> None:
    """What is cached: how much of each release, or of each file among PATHs, of a query's, of a
    --release, or of --all.

    A picture shows where in a file, or in all files of a release, the cached blocks lie.
    """
    import trio

    document = trio.run(_work, settings, asked)
    if as_json:
        for row in document["rows"]:
            del row["picture"]
        click.echo(json.dumps(document, indent=2))
    else:
        _print(document)


async def _work(settings: Settings, asked: Asked) -> dict[str, Any]:
    from ..blocks.space import disk_usage

    async with local_floors(settings, asked) as (floors, files):
        known = await everything(floors)
        pinned = floors.store.pins.idents()
        cached = _cached(floors, [*known, *files])
        if asked:
            rows = [_file(f, cached[f.blob.ident], pinned) for f in files]
        else:
            rows = await _releases(floors, cached, pinned)
        used = disk_usage(floors.store.folder)
        ours = sum(coverage.bytes for coverage in cached.values())
        return {
            "dir": str(settings.cache_dir),
            "dataset": settings.dataset,
            "used": used,
            "limit": floors.store.room.capacity(),
            "cached": ours,
            "pinned": len(pinned),
            "of": "files" if asked else "releases",
            "rows": rows,
        }


def _cached(floors: Floors, files: Iterable[Chosen]) -> dict[str, Coverage]:
    from ..blocks.coverage import look

    blobs = {file.blob.ident: file.blob for file in files}
    return {ident: look(floors.store.folder, blob) for ident, blob in blobs.items()}


def _file(file: Chosen, coverage: Coverage, pinned: frozenset[str]) -> dict[str, Any]:
    return {
        "release": file.release,
        "path": file.path,
        "size": file.blob.size,
        "cached": coverage.bytes,
        "verified": coverage.verified,
        "pinned": file.blob.ident in pinned,
        "extents": [list(extent) for extent in coverage.extents()],
        "picture": picture(coverage.present),
    }


async def _releases(
    floors: Floors, cached: dict[str, Coverage], pinned: frozenset[str]
) -> list[dict[str, Any]]:
    by_release: dict[str, list[Coverage]] = {release: [] for release in floors.dataset.releases}
    for release, found in by_release.items():
        for file in await everything(floors, release):
            found.append(cached[file.blob.ident])
    return [_release(name, found, pinned) for name, found in by_release.items() if found]


def _release(name: str, found: Sequence[Coverage], pinned: frozenset[str]) -> dict[str, Any]:
    return {
        "release": name,
        "files": len(found),
        "whole": sum(coverage.is_complete for coverage in found),
        "partly": sum(1 in c.present and not c.is_complete for c in found),
        "verified": sum(coverage.verified for coverage in found),
        "pinned": sum(coverage.blob.ident in pinned for coverage in found),
        "size": sum(coverage.blob.size for coverage in found),
        "cached": sum(coverage.bytes for coverage in found),
        "picture": picture(b"".join(coverage.present for coverage in found)),
    }


def picture(present: bytes, cells: int = CELLS) -> str:
    """How much is here of each of *cells* equal stretches; fewer where there are fewer blocks.

    Only a stretch of which all is here looks full, and only one of which nothing is looks empty.
    """
    cells = min(cells, len(present))
    drawn = ""
    for cell in range(cells):
        start, stop = len(present) * cell // cells, len(present) * (cell + 1) // cells
        here, steps = present.count(1, start, stop), len(SHADES) - 1
        drawn += SHADES[-(-here * (steps - 1) // (stop - start)) if here < stop - start else steps]
    return drawn


def _print(document: dict[str, Any]) -> None:
    from rich.console import Console

    click.echo(
        f"{document['dir']}: {size(document['used'])} used, room for {size(document['limit'])};"
        f" {size(document['cached'])} of {document['dataset']},"
        f" {counted(document['pinned'], 'file')} pinned"
    )
    rows = document["rows"]
    if document["of"] == "files":
        table = _files_table([row for row in rows if row["cached"]])
    else:
        table = _releases_table(rows)
    # Paths are not markup, and are not to be cut to 80 columns.
    wide = Console(width=10_000, markup=False, emoji=False, highlight=False)
    if table.row_count:
        wide.print(table, soft_wrap=True)
    if document["of"] == "files":
        total, cached = sum(r["size"] for r in rows), sum(r["cached"] for r in rows)
        whole = sum(row["cached"] == row["size"] for row in rows)
        click.echo(
            f"{counted(len(rows), 'file')}: {whole:,} cached whole; {_share(cached, total)}"
            f" of {size(total)}"
        )


def _releases_table(rows: list[dict[str, Any]]) -> Any:
    table = _table("release", "cached", "of", "files", "whole", "in part", "verified", "pinned", "")
    for row in rows:
        numbers = (row[key] for key in ("files", "whole", "partly", "verified", "pinned"))
        table.add_row(
            f"v{row['release']}",
            _share(row["cached"], row["size"]),
            size(row["size"]),
            *(f"{number:,}" for number in numbers),
            row["picture"],
        )
    return table


def _files_table(rows: list[dict[str, Any]]) -> Any:
    table = _table("file", "cached", "of", "", "")
    for row in rows:
        states = [state for state in ("verified", "pinned") if row[state]]
        table.add_row(
            f"v{row['release']}/{row['path']}",
            _share(row["cached"], row["size"]),
            size(row["size"]),
            row["picture"],
            ", ".join(states),
        )
    return table


def _table(*headings: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for number, heading in enumerate(headings):
        right = heading and number
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    return table


def _share(cached: int, total: int) -> str:
    """12.3 MB, 45 %; all of it only if it is."""
    share = 100 * cached // total if total else 100
    return f"{size(cached)}, {max(share, 1) if cached else 0} %"
