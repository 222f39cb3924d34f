"""``vbofs doctor``"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..config import load
from ..errors import ProblemsFound, SettingsInvalid
from .options import dataset_options, settings_of
from .selection import adopted, origin_of
from .words import counted

if TYPE_CHECKING:
    from ..doctor import Finding, Patient

#: Options that say which mount is meant, and nothing of how it is made.
_WHICH_MOUNT = ("mountpoint", "config_file")

STYLES = {"ok": "green", "warning": "yellow", "problem": "red"}


@click.command()
@click.argument("mountpoint", required=False)
@dataset_options
@click.option("--allow-other", is_flag=True, default=None, help="Other users are to read, too.")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write a report (tar.gz) to send to whoever helps; without secrets.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(bundle: Path | None, as_json: bool, **options: Any) -> None:
    """What keeps vbofs from working here, and the command that mends it.

    Looks at the machine, at what is mounted, at the cache and at the way to the bucket, with the
    settings of vbofs mount MOUNTPOINT or, if that is mounted, of its daemon; and changes nothing.
    Ends with 71 if it finds a problem.
    """
    patient = _patient(options)
    from ..doctor import examine

    found = list(_shown(examine(patient), quiet=as_json))
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in found], indent=2))
    if bundle is not None:
        from ..doctor.bundle import write

        write(bundle.expanduser(), patient, found)
        click.echo(f"The report is in {bundle}; look through it before you send it.", err=True)
    counts = Counter(str(finding.verdict) for finding in found)
    if counts["problem"]:
        raise ProblemsFound(
            f"{counted(counts['problem'], 'problem')} found,"
            f" and {counted(counts['warning'], 'warning')}"
        )


def _patient(options: dict[str, Any]) -> Patient:
    """With the user's settings or, where those are wrong, with the defaults; of a mount that
    answers with those of its daemon, unless the command line says others."""
    from ..doctor import Patient

    named = [value for name, value in options.items() if name not in _WHICH_MOUNT]
    try:
        settings = settings_of(options)
    except SettingsInvalid as error:
        return Patient(load({}, environ={}, file=Path(os.devnull)), str(error))
    if any(value is not None for value in named):
        return Patient(settings)
    origin = origin_of(settings.mountpoint)
    return Patient(adopted(settings, origin), lives=True) if origin else Patient(settings)


def _shown(findings: Iterable[Finding], *, quiet: bool) -> Iterator[Finding]:
    """Print each finding as it comes: the last ones take seconds."""
    from rich.console import Console
    from rich.text import Text

    from .screen import printable

    console = Console(markup=False, emoji=False, highlight=False)
    for finding in findings:
        if not quiet:
            text = Text(f"{finding.verdict:<8}", style=STYLES[finding.verdict])
            text.append(f"{finding.check:<12} ", style="bold")
            text.append(printable(finding.text), style="default not bold")
            if finding.cure:
                text.append(f"\n{'':21}mend it with: {printable(finding.cure)}", "default not bold")
            console.print(text, soft_wrap=True)
        yield finding
