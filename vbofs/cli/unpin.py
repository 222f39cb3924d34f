"""``vbofs unpin``"""

from __future__ import annotations

import click

from ..config import Settings
from .chosen import Chosen
from .local import on_files
from .selection import Asked, selection_options
from .words import counted


@click.command()
@selection_options(everything="All that is pinned, whatever it is.")
def command(asked: Asked, settings: Settings) -> None:
    """Let pinned files be evicted like others again: PATHs, what a query finds, or a --release.

    Nothing is dropped by this; see: vbofs evict.
    """
    import trio

    from ..blocks.pins import Pins

    if not asked:
        raise click.UsageError("Name a PATH, a query, a --release or --all.")
    pins = Pins(settings.cache_dir)
    if asked.everything:
        removed = pins.remove(pins.idents()) if pins.idents() else 0
    else:
        files: list[Chosen] = trio.run(on_files, settings, asked)
        removed = pins.remove(file.blob.ident for file in files)
    click.echo(f"{counted(removed, 'file')} unpinned")
