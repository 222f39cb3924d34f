"""``vbofs demo``"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import platformdirs

from .. import control, mounts
from ..catalog.views import VIEWS
from ..errors import MountFailed, VbofsError
from .words import counted, size

#: Seconds.
PATIENCE = 10.0
#: Files shown of each directory.
FILES_SHOWN = 2
EXPERIMENT = Path("latest/behavior_ophys_experiments/behavior_ophys_experiment_951980471.nwb")


@click.group(invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """A sample release on this machine, mounted: to see what vbofs does, with no network.

    The files are made here once (about 20 seconds), with the real names and tables and made-up
    recordings, and are served by an S3 server on loopback.
    """
    if context.invoked_subcommand is None:
        context.invoke(start)


_FOLDER = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=lambda: platformdirs.user_cache_path("vbofs-demo"),
    help="Where the sample is kept.  [~/.cache/vbofs-demo]",
)
_MOUNTPOINT = click.argument(
    "mountpoint", type=click.Path(path_type=Path), default=lambda: Path.home() / "vbo-demo"
)


@command.command()
@_MOUNTPOINT
@_FOLDER
@click.option("--small", is_flag=True, help="A smaller sample, made in seconds.")
def start(mountpoint: Path, folder: Path, small: bool) -> None:
    """Make, serve and mount the sample, and show what a read costs.  MOUNTPOINT: ~/vbo-demo."""
    from ..demo import DemoServer, build, publish

    mountpoint = mountpoint.expanduser().resolve()
    click.echo(f"Making the sample release in {folder} (only the first time) …")
    sample = build(folder / "sample", small=small)
    url = DemoServer(folder / "server").start()
    click.echo(f"Publishing it on an S3 server at {url} …")
    publish(sample, url)
    _mount(mountpoint, folder, url)
    _show(mountpoint)


@command.command()
@_MOUNTPOINT
@_FOLDER
def stop(mountpoint: Path, folder: Path) -> None:
    """Unmount the sample, stop its server, and remove everything that the demo made."""
    from ..demo import DemoServer

    places = _mounted_from(folder)
    mount = mounts.mounted_at(mountpoint.expanduser().resolve())
    if mount is not None and mount.is_ours:  # Also one whose daemon has died.
        places.add(mount.path)
    for place in places:
        _unmount(place)
    DemoServer(folder / "server").stop()
    shutil.rmtree(folder, ignore_errors=True)
    gone = [*map(str, sorted(places)), "its server"]
    click.echo(f"The demo is gone: {', '.join(gone)} and {folder}.")


def _mounted_from(folder: Path) -> set[Path]:
    """Where the sample of *folder* is mounted, as far as the daemons say."""
    found = set()
    for mount in mounts.mounts():
        if mount.is_ours:
            with contextlib.suppress(VbofsError):
                cache = Path(control.ask(mount.path, "status")["cache"]["dir"])
                if cache.is_relative_to(folder.resolve()):
                    found.add(mount.path)
    return found


def _unmount(mountpoint: Path) -> None:
    try:
        mounts.unmount(mountpoint)
    except MountFailed:
        mounts.unmount(mountpoint, lazy=True)
    with contextlib.suppress(OSError):
        mountpoint.rmdir()


def _mount(mountpoint: Path, folder: Path, url: str) -> None:
    """Mount in a process of its own: this one has threads, and must not become a daemon."""
    mount = mounts.mounted_at(mountpoint)
    if mount is not None and mount.is_ours and not mounts.is_dead(mountpoint):
        if control.ask(mountpoint, "status")["endpoint_url"] == url:
            click.echo(f"It is mounted already on {mountpoint}.")
            return
        mounts.unmount(mountpoint)  # Of a server that is gone.
    words = [sys.executable, "-m", "vbofs", "mount", str(mountpoint), "--endpoint-url", url]
    words += ["--cache-dir", str(folder / "cache"), "--log-file", str(folder / "vbofs.log")]
    done = subprocess.run(words, check=False)
    if done.returncode:
        sys.exit(done.returncode)  # It has said why.


def _show(mountpoint: Path) -> None:
    from ..demo.tour import read_trace

    click.echo(f"\n{mountpoint}")
    click.echo("\n".join(_tree(mountpoint, "    ", (mountpoint / "latest").resolve())))
    path = mountpoint / EXPERIMENT
    whole = path.stat().st_size
    click.echo(f"\nOne cell's dF/F out of {path.name} ({size(whole)}), with h5py:")
    for attempt in ("first", "second"):
        before = _costs(mountpoint)
        trace = read_trace(path)
        after = _costs(mountpoint)
        asked, fetched = (after[key] - before[key] for key in ("get", "received"))
        click.echo(
            f"    {attempt} read: {trace.samples} samples of cell 1 of {trace.cells},"
            f" mean {trace.mean:.4f}, in {trace.seconds * 1000:.0f} ms;"
            f" {counted(asked, 'request')}, {size(fetched)} fetched"
        )
    click.echo(
        f"\nLook around in {mountpoint}; see how it is doing with: vbofs status\n"
        "When you have seen enough: vbofs demo stop (or make demo-stop)"
    )


def _tree(folder: Path, indent: str, opened: Path) -> Iterator[str]:
    """Lines that show *folder*; of its directories only *opened* and what is in it."""
    files = []
    for entry in sorted(folder.iterdir()):
        if entry.is_symlink():
            yield f"{indent}{entry.name} -> {entry.readlink()}"
        elif entry.is_dir():
            yield f"{indent}{entry.name}/"
            if opened in (entry, *entry.parents) and entry.name not in VIEWS:
                yield from _tree(entry, indent + "    ", opened)
        else:
            files.append(entry)
    for entry in files[:FILES_SHOWN]:
        yield f"{indent}{entry.name}  {size(entry.stat().st_size)}"
    if len(files) > FILES_SHOWN:
        yield f"{indent}… and {len(files) - FILES_SHOWN} more"


def _costs(mountpoint: Path) -> dict[str, Any]:
    """Requests and bytes so far, once nothing that was fetched ahead is still under way."""
    deadline = time.monotonic() + PATIENCE
    while True:
        state = control.ask(mountpoint, "status")
        blocks = state["blocks"]
        if not (blocks["flying"] or blocks["queued"]) or time.monotonic() > deadline:
            costs: dict[str, Any] = state["requests"]
            return costs
        time.sleep(0.05)
