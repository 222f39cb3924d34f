"""``vbofs status``"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import control, mounts
from ..errors import NotMounted, VbofsError
from .options import settings_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


@click.command()
@click.argument("mountpoint", required=False)
@click.option("--watch", is_flag=True, help="Go on showing it, with rates, until Ctrl-C.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=2.0,
    metavar="SECONDS",
    help="Between two looks of --watch.  [2]",
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--prometheus", is_flag=True, help="For Prometheus: every metric, as text.")
def command(
    mountpoint: str | None, watch: bool, interval: float, as_json: bool, prometheus: bool
) -> None:
    """What is mounted and how it is doing; all mounts of this user, or the one at MOUNTPOINT."""
    if watch + as_json + prometheus > 1:
        raise click.UsageError("--watch, --json and --prometheus exclude each other.")
    path = settings_of({"mountpoint": mountpoint}).mountpoint if mountpoint else None
    states = states_of(path)
    if prometheus:
        from ..metrics import exposition

        click.echo(exposition(states), nl=False)
    elif as_json:
        click.echo(json.dumps(states[0] if path else states, indent=2))
    elif watch:
        _watch(path, interval)
    elif not states:
        raise NotMounted("no vbofs is mounted; mount one with: vbofs mount")
    else:
        _console().print(_screen(states, []), soft_wrap=True)


def states_of(path: Path | None) -> list[dict[str, Any]]:
    """Of the mount at *path*, or of all of this user's."""
    if path is not None:
        return [state_of(path)]
    states = []
    for mount in mounts.mounts():
        if mount.is_ours:
            try:
                states.append(state_of(mount.path))
            except NotMounted:
                continue  # Unmounted since.
    return states


def state_of(path: Path) -> dict[str, Any]:
    """The daemon's own words, or why there are none.  NotMounted if there is no mount."""
    mount = mounts.mounted_at(path)
    if mount is None or not mount.is_ours:
        raise NotMounted(f"no vbofs is mounted at {path}")
    try:
        return {"state": "mounted", **control.ask(path, "status")}
    except VbofsError as error:
        try:
            state = "dead" if mounts.is_dead(path) else "not yours"
        except VbofsError:
            state = "hanging"
        return {
            "state": state,
            "mountpoint": str(path),
            "dataset": mount.source,
            # That there is no socket of ours is what "not yours" says.
            "error": "" if isinstance(error, NotMounted) else str(error),
        }


def _console() -> Console:
    from rich.console import Console

    # Paths are not markup; and on a terminal that cannot be asked, in a pipe above all, no colours.
    return Console(markup=False, emoji=False, highlight=False)


def _screen(states: list[dict[str, Any]], before: list[dict[str, Any]], elapsed: float = 0) -> Text:
    from rich.text import Text

    from .screen import Rates, described

    old = {state["mountpoint"]: state for state in before}
    parts = []
    for state in states:
        rates = Rates.between(old.get(state["mountpoint"]), state, elapsed)
        parts.append(described(state, rates))
    return Text("\n\n").join(parts) if parts else Text("no vbofs is mounted")


def _watch(path: Path | None, interval: float) -> None:
    """On a terminal one screen that changes; in a pipe one block after the other."""
    from rich.live import Live

    console = _console()
    before: list[dict[str, Any]] = []
    looked = time.monotonic()
    # Nobody else prints, and rich's stand-in for stdout does not know what it can print.
    with Live(
        console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
    ) as live:
        while True:
            states, now = states_of(path), time.monotonic()
            screen = _screen(states, before, now - looked)
            if console.is_terminal:
                live.update(screen, refresh=True)
            else:
                click.echo(f"{screen.plain}\n")
            before, looked = states, now
            time.sleep(interval)
