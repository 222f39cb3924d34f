"""What a prefetch will cost, before it is begun, and whether that is meant."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from ..errors import CacheTooSmall, PrefetchTooLarge
from .words import counted, size

if TYPE_CHECKING:
    from ..blocks.prefetch import Want
    from ..blocks.store import BlockStore

#: Bytes to fetch above which a person is asked, and a script must have said ``--yes``.
LARGE = 10 * 1000**3


@dataclass(frozen=True)
class Estimate:
    """*files* are wanted, *partly* of them in part; *missing* and *here* are bytes of what is
    wanted, *free* what the cache may still take, *capacity* what it may hold beside what others
    pinned."""

    files: int
    partly: int
    missing: int
    here: int
    free: int
    capacity: int

    def line(self) -> str:
        """In one line."""
        parts = f", {self.partly:,} of them in part" if self.partly else ""
        here = f"{size(self.here)} here already, " if self.here else ""
        return (
            f"{counted(self.files, 'file')}{parts}: {here}{size(self.missing)} to fetch;"
            f" room for {size(self.free)} more in the cache"
            + (", so what was used longest ago makes way" if self.missing > self.free else "")
        )


def unfinished(store: BlockStore, wants: Sequence[Want]) -> tuple[list[Want], Estimate]:
    """Those of *wants* of which something is to be done, and what all of them cost."""
    from ..blocks.coverage import bytes_of, look
    from ..blocks.space import disk_usage

    todo, missing, here = [], 0, 0
    for want in wants:
        coverage = look(store.folder, want.blob)
        blocks = want.blocks
        absent = coverage.missing(blocks)
        missing += bytes_of(want.blob, absent)
        here += bytes_of(want.blob, blocks) - bytes_of(want.blob, absent)
        if absent or (want.extents is None and want.blob.digest and not coverage.verified):
            todo.append(want)
    capacity = store.room.capacity()
    free = max(0, capacity - disk_usage(store.folder))
    held = _pinned_by_others(store, {want.blob.ident for want in wants})
    partly = sum(want.extents is not None for want in wants)
    return todo, Estimate(len(wants), partly, missing, here, free, max(0, capacity - held))


def _pinned_by_others(store: BlockStore, own: Collection[str]) -> int:
    from ..blocks.space import usage_of

    return usage_of(store.folder, store.pins.idents() - set(own))


def check(estimate: Estimate, *, yes: bool) -> None:
    """CacheTooSmall, or for much without *yes*: ask, and PrefetchTooLarge if nobody is there."""
    if estimate.missing + estimate.here > estimate.capacity:
        raise CacheTooSmall(
            f"{size(estimate.missing + estimate.here)} do not fit into the cache, which has room"
            f" for {size(estimate.capacity)}; ask for less (--only), unpin or evict something,"
            " or mount with a larger --cache-size"
        )
    if estimate.missing <= LARGE or yes:
        return
    if not sys.stdin.isatty():
        raise PrefetchTooLarge(
            f"{size(estimate.missing)} are a lot to fetch; if that is meant, say --yes"
        )
    click.confirm(f"Fetch {size(estimate.missing)}?", abort=True, err=True)
