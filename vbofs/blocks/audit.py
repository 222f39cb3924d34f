"""One blob on disk compared with what was written, and with what was published; for a command.

Works on the files alone, so it needs neither network nor daemon, and may run beside both: whoever
reads a blob meanwhile reads what is sound, and fetches again what was dropped.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .blobfile import BlobFile
from .coverage import Coverage
from .extents import block_count, runs, span


class Verdict(NamedTuple):
    """What was found: *checked* bytes compared with their checksums, *damaged* blocks dropped.

    *matches*: the whole is what was published; False: it is not, and was dropped; None: not all of
    it is here, or nothing was published of it.
    """

    checked: int
    damaged: int
    matches: bool | None


def audit(folder: Path, coverage: Coverage, step: Callable[[int], None]) -> Verdict:
    """Compare all that is here of a blob under *folder*; *step* hears of each piece's bytes.

    OSError: the disk refuses.
    """
    blob = coverage.blob
    damage: list[int] = []
    file = BlobFile(folder / blob.ident[:2] / blob.ident, blob, damage.append)
    whole = hashlib.blake2b()
    checked = 0
    for run in runs(block for block, here in enumerate(coverage.present) if here):
        extent = span(run, blob.size)
        piece = file.read(extent, use=False)
        if piece is not None:
            whole.update(piece)
            checked += extent.size
        step(extent.size)
    matches = _judge(file, checked, whole.hexdigest())
    return Verdict(checked, sum(damage), matches)


def _judge(file: BlobFile, checked: int, digest: str) -> bool | None:
    blob = file.blob
    if not blob.digest or checked < blob.size:
        return None
    if digest != blob.digest:
        file.forget(range(block_count(blob.size)))
        return False
    with contextlib.suppress(OSError):  # It is right, remembered or not.
        file.mark_verified()
    return True
