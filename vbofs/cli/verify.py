"""``vbofs verify``"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from .. import control
from ..config import Settings
from ..errors import CacheUnwritable, VbofsError, VerifyMismatch
from .chosen import Chosen
from .local import local_floors
from .meter import meter
from .selection import Asked, selection_options, sharing
from .words import counted, size

if TYPE_CHECKING:
    from ..blocks.audit import Verdict
    from ..blocks.coverage import Coverage
    from ..daemon import Floors


@dataclass
class Findings:
    """What was found, in files and bytes; names of the files with something wrong."""

    whole: int = 0
    whole_bytes: int = 0
    partly: int = 0
    partly_bytes: int = 0
    damaged: list[str] = field(default_factory=list)
    blocks: int = 0
    mismatched: list[str] = field(default_factory=list)

    def add(self, file: Chosen, verdict: Verdict) -> None:
        if verdict.matches is False:
            self.mismatched.append(file.name)
            click.echo(f"{file.name}: not what was published; dropped", err=True)
            return
        if verdict.damaged:
            self.damaged.append(file.name)
            self.blocks += verdict.damaged
            blocks = counted(verdict.damaged, "block")
            click.echo(f"{file.name}: {blocks} not as written; dropped", err=True)
        if verdict.matches:
            self.whole += 1
            self.whole_bytes += verdict.checked
        elif verdict.checked:
            self.partly += 1
            self.partly_bytes += verdict.checked

    def lines(self) -> list[str]:
        told = [
            f"{counted(self.whole, 'whole file')}, {size(self.whole_bytes)}:"
            " each has the blake2b that its release's manifest says"
        ]
        if self.partly:
            told.append(
                f"{counted(self.partly, 'file')} cached in part, {size(self.partly_bytes)}:"
                " each block as it was written; a published hash is of whole files only"
            )
        return told


@click.command()
@selection_options(everything="All that is cached of this dataset.")
def command(asked: Asked, settings: Settings) -> None:
    """Compare cached bytes with the hashes in the manifests: PATHs, a query, a --release or --all.

    Files that are cached in part have no published hash to be compared with; their blocks are
    compared with the checksums taken when they came.  What is wrong is dropped, and fetched again
    when it is read; the exit status says that something was.
    """
    import trio

    if not asked:
        raise click.UsageError("Name a PATH, a query, a --release or --all.")
    findings = trio.run(_work, settings, asked)
    for line in findings.lines():
        click.echo(line)
    wrong = [*findings.mismatched, *findings.damaged]
    if wrong:
        raise VerifyMismatch(
            f"{counted(len(findings.mismatched), 'file')} not as published,"
            f" {counted(findings.blocks, 'damaged block')} in"
            f" {counted(len(findings.damaged), 'file')};"
            " they were dropped and are fetched again when they are read"
        )


async def _work(settings: Settings, asked: Asked) -> Findings:
    from ..blocks.coverage import look

    findings = Findings()
    async with local_floors(settings, asked) as (floors, files):
        covered = [(file, look(floors.store.folder, file.blob)) for file in files]
        cached = [(file, coverage) for file, coverage in covered if 1 in coverage.present]
        try:
            _audit(floors, cached, findings)
        except OSError as error:
            raise CacheUnwritable(f"the cache cannot be read: {error}") from error
        _tell_daemons(settings, [file for file, _ in cached if file.name in findings.mismatched])
    return findings


def _audit(floors: Floors, cached: list[tuple[Chosen, Coverage]], findings: Findings) -> None:
    from ..blocks.audit import audit

    done = 0

    def step(more: int) -> None:
        nonlocal done
        done += more
        shown.show(done, file.name)

    with meter("verify", sum(coverage.bytes for _, coverage in cached)) as shown:
        for file, coverage in cached:
            findings.add(file, audit(floors.store.folder, coverage, step))


def _tell_daemons(settings: Settings, wrong: list[Chosen]) -> None:
    """Tell the daemons: the kernel may keep pages of these files for them."""
    for mountpoint, _ in sharing(settings) if wrong else ():
        for file in wrong:
            try:
                control.ask(mountpoint, "suspect", release=file.release, path=file.path)
            except VbofsError as error:
                click.echo(f"vbofs: {mountpoint}: {error}", err=True)
                break
