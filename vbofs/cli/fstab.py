"""``mount.vbofs``: what mount(8) runs for ``mount -t vbofs`` and for such lines of /etc/fstab.

Options are the keys of the settings file; those of mount(8) itself are known and left to it.  Root
mounts, and hands over to a daemon of the user ``vbofs`` (``-o setuid=…`` names another).  The exit
status is mount(8)'s: 1 for a wrong call, 8 interrupted, 32 the mount failed.
"""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from .. import control, handover
from ..config import FIELDS, FILE_VARIABLE, VARIABLE_PREFIX, Settings, load
from ..errors import MountFailed, SettingsInvalid, VbofsError
from .service import owner_of

USAGE, SYSTEM, INTERRUPTED, FAILED = 1, 2, 8, 32
USER = "vbofs"
CACHE_HOME, LOGS = Path("/var/cache"), Path("/var/log/vbofs")
#: What a daemon inherits of the environment of mount(8).
INHERITED = ("http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY", "AWS_CA_BUNDLE")
#: Options that mount(8), systemd and fstab's readers have for themselves, or that every vbofs has.
_THEIRS = ("_netdev", "defaults", "ro", "rw", "sync", "async", "silent", "loud", "allow_other")
#: As they are, and with "no" before.
_THEIR_SWITCHES = (
    *("auto", "fail", "user", "users", "owner", "group", "suid", "dev", "exec"),
    *("atime", "diratime", "relatime", "strictatime", "lazytime"),
)
_THEIR_PREFIXES = ("x-", "X-", "comment=", "user=")


@click.command()
@click.argument("source")
@click.argument("mountpoint")
@click.option("-o", "words", multiple=True, metavar="KEY=VALUE,…", help="Settings, by commas.")
@click.option("-f", "fake", is_flag=True, help="Check the call, and mount nothing.")
@click.option("-v", "verbose", is_flag=True, help="Say what is mounted.")
@click.option("-s", "sloppy", is_flag=True, help="Ignore options that are unknown.")
@click.option("-n", "no_mtab", is_flag=True, help="Ignored: there is no mtab.")
@click.option("-r", "read_only", is_flag=True, help="Ignored: it is.")
@click.option("-w", "writable", is_flag=True, help="Ignored: it is read-only.")
@click.option("-t", "kind", metavar="TYPE", help="Ignored: it is vbofs.")
@click.option("-N", "namespace", hidden=True, help="mount(8) has entered it.")
def command(
    source: str,
    mountpoint: str,
    words: tuple[str, ...],
    *,
    sloppy: bool,
    fake: bool,
    verbose: bool,
    **ignored: object,
) -> None:
    """Mount the dataset SOURCE at MOUNTPOINT, as mount(8) does for -t vbofs."""
    options = dict(_split(",".join(words)))
    user, flags = options.pop("setuid", None) or _usual_user(), _flags(options)
    settings = _settings(source, mountpoint, options, sloppy=sloppy)
    owner = owner_of(user)
    if os.geteuid() != 0:
        raise click.UsageError("only root can do that; others have: vbofs mount")
    if not fake:
        said = _mount(settings, user, owner, flags)
        if verbose:
            click.echo(said)


def _split(text: str) -> Iterator[tuple[str, str]]:
    for word in text.split(","):
        if word and (word == "noexec" or not _is_theirs(word)):
            key, _, value = word.partition("=")
            yield key.replace("-", "_"), value


def _is_theirs(word: str) -> bool:
    switch = word.removeprefix("no")
    return word in _THEIRS or switch in _THEIR_SWITCHES or word.startswith(_THEIR_PREFIXES)


def _usual_user() -> str:
    try:
        return pwd.getpwnam(USER).pw_name
    except KeyError:  # Not installed with "vbofs install".
        return "root"


def _flags(options: dict[str, str]) -> int:
    return handover.MS_NOEXEC if options.pop("noexec", None) is not None else 0


def _settings(source: str, mountpoint: str, options: dict[str, str], *, sloppy: bool) -> Settings:
    """The settings that the options mean, and in the environment, for the daemon to find."""
    if "remount" in options:
        raise click.UsageError("a vbofs cannot be remounted; umount it, and mount it again")
    config = options.pop("config", None)
    unknown = [key for key in options if key not in FIELDS or key in ("mountpoint", "dataset")]
    if unknown and not sloppy:
        raise click.UsageError(f"unknown option {unknown[0]!r}; docs/settings.md has the keys")
    given = {
        # A comma ends an option, so releases are separated by colons.
        key: value.replace(":", ",") if key == "release" else value or "1"
        for key, value in options.items()
        if key not in unknown
    }
    given |= {"dataset": source, "mountpoint": mountpoint, "allow_other": "1"}
    name = mountpoint.strip("/").replace("/", "-")[-200:] or "root"
    given.setdefault("log_file", str(LOGS / f"{name}.log"))
    _enter_environment(given, config)
    return load({})


def _enter_environment(given: dict[str, str], config: str | None) -> None:
    """An environment without the caller's; what is set there, the daemon inherits."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    os.environ.clear()
    os.environ.update(inherited)
    os.environ.update(
        PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        LANG="C.UTF-8",
        XDG_CACHE_HOME=str(CACHE_HOME),
        XDG_CONFIG_HOME="/etc",  # So /etc/vbofs/config.toml holds for every line of fstab.
        XDG_RUNTIME_DIR=str(control.SYSTEM_RUNTIME_DIR),
        **{VARIABLE_PREFIX + key.upper(): value for key, value in given.items()},
    )
    if config:
        os.environ[FILE_VARIABLE] = config


def _mount(settings: Settings, user: str, owner: tuple[int, int], flags: int) -> str:
    """Mount, start the daemon, and return its word that it answers."""
    for folder in (settings.cache_dir, control.SYSTEM_RUNTIME_DIR, LOGS):
        _make(folder, owner)
    mountpoint = settings.mountpoint
    os.environ.update(
        HOME=pwd.getpwnam(user).pw_dir,
        # As they are seen from here, for the daemon stands elsewhere.
        VBOFS_MOUNTPOINT=str(mountpoint),
        VBOFS_CACHE_DIR=str(settings.cache_dir),
    )
    channel = handover.attach(mountpoint, settings.dataset, owner, everyone=True, flags=flags)
    with handover.undone_on_error(mountpoint, channel):
        done = subprocess.run(
            # -P: who stands in a directory of his own runs nothing of it as another.
            [sys.executable, "-P", "-m", "vbofs", "mount", "--fuse-fd", str(channel)],
            pass_fds=[channel],
            user=owner[0],
            group=owner[1],
            extra_groups=[],
            cwd="/",
            umask=0o077,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            raise VbofsError(done.stderr.strip().removeprefix("vbofs: "))
    handover.tune(mountpoint)
    return done.stdout.strip()


def _make(folder: Path, owner: tuple[int, int]) -> None:
    """A directory that only the daemon may enter; one that is there stays as it is."""
    try:
        folder.mkdir(mode=0o700)
        os.chown(folder, *owner)
    except FileExistsError:
        return
    except OSError as error:
        raise MountFailed(f"{folder} cannot be made: {error.strerror}") from error


def main() -> None:
    """The entry point of ``mount.vbofs``."""
    try:
        command.main(standalone_mode=False, prog_name="mount.vbofs")
        return
    except (click.exceptions.Abort, KeyboardInterrupt):
        status, said = INTERRUPTED, "interrupted"
    except click.ClickException as error:
        status, said = USAGE, error.format_message()
    except SettingsInvalid as error:
        # Where it stood is fstab, not the variable by which the daemon gets it.
        status, said = USAGE, re.sub(r"\bVBOFS_([A-Z0-9_]+)", lambda m: m[1].lower(), str(error))
    except VbofsError as error:
        status, said = FAILED, str(error)
    except OSError as error:
        status, said = SYSTEM, str(error)
    click.echo(f"mount.vbofs: {' '.join(said.split())}", err=True)
    sys.exit(status)
