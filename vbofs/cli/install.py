"""``vbofs install``: what an installed vbofs has besides its Python environment.

The files of the checkout's systemd/ directory, with this environment's paths in them; the manual
page and the completions, made from the commands' own help.  ``uninstall`` takes the same list.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from ..errors import InstallFailed, NeedsRoot

#: mount(8) looks in the first and nowhere else; a package names where that link of Debian's leads.
MOUNT_COMMAND, PACKAGED_COMMAND = Path("/sbin/mount.vbofs"), Path("/usr/sbin/mount.vbofs")
SYSTEM_PREFIX = Path("/usr/local")


@dataclass(frozen=True)
class Piece:
    """One file to be installed: *content*, or a symbolic link to *target*."""

    path: Path
    content: bytes = b""
    target: Path | None = None
    mode: int = 0o644


@dataclass(frozen=True)
class Place:
    """Where things go.  *root*: a directory that will be /; *environment*: Python's, with vbofs."""

    prefix: Path
    root: Path
    environment: Path
    for_system: bool

    @property
    def vbofs(self) -> Path:
        return self.environment / "bin" / "vbofs"

    @property
    def is_live(self) -> bool:
        """Whether this very machine is changed, not a package's tree."""
        return self.root == Path("/")

    def on_disk(self, path: Path) -> Path:
        return self.root / path.relative_to("/")


def place_options(function: Callable[..., None]) -> Callable[..., None]:
    """Options of install and uninstall: for whom, and where."""
    for option in (
        click.option(
            "--prefix",
            type=click.Path(path_type=Path),
            help="Where files go.  [/usr/local; ~/.local with --user]",
        ),
        click.option(
            "--root", type=click.Path(path_type=Path), help="For packagers: a directory to fill."
        ),
        click.option(
            "--environment",
            type=click.Path(path_type=Path),
            help="For packagers: where this Python environment will be.",
        ),
        click.option("--system/--user", "system", default=None, help="For all, or only for you."),
    ):
        function = option(function)
    return function


def place_of(
    system: bool | None, prefix: Path | None, root: Path | None, environment: Path | None
) -> Place:
    """The place that the options mean.  NeedsRoot."""
    for_system = os.geteuid() == 0 if system is None else system
    if for_system and root is None and os.geteuid() != 0:
        raise NeedsRoot("only root can install for the system; use sudo, or --user")
    usual = SYSTEM_PREFIX if for_system else Path.home() / ".local"
    return Place(
        prefix=(prefix or usual).absolute(),
        root=(root or Path("/")).absolute(),
        environment=(environment or Path(sys.prefix)).absolute(),
        for_system=for_system,
    )


@click.command()
@place_options
def command(
    system: bool | None, prefix: Path | None, root: Path | None, environment: Path | None
) -> None:
    """Put the command on the path, and add units, mount helper, manual page and completions.

    --system (root's default) lets systemd and /etc/fstab mount; --user is one person's.
    """
    place = place_of(system, prefix, root, environment)
    for piece in pieces(place):
        _put(place.on_disk(piece.path), piece)
    if place.is_live:
        _settle(place)
        _say_what_now(place)


def pieces(place: Place) -> Iterator[Piece]:
    """Everything that is installed."""
    from .manpage import manual

    share = place.prefix / "share"
    if place.environment != place.prefix:
        yield Piece(place.prefix / "bin/vbofs", target=place.vbofs)
    yield Piece(share / "man/man1/vbofs.1", manual().encode())
    yield from _completions(share, is_package=place.prefix == Path("/usr"))
    yield from _system_pieces(place) if place.for_system else _user_pieces(place)


def _completions(share: Path, *, is_package: bool) -> Iterator[Piece]:
    from click.shell_completion import get_completion_class

    from . import cli
    from .completion import VARIABLE

    for shell, name in {
        "bash": "bash-completion/completions/vbofs",
        # Debian's zsh looks for packages' files elsewhere.
        "zsh": f"zsh/{'vendor-completions' if is_package else 'site-functions'}/_vbofs",
        "fish": "fish/vendor_completions.d/vbofs.fish",
    }.items():
        complete = get_completion_class(shell)
        assert complete is not None, "click knows the three"
        yield Piece(share / name, complete(cli, {}, "vbofs", VARIABLE).source().encode())


def _system_pieces(place: Place) -> Iterator[Piece]:
    lib = place.prefix / "lib"
    for name, path in {
        "vbofs@.service": lib / "systemd/system/vbofs@.service",
        "user/vbofs.service": lib / "systemd/user/vbofs.service",
        "vbofs.sysusers": lib / "sysusers.d/vbofs.conf",
        "vbofs.tmpfiles": lib / "tmpfiles.d/vbofs.conf",
        "60-vbofs-read-ahead.rules": lib / "udev/rules.d/60-vbofs-read-ahead.rules",
        "example.toml": place.prefix / "share/doc/vbofs/example.toml",
    }.items():
        yield Piece(path, _source(place, name))
    yield Piece(lib / "vbofs/read-ahead", _source(place, "read-ahead"), mode=0o755)
    command = MOUNT_COMMAND if place.is_live else PACKAGED_COMMAND
    yield Piece(command, target=place.environment / "bin/mount.vbofs")


def _user_pieces(place: Place) -> Iterator[Piece]:
    yield Piece(
        place.prefix / "share/systemd/user/vbofs.service", _source(place, "user/vbofs.service")
    )


def _source(place: Place, name: str) -> bytes:
    """A file of systemd/, with this place's paths in it."""
    checkout = Path(__file__).parents[2]
    if (checkout / "pyproject.toml").exists():
        folder = checkout / "systemd"
    else:
        folder = Path(sysconfig.get_path("data"), "share/vbofs/systemd")
    try:
        text = (folder / name).read_text()
    except OSError as error:
        raise InstallFailed(f"{folder / name}: {error.strerror}; install vbofs anew") from error
    text = text.replace("@VBOFS@", str(place.vbofs))
    return text.replace("@LIBDIR@", str(place.prefix / "lib/vbofs")).encode()


def _put(path: Path, piece: Piece) -> None:
    """Replace *path* in one step, so that nobody ever finds half of it."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        if piece.target is not None:
            fresh.symlink_to(piece.target)
        else:
            fresh.write_bytes(piece.content)
            fresh.chmod(piece.mode)
        fresh.replace(path)
    except OSError as error:
        raise InstallFailed(f"{path} cannot be installed: {error.strerror}") from error


def _settle(place: Place) -> None:
    """Let the system take notice: the user, the directories, the units."""
    if place.for_system:
        attempt("systemd-sysusers", str(place.prefix / "lib/sysusers.d/vbofs.conf"))
        attempt("systemd-tmpfiles", "--create", str(place.prefix / "lib/tmpfiles.d/vbofs.conf"))
        attempt("udevadm", "control", "--reload", quietly=True)
    reload_units(place)


def reload_units(place: Place) -> None:
    """Let a running systemd read its units again."""
    if place.for_system and Path("/run/systemd/system").is_dir():
        attempt("systemctl", "daemon-reload")
    elif not place.for_system and os.environ.get("XDG_RUNTIME_DIR"):
        attempt("systemctl", "--user", "daemon-reload", quietly=True)


def attempt(*words: str, quietly: bool = False) -> None:
    """Run a step that a system without systemd or udev lacks; say so if it fails elsewhere."""
    if shutil.which(words[0]) is None:
        return
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode and not quietly:
        click.echo(f"vbofs: {' '.join(words)}: {' '.join(done.stderr.split())}", err=True)


def _say_what_now(place: Place) -> None:
    command = place.prefix / "bin/vbofs"
    click.echo(f"Installed {command if command.exists() else place.vbofs}.")
    if place.for_system:
        click.echo(
            "A mount for all, at boot: write /etc/vbofs/NAME.toml (an example is"
            f" {place.prefix}/share/doc/vbofs/example.toml), then:"
            " systemctl enable --now vbofs@NAME"
        )
    else:
        click.echo("Now: vbofs mount ~/vbo, or at every login: systemctl --user enable --now vbofs")
