"""Says why a read took long, in one line: the question that a user asks first."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import trio

from ..model import Blob
from ..remote.waits import Waits
from .extents import span

log = logging.getLogger(__name__)

#: Seconds.  Below it a wait is a network's usual mood; above it a person has noticed.
SLOW = 5.0


@contextlib.contextmanager
def explained(blob: Blob, blocks: range, requests: list[Waits]) -> Iterator[None]:
    """If what happens in here takes long, log what *requests*, the last of them above all, waited
    for; also if it ends with an error."""
    begun = trio.current_time()
    try:
        yield
    finally:
        took = trio.current_time() - begun
        if took > SLOW and requests:
            extent = span(blocks, blob.size)
            log.info(
                "slow read of %s bytes %d-%d: %.1f s; its request: %s",
                blob.version.key,
                extent.start,
                extent.stop,
                took,
                max(requests, key=Waits.total),
                # In a network that is slow, one line a minute for each file.
                extra={"event": f"slow read of {blob.ident}"},
            )
