"""How far a long piece of work is: a bar for a person, a line now and then for a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol

import click

from .words import size

#: Seconds between two lines where nobody watches.
INTERVAL = 10.0


class Meter(Protocol):
    """Shows how much of a total is done."""

    def show(self, done: int, label: str = "") -> None:
        """So much is done now; *label*: what it is at."""


@contextmanager
def meter(verb: str, total: int, *, unit: str = "bytes") -> Iterator[Meter]:
    """A meter on stderr for as long as the work takes: of bytes, or of other things."""
    if sys.stderr.isatty():
        bar = _Bar(verb, total, unit)
        with bar.progress:
            yield bar
    else:
        yield _Lines(verb, total, unit)


class _Lines:
    def __init__(self, verb: str, total: int, unit: str) -> None:
        self._verb, self._total, self._unit = verb, total, unit
        self._began = self._said = time.monotonic()

    def show(self, done: int, label: str = "") -> None:
        now = time.monotonic()
        if now - self._said < INTERVAL:
            return
        self._said = now
        rate = done / (now - self._began)
        left = timedelta(seconds=round((self._total - done) / rate)) if rate else "some time"
        share = 100 * done // max(self._total, 1)
        click.echo(
            f"{self._verb}: {self._amount(done)} of {self._amount(self._total)}, {share} %,"
            f" {self._amount(int(rate))}/s, {left} left",
            err=True,
        )

    def _amount(self, number: int) -> str:
        return size(number) if self._unit == "bytes" else f"{number:,} {self._unit}"


class _Bar:
    """rich's progress bar."""

    def __init__(self, verb: str, total: int, unit: str) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        of_bytes = unit == "bytes"
        columns = (DownloadColumn(), TransferSpeedColumn()) if of_bytes else (MofNCompleteColumn(),)
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            *columns,
            TimeRemainingColumn(),
            TextColumn("{task.fields[label]}", markup=False),
            console=Console(stderr=True, markup=False, emoji=False, highlight=False),
        )
        self._total = total
        self._task = self.progress.add_task(verb, total=total, label="")

    def show(self, done: int, label: str = "") -> None:
        self.progress.update(self._task, completed=min(done, self._total), label=label)
