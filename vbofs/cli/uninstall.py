"""``vbofs uninstall``: takes away what ``vbofs install`` put there."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import click
import platformdirs

from .. import control, mounts
from ..errors import InstallFailed
from .install import Piece, Place, attempt, pieces, place_of, place_options, reload_units

#: Directories of a prefix that are there with nothing in them, too.
EVERYONES = ("bin", "sbin", "lib", "share", "share/man")
SETTINGS, CACHE = Path("/etc/vbofs"), Path("/var/cache/vbofs")


@click.command()
@place_options
def command(
    system: bool | None, prefix: Path | None, root: Path | None, environment: Path | None
) -> None:
    """Stop the units and remove all that "vbofs install" installed; the cache stays.

    The Python environment itself goes with: make uninstall, or pipx uninstall vbofs.
    """
    place = place_of(system, prefix, root, environment)
    if place.is_live:
        _stop(place)
    for piece in pieces(place):
        path = place.on_disk(piece.path)
        if not _is_anothers(path, piece):
            _remove(path, place)
    if place.is_live:
        _settle(place)


def _stop(place: Place) -> None:
    if place.for_system:
        if Path("/run/systemd/system").is_dir():
            attempt("systemctl", "stop", "vbofs@*.service")
        for link in Path("/etc/systemd/system").glob("*.wants/vbofs@*.service"):
            link.unlink()
    else:
        attempt("systemctl", "--user", "disable", "--now", "vbofs.service", quietly=True)


def _is_anothers(path: Path, piece: Piece) -> bool:
    """A link of that name into another environment: a package's, say."""
    return piece.target is not None and path.is_symlink() and path.readlink() != piece.target


def _remove(path: Path, place: Place) -> None:
    """Remove a file, and the directories that it leaves empty, but those that every prefix has."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InstallFailed(f"{path} cannot be removed: {error.strerror}") from error
    prefix = place.on_disk(place.prefix)
    everyones = {prefix / name for name in EVERYONES}
    for folder in path.parents:
        if folder in everyones or prefix not in folder.parents:
            break
        with contextlib.suppress(OSError):  # Not empty, or gone.
            folder.rmdir()


def _settle(place: Place) -> None:
    reload_units(place)
    left = [mount.path for mount in mounts.mounts() if mount.is_ours]
    if place.for_system:
        for folder in (SETTINGS, Path("/var/log/vbofs")):
            with contextlib.suppress(OSError):
                folder.rmdir()  # Only if nobody has written anything there.
        if not left:
            shutil.rmtree(control.SYSTEM_RUNTIME_DIR, ignore_errors=True)
        kept = [folder for folder in (CACHE, SETTINGS) if folder.exists()]
    else:
        kept = [platformdirs.user_cache_path("vbofs")]
    for mountpoint in left:
        click.echo(f"Still mounted: {mountpoint}; its daemon goes on until it is unmounted.")
    words = " and ".join(str(folder) for folder in kept if folder.exists())
    click.echo("vbofs is removed." + (f" Kept: {words}." if words else ""))
