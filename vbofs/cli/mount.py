"""``vbofs mount``"""

from __future__ import annotations

from typing import Any

import click

from .. import garbage
from .options import dataset_options, settings_of


@click.command()
@click.argument("mountpoint", required=False)
@click.option("--release", metavar="V,…", help="Only these releases: v1.0.1,v1.1.0 or latest.")
@dataset_options
@click.option(
    "--cache-size", metavar="SIZE", help="Limit of the cache, 200G.  [a fifth of the disk]"
)
@click.option("--memory", metavar="SIZE", help="Limit of the daemon's memory.  [256M]")
@click.option("--foreground", is_flag=True, help="Stay, and log to the terminal or the journal.")
@click.option("--allow-other", is_flag=True, default=None, help="Let other users read the mount.")
@click.option("--log-file", metavar="FILE", help="Where the daemon logs.  [~/.local/state/vbofs]")
@click.option(
    "--record", metavar="FILE", help="Record what is read, in this new file or directory."
)
@click.option("--log-format", metavar="text|json", help="One line of text per event, or of JSON.")
@click.option("--metrics-port", metavar="PORT", help="Answer Prometheus on this port of loopback.")
@click.option("--metrics-address", metavar="IP", help="Where else than on loopback.  [127.0.0.1]")
@click.option("--metrics-file", metavar="FILE", help="Write metrics for the node exporter there.")
@click.option("-v", "--verbose", count=True, help="Log each repeat; twice, every event.")
@click.option("--fuse-fd", type=int, hidden=True, help="A /dev/fuse that is mounted already.")
def command(foreground: bool, verbose: int, fuse_fd: int | None, **options: Any) -> None:
    """Mount the dataset's releases at MOUNTPOINT (default ~/vbo) and return when they can be read.

    Every option but --foreground can also be set as a VBOFS_* variable (VBOFS_CACHE_DIR) or in the
    configuration file (cache_dir = "…"); an option wins over a variable, a variable over the file.
    """
    garbage.put_off()
    settings = settings_of({**options, "verbose": verbose or None})
    from ..daemon.background import run

    line = run(settings, foreground=foreground, channel=fuse_fd)
    if line:
        click.echo(line)
