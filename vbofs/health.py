"""What ails a mount, in words, from what its daemon counts: for ``vbofs status`` and ``doctor``.

Pure: a state is the control socket's answer, or what stands for it where there is none.  A key that
is missing is an older daemon's, and no ailment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

State = Mapping[str, Any]


class Ailment(NamedTuple):
    """*grave*: somebody sees errors.  *cure*: the command that mends it, "" if time does."""

    text: str
    grave: bool
    cure: str = ""


def ailments(state: State, now: float) -> Iterator[Ailment]:
    """What is wrong with the mount that *state* is of, at *now*; nothing if all is well."""
    if "pid" not in state:
        yield from _absent(state)
        return
    yield from _network(state, now)
    yield from _cache(state)
    yield from _published(state)


def _absent(state: State) -> Iterator[Ailment]:
    path = state["mountpoint"]
    if state["state"] == "dead":
        yield Ailment("its daemon has died", True, f"vbofs umount {path}")
    elif state["state"] == "hanging":
        yield Ailment("its daemon does not answer", True, f"vbofs umount {path}")
    elif state.get("error"):
        yield Ailment(state["error"], False)


def _network(state: State, now: float) -> Iterator[Ailment]:
    remote = state.get("remote", {})
    away_since = state.get("network", {}).get("away_since")
    failing_since, failing = remote.get("failing_since"), remote.get("failing", "")
    if state.get("offline"):
        yield Ailment("offline, as asked: only what is cached can be read", False)
    elif away_since:
        age = duration(now - away_since)
        yield Ailment(
            f"the network is lost for {age}: only what is cached can be read ({failing})", True
        )
    elif failing_since:
        yield Ailment(f"every request fails for {duration(now - failing_since)} ({failing})", True)
    away = [one["url"] for one in state.get("site_caches") or [] if one.get("away")]
    if away:
        yield Ailment(f"passed by, for they do not answer: {', '.join(away)}", False)
    lower = state.get("lower_cache") or {}
    if lower.get("away"):
        text = f"the lower cache {lower['dir']} is passed by, for it cannot be read or hangs"
        yield Ailment(text, False, f"ls -l {lower['dir']}")


def _cache(state: State) -> Iterator[Ailment]:
    cache = state.get("cache", {})
    if cache.get("refusing"):
        yield Ailment(
            "the cache takes no more blocks, so what is read is fetched again each time",
            False,
            f"df -h {cache.get('dir', '')}",
        )


def _published(state: State) -> Iterator[Ailment]:
    condemned = state.get("verifier", {}).get("condemned", 0)
    if condemned:
        yield Ailment(f"{condemned} files are not what was published: reading them fails", True)
    for flaw in (state.get("left_out") or {}).values():
        yield Ailment(f"left out: {flaw}", False)


def duration(seconds: float) -> str:
    """A time as people say it: 40 s, 12 min, 3 h, 5 days."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
