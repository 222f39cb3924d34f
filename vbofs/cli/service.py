"""``vbofs service``: what the unit vbofs@.service does as root, before and after its daemon."""

from __future__ import annotations

import pwd
from pathlib import Path

import click

from .. import control, handover, systemd
from ..config import FIELDS, Settings, load
from ..errors import SettingsInvalid, UserUnknown

#: The name under which systemd keeps the descriptor from attach to the daemon's start.
CHANNEL = "fuse"

_CONFIG = click.option(
    "--config",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    required=True,
    help="The mount's settings.",
)


@click.group(hidden=True)
def command() -> None:
    """Steps of the unit vbofs@.service; people use systemctl."""


@command.command()
@_CONFIG
@click.option("--user", metavar="NAME", required=True, help="Whose daemon will answer.")
def attach(file: Path, user: str) -> None:
    """Mount, and let systemd keep the descriptor for the daemon."""
    settings = _settings(file)
    channel = handover.attach(settings.mountpoint, settings.dataset, owner_of(user), everyone=True)
    # One that a failed start left would be handed over instead.
    systemd.notify("FDSTOREREMOVE=1", f"FDNAME={CHANNEL}")
    systemd.notify("FDSTORE=1", f"FDNAME={CHANNEL}", descriptors=[channel])


@command.command()
@_CONFIG
@click.option("--dead", is_flag=True, help="Only if nobody answers there any more.")
def detach(file: Path, dead: bool) -> None:
    """Unmount: the name at once, the daemon with its last reader."""
    handover.detach(_settings(file).mountpoint, dead_only=dead)


@command.command()
@_CONFIG
def tune(file: Path) -> None:
    """Raise the mount's read-ahead."""
    handover.tune(_settings(file).mountpoint)


@command.command()
@_CONFIG
def refresh(file: Path) -> None:
    """Look for new releases now."""
    control.ask(_settings(file).mountpoint, "refresh")


def _settings(file: Path) -> Settings:
    settings = load({}, file=file)
    if settings.mountpoint == load({"mountpoint": str(FIELDS["mountpoint"].default)}).mountpoint:
        raise SettingsInvalid(f'{file}: mountpoint is missing; write mountpoint = "/mnt/vbo"')
    return settings


def owner_of(user: str) -> tuple[int, int]:
    """The ids of *user* and of his group.  UserUnknown."""
    try:
        facts = pwd.getpwnam(user)
    except KeyError as error:
        raise UserUnknown(
            f"there is no user {user!r}; make one with: systemd-sysusers, or useradd -r {user}"
        ) from error
    return facts.pw_uid, facts.pw_gid
