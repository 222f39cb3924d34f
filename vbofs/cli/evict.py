"""``vbofs evict``"""

from __future__ import annotations

import click

from ..config import Settings
from ..errors import CacheUnwritable
from .local import local_floors
from .selection import Asked, selection_options
from .words import counted, size


@click.command()
@selection_options(everything="All that is cached of this dataset.")
@click.option("--pinned", is_flag=True, help="Pinned files too; they are no longer pinned then.")
def command(asked: Asked, settings: Settings, pinned: bool) -> None:
    """Drop cached blocks: of PATHs, of what a query finds, or of a --release.

    Who reads these files meanwhile reads on; what he misses is fetched again.  A file that several
    releases show is one file: it goes for all of them.
    """
    import trio

    if not asked:
        raise click.UsageError("Name a PATH, a query, a --release or --all.")
    trio.run(_work, settings, asked, pinned)


async def _work(settings: Settings, asked: Asked, pinned: bool) -> None:
    from ..blocks.coverage import drop, room_of

    async with local_floors(settings, asked) as (floors, files):
        store = floors.store
        held = frozenset() if pinned else store.pins.idents()
        kept = [file for file in files if file.blob.ident in held]
        cached = [f for f in files if f.blob.ident not in held and room_of(store.folder, f.blob)]
        try:
            freed = sum(drop(store.folder, file.blob) for file in cached)
        except OSError as error:
            raise CacheUnwritable(f"the cache's disk refuses to drop blocks: {error}") from error
        if pinned:
            store.pins.remove(file.blob.ident for file in files)
    line = f"{counted(len(cached), 'file')} evicted, {size(freed)} free"
    click.echo(line + (f"; {counted(len(kept), 'file')} kept, being pinned" if kept else ""))
