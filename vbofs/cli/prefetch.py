"""``vbofs prefetch``"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..config import Settings
from ..errors import PrefetchIncomplete, RecordInvalid, SettingsInvalid
from .chosen import chosen
from .meter import Meter, meter
from .selection import Asked, selection_options, served_by
from .words import counted, size

if TYPE_CHECKING:
    from ..blocks.prefetch import Want
    from ..catalog.record import Record
    from ..daemon import Floors

#: Failures that are shown by name.
SHOWN = 5


class Pieces:
    """Which arrays of the files: *only* these or all *without* those; both empty: whole files."""

    def __init__(self, only: str, without: str) -> None:
        if only and without:
            raise SettingsInvalid("--only and --without exclude each other")
        self.words = tuple(word.strip() for word in (only or without).split(",") if word.strip())
        self.excluded = bool(without)

    def __bool__(self) -> bool:
        return bool(self.words)


@click.command()
@selection_options()
@click.option("--only", default="", metavar="NAME,…", help="Only these arrays: dff,running.")
@click.option("--without", default="", metavar="NAME,…", help="All but these: templates.")
@click.option(
    "--from-record",
    "record",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Exactly what a record of reads says (vbofs record).",
)
@click.option("--pin", is_flag=True, help="Keep the files: they are evicted last.")
@click.option("--yes", is_flag=True, help="Do not ask, however much it is.")
def command(
    asked: Asked,
    settings: Settings,
    only: str,
    without: str,
    record: Path | None,
    pin: bool,
    yes: bool,
) -> None:
    """Fetch files now that will be read later: PATHs, what a query finds, or a --release.

    A PATH is on a mount, or relative to the dataset (v1.0.1/behavior_sessions).  What is cached is
    not fetched again, so an interrupted prefetch goes on when it is run again.  A mount that has
    the same cache does the work, after its readers'; without one this command does.

    With --from-record, PATHs, queries and --release choose among what was recorded.

    Names of arrays are those in the HDF5 files, whole (processing/ophys/dff) or in part (dff).
    """
    import trio

    if not asked and record is None:
        raise click.UsageError("Name a PATH, a query, a --release or --from-record.")
    pieces = Pieces(only, without)
    if pieces and record is not None:
        raise SettingsInvalid("a record says which bytes; --only and --without do not go with it")
    reads = _reads(record) if record is not None else None
    try:
        trio.run(_work, settings, asked, pieces, reads, pin, yes)
    except BaseException as error:
        if _is_interrupt(error):
            click.echo("vbofs: what has come is kept; run it again to go on", err=True)
        raise


def _is_interrupt(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(KeyboardInterrupt) is not None
    return isinstance(error, KeyboardInterrupt)


async def _work(
    settings: Settings, asked: Asked, pieces: Pieces, reads: Record | None, pin: bool, yes: bool
) -> None:
    from ..daemon import library
    from .estimate import check, unfinished

    # If a daemon keeps what is fetched, its limits are those that count.
    mountpoint, settings = served_by(settings)
    async with library(settings) as floors:
        wants = await _wants(floors, asked, pieces, reads)
        todo, estimate = unfinished(floors.store, wants)
        click.echo(estimate.line(), err=True)
        check(estimate, yes=yes)
        if pin:
            floors.store.pins.add(want.blob.ident for want in wants)
        outcome = None
        if todo:
            with meter("prefetch", estimate.missing) as shown:
                outcome = await _fetched(mountpoint, settings, floors, todo, shown)
    told = _outcome(outcome) if outcome else "everything is here already"
    click.echo(told + (f"; {counted(len(wants), 'file')} pinned" if pin else ""))
    if outcome:
        _check(outcome)


async def _wants(floors: Floors, asked: Asked, pieces: Pieces, reads: Record | None) -> list[Want]:
    from ..blocks.prefetch import Want

    if reads is not None:
        from .recorded import wants_of

        # The root of a mount says which mount is meant, and leaves nothing of the record out.
        among = None if asked.is_all else {one.blob.ident for one in await chosen(floors, asked)}
        return await wants_of(floors, reads, among)
    wants = [Want(file.name, file.blob) for file in await chosen(floors, asked)]
    if pieces:
        from .pieces import narrowed

        wants = await narrowed(floors, wants, pieces.words, excluded=pieces.excluded)
    return wants


def _reads(path: Path) -> Record:
    """The record at *path*, checked before anything is asked of a network.  RecordInvalid."""
    from ..catalog.record import parse

    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise RecordInvalid(f"{path} cannot be read: {error.strerror}") from error
    except RecordInvalid as error:
        raise RecordInvalid(f"{path}: {error}") from error


async def _fetched(
    mountpoint: Path | None, settings: Settings, floors: Floors, todo: list[Want], shown: Meter
) -> dict[str, Any]:
    from .through import fetch

    def show(document: dict[str, Any]) -> None:
        if "files" in document:
            label = f"{document['files_done']} of {document['files']} files"
            shown.show(document["bytes"], label)

    began = time.monotonic()
    outcome = await fetch(mountpoint, settings, floors, todo, show)
    return {**outcome, "seconds": time.monotonic() - began}


def _outcome(outcome: dict[str, Any]) -> str:
    by = f" by the mount {outcome['by']}" if outcome["by"] else ""
    line = f"{size(outcome['bytes'])} fetched{by} in {outcome['seconds']:.1f} s"
    line += f"; {counted(outcome['files_done'], 'file')} done"
    return line + (f", {outcome['verified']:,} of them verified" if outcome["verified"] else "")


def _check(outcome: dict[str, Any]) -> None:
    """PrefetchIncomplete if something could not be had, after saying what."""
    for name, why in list(outcome["failed"].items())[:SHOWN]:
        click.echo(f"  {name}: {why}", err=True)
    if outcome["failures"] or outcome["stopped"]:
        left = outcome["files"] - outcome["files_done"]
        why = outcome["stopped"] or next(iter(outcome["failed"].values()), "")
        raise PrefetchIncomplete(
            f"{counted(left, 'file')} could not be fetched: {why};"
            " run it again to fetch what is missing"
        )
