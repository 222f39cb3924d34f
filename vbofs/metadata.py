"""The metadata tables of a release, read as any file is: through the block store, by blocks that
are cached, shared with readers of the mount, and there offline.

A table is read whole and compared with its release's digest before anybody makes anything of it.
Which tables name files is found in their first lines, so that a table of 132 MB which names none
costs one block.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from .blocks.fetcher import Fetcher
from .blocks.reader import BlobReader
from .blocks.store import BlockStore
from .catalog import rows
from .dataset import Contents, Dataset
from .errors import BlockUnavailable, TableInvalid, UnknownColumn
from .model import Blob

#: Bytes asked at once: a part, as the largest request has it.
STEP = 8 << 20


class Metadata:
    """The tables of *dataset*'s releases, their bytes through *store* and *fetcher*."""

    def __init__(self, dataset: Dataset, store: BlockStore, fetcher: Fetcher) -> None:
        self.dataset = dataset
        self._store = store
        self._fetcher = fetcher

    def __repr__(self) -> str:
        return f"<Metadata of {self.dataset!r}>"

    def release(self, name: str) -> str:
        """*name* without its v; the highest release shown for ``latest`` and ""."""
        return self.dataset.latest if name in ("", "latest") else name.removeprefix("v")

    async def contents(self, release: str) -> Contents:
        """What *release* holds.  UnknownRelease, or a RemoteError."""
        return await self.dataset.contents(self.release(release))

    async def table(self, contents: Contents, name: str) -> bytes:
        """All bytes of a table.  UnknownColumn if there is none of that *name*, TableInvalid if it
        is too large, BlockUnavailable if it cannot be had as its release pins it."""
        blob = _blob(contents, name)
        rows.check_size(name, blob.size)
        reader = BlobReader(blob, self._store, self._fetcher)
        content = bytearray()
        try:
            while len(content) < blob.size:
                content += await reader.read(len(content), STEP)
        finally:
            reader.close()
        if blob.digest and hashlib.blake2b(content).hexdigest() != blob.digest:
            raise BlockUnavailable(f"{blob.version.key}: its bytes are not those of its release")
        return bytes(content)

    async def columns(self, contents: Contents, name: str) -> list[str]:
        """The names of a table's columns, at the cost of its first block."""
        reader = BlobReader(_blob(contents, name), self._store, self._fetcher)
        try:
            return rows.columns(name, bytes(await reader.read(0, rows.MAX_HEADER + 1)))
        finally:
            reader.close()

    async def naming_files(self, contents: Contents) -> Mapping[str, bytes]:
        """The tables that have a column of file ids, by name; a table that is none is no such.

        TableInvalid if there are tables and all of them are bad."""
        found: dict[str, bytes] = {}
        flaw: TableInvalid | None = None
        for name in contents.tables:
            try:
                if contents.ident_column in await self.columns(contents, name):
                    found[name] = await self.table(contents, name)
            except TableInvalid as error:
                flaw = error
        if flaw is not None and not found:
            raise flaw
        return found


def _blob(contents: Contents, name: str) -> Blob:
    path = contents.tables.get(name)
    blob = next((blob for known, blob in contents.files if known == path), None)
    if blob is None:
        raise UnknownColumn(
            f"no table {name!r} in v{contents.release};"
            f" there are {', '.join(contents.tables) or 'none'}"
        )
    return blob
