"""``vbofs releases``"""

from __future__ import annotations

import json
from typing import Any

import click

from .. import behalf, control, mounts
from ..config import Settings
from ..errors import NotMounted, VbofsError
from .options import dataset_options, settings_at
from .words import size


@click.command()
@dataset_options
@click.option("--refresh", is_flag=True, help="Also let running mounts look for new releases now.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(refresh: bool, as_json: bool, **options: Any) -> None:
    """What is published, what is mounted, and how large each release is."""
    import trio

    settings = settings_at(None, options)
    mounted = _mounted(settings, refresh=refresh)
    click.get_current_context().with_resource(behalf.owner_of(settings.cache_dir))
    rows = trio.run(_rows, settings, mounted)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    _print(rows)


def _mounted(settings: Settings, *, refresh: bool) -> list[dict[str, Any]]:
    """The states of this user's mounts of the same dataset."""
    states = []
    for mount in mounts.mounts():
        if mount.is_ours:
            try:
                states.append(control.ask(mount.path, "refresh" if refresh else "status"))
            except NotMounted:
                continue  # Another user's, or dead.
            except VbofsError as error:
                click.echo(f"vbofs: {mount.path}: {error}", err=True)
    same = (settings.bucket, settings.endpoint_url)
    return [state for state in states if (state["bucket"], state["endpoint_url"]) == same]


async def _rows(settings: Settings, states: list[dict[str, Any]]) -> list[dict[str, Any]]:
    from ..daemon import catalogue

    async with catalogue(settings) as dataset:
        rows = []
        for document in dataset.listing.manifests:
            release = document.release
            row: dict[str, Any] = {
                "release": release,
                "latest": release == dataset.latest,
                "published": document.facts.mtime,
                "mounted": [s["mountpoint"] for s in states if release in s["releases"]],
                "flaw": document.flaw,
            }
            if release in dataset.releases:
                contents = await dataset.contents(release)
                row |= {"files": len(contents.files), "bytes": contents.bytes}
            rows.append(row)
        return sorted(rows, key=lambda row: dataset.published.index(row["release"]))


def _print(rows: list[dict[str, Any]]) -> None:
    from datetime import UTC, datetime

    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("release", "published"):
        table.add_column(heading)
    for heading in ("files", "size"):
        table.add_column(heading, justify="right")
    table.add_column("mounted on")
    for row in rows:
        table.add_row(
            f"v{row['release']}{' (latest)' if row['latest'] else ''}",
            datetime.fromtimestamp(row["published"], UTC).strftime("%Y-%m-%d"),
            f"{row['files']:,}" if "files" in row else "",
            size(row["bytes"]) if "bytes" in row else "",
            row["flaw"] or ", ".join(row["mounted"]),
        )
    # Paths and what manifests say are not markup, and are not to be cut to 80 columns.
    wide = Console(width=10_000, markup=False, emoji=False, highlight=False)
    wide.print(table, soft_wrap=True)
