"""Whole blobs against their publisher's digests, in the background, when the last block is here.

A manifest's hash cannot vouch for one block, so until a blob is complete its blocks rest on TLS,
on the answer's headers and on their own checksums.  A blob that then does not match is dropped: its
blocks are fetched again as they are read, past any cache in between.  If it fails a second time it
is condemned, and its readers get EIO: better no byte than a wrong one.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import trio

from ..model import Blob, Extent
from ..remote.protocol import ObjectStore
from .blobfile import BlobFile
from .extents import block_count
from .store import BlockStore

log = logging.getLogger(__name__)

#: Seconds between two looks whether the readers have come to rest; hashing can wait for them.
PATIENCE = 1.0
#: Looks after which a step is taken all the same: where somebody always reads, 3 GB are verified
#: in half an hour, for a five-hundredth of one processor.
MOST_LOOKS = 5
#: Bytes hashed at a time.
STEP = 8 << 20
#: Mismatches after which a blob is condemned.
STRIKES = 2


@dataclass(frozen=True)
class VerifierStatistics:
    """Blobs since the daemon began; *pending* are of this moment."""

    verified: int
    mismatched: int
    condemned: int
    pending: int


class Verifier:
    """Verifies one blob at a time, in a thread, while *is_busy* says that nobody is waiting."""

    def __init__(
        self,
        nursery: trio.Nursery,
        remote: ObjectStore,
        store: BlockStore,
        is_busy: Callable[[], bool],
    ) -> None:
        self._nursery = nursery
        self._remote = remote
        self._store = store
        self._is_busy = is_busy
        # Blobs, not their files: thousands may wait here, and a file is two descriptors.
        self._pending: dict[str, Blob] = {}
        # Those of them that somebody waits for: hashed first, and though others read.
        self._hurried: dict[str, trio.Event] = {}
        self._hurry = trio.Event()  # Somebody has begun to wait.
        self._strikes: Counter[str] = Counter()
        self._verified = 0

    def __repr__(self) -> str:
        return f"<Verifier {len(self._pending)} pending>"

    def statistics(self) -> VerifierStatistics:
        condemned = sum(strikes >= STRIKES for strikes in self._strikes.values())
        return VerifierStatistics(
            self._verified, self._strikes.total(), condemned, len(self._pending)
        )

    def is_suspect(self, blob: Blob) -> bool:
        """It has failed: what the kernel keeps of it is not to be trusted either."""
        return bool(self._strikes) and blob.ident in self._strikes

    def is_condemned(self, blob: Blob) -> bool:
        """It has failed twice: nobody gets any of it."""
        return bool(self._strikes) and self._strikes[blob.ident] >= STRIKES

    def consider(self, file: BlobFile) -> None:
        """Something of *file* has arrived: verify it if it is complete and was not verified."""
        blob = file.blob
        if not blob.digest or blob.ident in self._pending or file.verified:
            return
        if file.is_complete():
            if not self._pending:
                self._nursery.start_soon(self._work)
            self._pending[blob.ident] = blob

    def suspect(self, blob: Blob) -> None:
        """Somebody else has found it not to be what was published, and dropped it."""
        # Perhaps of the same bytes as this verifier: it is no second failure.
        self._strikes[blob.ident] = max(self._strikes[blob.ident], 1)
        self._remote.distrust(blob.version)

    async def settle(self, blob: Blob) -> bool | None:
        """Have *blob* verified now, if all of it is here; whether it is what was published.

        None: not all of it is here, or nothing was published of it.
        """
        file = self._store.file(blob)
        if file is None or not blob.digest or not (file.verified or file.is_complete()):
            return None
        strikes = self._strikes[blob.ident]
        self.consider(file)
        if blob.ident in self._pending:
            settled = self._hurried.setdefault(blob.ident, trio.Event())
            self._hurry.set()
            self._hurry = trio.Event()
            await settled.wait()
        if self._strikes[blob.ident] > strikes:
            return False
        return True if file.verified else None

    async def _work(self) -> None:
        while self._pending:
            first = next(iter(self._hurried or self._pending))
            blob = self._pending[first]
            try:
                file = self._store.file(blob)
                if file is not None:
                    self._judge(file, await self._digest(file))
            except OSError as error:
                log.warning("%s: cannot be verified: %s", blob.version.key, error)
            except Exception:
                log.exception("verifying %s: a bug; it stays unverified", blob.version.key)
            finally:
                del self._pending[blob.ident]
                waited = self._hurried.pop(blob.ident, None)
                if waited is not None:
                    waited.set()

    async def _digest(self, file: BlobFile) -> str | None:
        """Hex blake2b-512 of *file*; None if not all of it is here and sound.

        In steps of 10 ms or so, for a reader who comes meanwhile is not to share the processor.
        """
        whole = hashlib.blake2b()
        for start in range(0, file.blob.size, STEP):
            for _ in range(MOST_LOOKS):
                if self._hurried or not self._is_busy():
                    break
                with trio.move_on_after(PATIENCE):
                    await self._hurry.wait()
            extent = Extent(start, min(start + STEP, file.blob.size))
            piece = await trio.to_thread.run_sync(_hashed, file, extent, whole)
            if not piece:
                return None
        return whole.hexdigest()

    def _judge(self, file: BlobFile, digest: str | None) -> None:
        if digest is None:
            return  # Evicted or damaged meanwhile; it will be complete again.
        if digest == file.blob.digest:
            file.mark_verified()
            self._verified += 1
            log.info("%s is verified", file.blob.version.key)
            return
        self._strikes[file.blob.ident] += 1
        file.forget(range(block_count(file.blob.size)))
        self._remote.distrust(file.blob.version)
        log.error(
            "%s does not match its release's blake2b; %s",
            file.blob.version.key,
            "reading it is an error from now on"
            if self.is_condemned(file.blob)
            else "it is dropped, and fetched again",
        )


def _hashed(file: BlobFile, extent: Extent, whole: hashlib.blake2b) -> bool:
    """Add *extent* of *file* to *whole*; False if it is not all here and sound."""
    piece = file.read(extent, use=False)
    if piece is None:
        return False
    whole.update(piece)
    return True
