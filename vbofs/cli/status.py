"""``vbofs status``"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from .. import control, mounts
from ..errors import NotMounted, VbofsError
from .options import settings_of
from .words import counted, size


@click.command()
@click.argument("mountpoint", required=False)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(mountpoint: str | None, as_json: bool) -> None:
    """What is mounted and how it is doing; all mounts of this user, or the one at MOUNTPOINT."""
    if mountpoint:
        states = [state_of(settings_of({"mountpoint": mountpoint}).mountpoint)]
    else:
        states = [state_of(mount.path) for mount in mounts.mounts() if mount.is_ours]
    if as_json:
        click.echo(json.dumps(states[0] if mountpoint else states, indent=2))
        return
    if not states:
        raise NotMounted("no vbofs is mounted; mount one with: vbofs mount")
    click.echo("\n\n".join(_described(state) for state in states))


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
            "error": str(error),
        }


def _described(state: dict[str, Any]) -> str:
    head = f"{state['mountpoint']}  {state['dataset']}  {state['state']}"
    if "pid" not in state:
        hint = f"; clear it with: vbofs umount {state['mountpoint']}"
        return head + (hint if state["state"] == "dead" else f": {state['error']}")
    lines = [head + ("  offline" if state["offline"] else "")]
    lines += [f"  {label:<10}{text}" for label, text in _facts(state)]
    return "\n".join(lines)


def _moment(since: float) -> str:
    return datetime.fromtimestamp(since).strftime("%Y-%m-%d %H:%M:%S")


def _facts(state: dict[str, Any]) -> list[tuple[str, str]]:
    cache, asked, blocks = state["cache"], state["requests"], state["blocks"]
    readers = state["readers"]
    since = _moment(state["since"])
    facts = [
        ("releases", f"{', '.join('v' + r for r in state['releases'])}; latest v{state['latest']}"),
        ("daemon", f"pid {state['pid']}, vbofs {state['version']}, since {since}"),
        ("cache", f"{size(cache['used'])} of {size(cache['limit'])} in {cache['dir']}"),
        ("verified", f"{counted(state['verifier']['verified'], 'whole file')} since then"),
        (
            "requests",
            f"{asked['get']} GET, {asked['head']} HEAD, {asked['list']} LIST;"
            f" {size(asked['received'])} fetched, {asked['retried']} tried again",
        ),
        (
            "readers",
            f"{counted(readers['handles'], 'handle')} on {counted(readers['files'], 'file')};"
            f" {counted(readers['reads'], 'read')}, {size(readers['bytes'])} served",
        ),
        (
            "errors",
            f"{counted(blocks['failed'], 'request')} failed,"
            f" {counted(cache['damaged'], 'block')} damaged, {cache['refused']} not kept,"
            f" {counted(state['verifier']['mismatched'], 'file')} not as published",
        ),
    ]
    facts += [("site", _site_cache(site)) for site in state["site_caches"]]
    if state["lower_cache"]:
        facts.append(("lower", _lower_cache(state["lower_cache"])))
    if away_since := state["network"]["away_since"]:
        facts.insert(2, ("network", f"away since {_moment(away_since)}; what is cached works"))
    if state["last_error"]:
        facts.append(("last", state["last_error"]))
    facts += [("left out", flaw) for flaw in state["left_out"].values()]
    return facts


def _site_cache(site: dict[str, Any]) -> str:
    text = f"{counted(site['requests'], 'request')} to {site['url']}; {size(site['received'])}"
    text += f" fetched, {site['failed']} failed"
    if site["mismatched"]:
        text += f", {counted(site['mismatched'], 'file')} not as published"
    return text + (", passed by at the moment" if site["away"] else "")


def _lower_cache(lower: dict[str, Any]) -> str:
    text = f"{counted(lower['blocks'], 'block')} out of {lower['dir']}; {size(lower['bytes'])}"
    text += f", {counted(lower['damaged'], 'read')} damaged, {lower['failed']} failed"
    return text + (", passed by at the moment" if lower["away"] else "")
