"""How ``vbofs status`` looks: rows of words from a daemon's state, in colour on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from ..health import ailments, duration
from .words import counted, size

if TYPE_CHECKING:
    from rich.text import Text

State = Mapping[str, Any]

#: Characters of the bar that shows how full the cache is.
BAR = 20


class Row(NamedTuple):
    label: str
    text: str
    style: str = ""


class Rates(NamedTuple):
    """What happened between two states of one daemon, per second."""

    reads: float
    served: float
    requests: float
    fetched: float

    @classmethod
    def between(cls, old: State | None, new: State, seconds: float) -> Rates | None:
        """None where there is nothing to compare: another daemon, or none."""
        if not old or old.get("pid") != new.get("pid") or "pid" not in new or seconds <= 0:
            return None
        counts = [_counts(old), _counts(new)]
        return cls(*((b - a) / seconds for a, b in zip(*counts, strict=True)))


def _counts(state: State) -> tuple[int, int, int, int]:
    readers, requests = state["readers"], state["requests"]
    asked = requests["get"] + requests["head"] + requests["list"]
    return readers["reads"], readers["bytes"], asked, requests["received"]


def described(state: State, rates: Rates | None = None, now: float | None = None) -> Text:
    """One mount, as people read it."""
    from rich.text import Text

    rows = list(_rows(state, rates, time.time() if now is None else now))
    grave = any(row.style == "red" for row in rows)
    words = [printable(state["mountpoint"]), state["dataset"], state["state"]]
    text = Text(f"{words[0]}", style="bold")
    text.append(f"  {words[1]}  ", style="default not bold")
    text.append(words[2], style="red" if grave else "green")
    for row in rows:
        text.append(f"\n  {row.label:<10}", style="dim not bold")
        text.append(printable(row.text), style=row.style or "default not bold")
    return text


def _rows(state: State, rates: Rates | None, now: float) -> Iterator[Row]:
    for ailment in ailments(state, now):
        cure = f"; mend it with: {ailment.cure}" if ailment.cure else ""
        yield Row("attention", ailment.text + cure, "red" if ailment.grave else "yellow")
    if "pid" in state:
        yield from _identity(state, now)
        yield from _cache(state)
        yield from _traffic(state)
        if rates is not None:
            yield _now(rates, state["blocks"])
        yield _errors(state)


def _identity(state: State, now: float) -> Iterator[Row]:
    names = ", ".join("v" + release for release in state["releases"])
    yield Row("releases", f"{names}; latest v{state['latest']}")
    since = datetime.fromtimestamp(state["since"]).strftime("%Y-%m-%d %H:%M:%S")
    if newer := state.get("newer"):
        yield Row("newer", newer["line"], "yellow")
    age = duration(now - state["since"])
    yield Row("daemon", f"pid {state['pid']}, vbofs {state['version']}, since {since} ({age})")


def _cache(state: State) -> Iterator[Row]:
    cache = state["cache"]
    share = min(1.0, cache["used"] / cache["limit"]) if cache["limit"] else 0.0
    full, empty = "█░" if (sys.stdout.encoding or "").lower().startswith("utf") else "#."
    filled = f"{full * round(share * BAR):{empty}<{BAR}} {share:.0%}"
    evicted = f"; {size(cache['evicted'])} evicted" if cache["evicted"] else ""
    yield Row(
        "cache",
        f"{filled}: {size(cache['used'])} of {size(cache['limit'])} in {cache['dir']}{evicted}",
    )
    hits, asked = state["blocks"].get("hits"), state["blocks"]["demanded"]
    if hits is not None and hits + asked:
        share = hits / (hits + asked)
        yield Row("hits", f"{share:.1%} of the blocks that were read were on disk")
    verifier = state["verifier"]
    pending = f", {verifier['pending']} to come" if verifier.get("pending") else ""
    yield Row("verified", f"{counted(verifier['verified'], 'whole file')} since then{pending}")


def _traffic(state: State) -> Iterator[Row]:
    asked, readers = state["requests"], state["readers"]
    latency = state.get("remote", {}).get("latency", {}).get("GET")
    yield Row(
        "requests",
        f"{asked['get']:,} GET, {asked['head']:,} HEAD, {asked['list']:,} LIST;"
        f" {size(asked['received'])} fetched, {asked['retried']:,} tried again{_within(latency)}",
    )
    yield Row(
        "readers",
        f"{counted(readers['handles'], 'handle')} on {counted(readers['files'], 'file')};"
        f" {counted(readers['reads'], 'read')}, {size(readers['bytes'])} served"
        f"{_within(readers.get('latency'))}",
    )
    if record := state.get("record"):
        yield Row("recording", _record(record))
    for cache in state.get("site_caches") or []:
        yield Row("site", _site_cache(cache))
    if state.get("lower_cache"):
        yield Row("lower", _lower_cache(state["lower_cache"]))


def _record(record: Mapping[str, Any]) -> str:
    return f"{counted(record['files'], 'file')}, {size(record['bytes'])} read, in {record['file']}"


def _site_cache(cache: Mapping[str, Any]) -> str:
    text = f"{counted(cache['requests'], 'request')} to {cache['url']}; {size(cache['received'])}"
    text += f" fetched, {cache['failed']} failed"
    if cache["mismatched"]:
        text += f", {counted(cache['mismatched'], 'file')} not as published"
    return text + (", passed by at the moment" if cache["away"] else "")


def _lower_cache(lower: Mapping[str, Any]) -> str:
    text = f"{counted(lower['blocks'], 'block')} out of {lower['dir']}; {size(lower['bytes'])}"
    text += f", {counted(lower['damaged'], 'read')} damaged, {lower['failed']} failed"
    return text + (", passed by at the moment" if lower["away"] else "")


def _within(histogram: Mapping[str, Any] | None) -> str:
    """In which time half of them were done, and nearly all: as well as the buckets tell."""
    if not histogram or not sum(histogram["counts"]):
        return ""
    half, most = (_quantile(histogram, share) for share in (0.5, 0.99))
    return f"; half within {half}, 99 % within {most}"


def _quantile(histogram: Mapping[str, Any], share: float) -> str:
    wanted, so_far = share * sum(histogram["counts"]), 0
    for bound, number in zip(histogram["bounds"], histogram["counts"], strict=False):
        so_far += number
        if so_far >= wanted:
            return f"{bound:g} s" if bound >= 1 else f"{bound * 1000:g} ms"
    return "more than a minute" if histogram["bounds"][-1] >= 60 else "a minute"


def _now(rates: Rates, blocks: Mapping[str, Any]) -> Row:
    return Row(
        "now",
        f"{rates.reads:.0f} reads/s, {size(round(rates.served))}/s served;"
        f" {rates.requests:.0f} requests/s, {size(round(rates.fetched))}/s fetched,"
        f" {blocks['flying']} under way, {blocks['queued']} queued",
        "cyan",
    )


def _errors(state: State) -> Row:
    cache, kinds = state["cache"], state.get("remote", {}).get("errors", {})
    failed = state["blocks"]["failed"]
    text = (
        f"{counted(failed, 'request')} failed, {counted(cache['damaged'], 'block')} damaged,"
        f" {cache['refused']} not kept,"
        f" {counted(state['verifier']['mismatched'], 'file')} not as published"
    )
    if kinds:
        text += f"; attempts: {', '.join(f'{n:,} {kind}' for kind, n in sorted(kinds.items()))}"
    if state.get("last_error"):
        text += f"; the last: {state['last_error']}"
    return Row("errors", text)


def printable(text: str) -> str:
    """Without whatever would move the cursor; bytes that are no text stay."""
    return "".join(c if c.isprintable() or "\udc80" <= c <= "\udcff" else "?" for c in text)
