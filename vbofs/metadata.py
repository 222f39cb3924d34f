"""The metadata tables of a release, read as any file is: through the block store, by blocks that
are cached, shared with readers of the mount, and there offline.

A table is read whole and compared with its release's digest before anybody makes anything of it.
Which tables name files is found in their first lines, so that a table of 132 MB which names none
costs one block.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import trio

from .blocks.fetcher import Fetcher
from .blocks.reader import BlobReader
from .blocks.store import BlockStore
from .catalog import rows, views
from .catalog.query import suggestion
from .dataset import Contents, Dataset
from .errors import (
    BlockUnavailable,
    TableInvalid,
    UnknownColumn,
    UnknownRelease,
    VbofsError,
    WrongResponse,
)
from .model import Blob

if TYPE_CHECKING:
    from .catalog.tables import Files

log = logging.getLogger(__name__)

#: Bytes of a table of which a mount makes views: twenty times the published ones.  Larger ones cost
#: the daemon memory; ``vbofs find`` reads them in a process of its own.
LARGEST_VIEWED = 32 << 20
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
        """*name* without its v; the highest release shown for ``latest`` and "".  UnknownRelease,
        if none of that name is published."""
        bare = name.removeprefix("v")
        if name in ("", "latest"):
            return self.dataset.latest
        if bare not in self.dataset.published:
            raise UnknownRelease(
                f"no release {bare}; there are {', '.join(self.dataset.published)}"
            )
        return bare

    async def contents(self, release: str) -> Contents:
        """What *release* holds.  UnknownRelease, or a RemoteError."""
        return await self.dataset.contents(self.release(release))

    async def table(self, contents: Contents, name: str) -> bytes:
        """All bytes of a table.  UnknownColumn if there is none of that *name*, TableInvalid if it
        is too large, a RemoteError if it cannot be had as its release pins it."""
        blob = _blob(contents, name)
        rows.check_size(name, blob.size)
        content = await self._read(blob, blob.size)
        if blob.digest and hashlib.blake2b(content).hexdigest() != blob.digest:
            raise WrongResponse(f"{blob.version.key}: its bytes are not those of its release")
        return content

    async def columns(self, contents: Contents, name: str) -> list[str]:
        """The names of a table's columns, at the cost of its first block."""
        beginning = await self._read(_blob(contents, name), rows.MAX_HEADER + 1)
        return rows.columns(name, beginning)

    async def _read(self, blob: Blob, size: int) -> bytes:
        """The first *size* bytes.  What stands in the way is raised as it is: whoever asks has no
        descriptor that only knows of EIO."""
        reader = BlobReader(blob, self._store, self._fetcher)
        content = bytearray()
        try:
            while len(content) < min(size, blob.size):
                content += await reader.read(len(content), min(STEP, size - len(content)))
        except BlockUnavailable as error:
            if isinstance(error.__cause__, VbofsError):
                raise error.__cause__ from error
            raise
        finally:
            reader.close()
        return bytes(content)

    async def naming_files(
        self, contents: Contents, *, largest: int = rows.MAX_TABLE
    ) -> Mapping[str, bytes]:
        """The tables that have a column of file ids, by name.

        One that is bad, or has more than *largest* bytes, is left out and said to be; TableInvalid
        if there is no other."""
        found: dict[str, bytes] = {}
        flaws: list[TableInvalid] = []
        for name in contents.tables:
            try:
                rows.check_size(name, _blob(contents, name).size, largest)
                if contents.ident_column in await self.columns(contents, name):
                    found[name] = await self.table(contents, name)
            except TableInvalid as error:
                flaws.append(error)
        if flaws and not found:
            raise flaws[0]
        for flaw in flaws:
            log.warning("v%s: %s; it is left out", contents.release, flaw)
        return found

    async def files(self, release: str, table: str = "") -> Files:
        """The files of *release* as its tables describe them; *table* is read besides, to be asked.

        Imports pandas: half a second and 46 MB, for commands and programs and not for a mount.
        """
        from .catalog import tables

        contents = await self.contents(release)
        raw = dict(await self.naming_files(contents))
        if table and table not in raw:
            raw[table] = await self.table(contents, table)
        frames = {name: tables.frame(name, content) for name, content in raw.items()}
        return tables.Files(
            frames, contents.idents, contents.ident_column, release=contents.release
        )

    async def layout(self, release: str, view: str) -> views.Layout:
        """What *view* shows of *release*.  TableInvalid if no table can be read, or what reading
        raises.  Made in a thread, for it takes the processor a tenth of a second."""
        contents = await self.contents(release)
        tables = await self.naming_files(contents, largest=LARGEST_VIEWED)
        return await trio.to_thread.run_sync(
            views.layout, view, tables, contents.idents, contents.ident_column
        )


def _blob(contents: Contents, name: str) -> Blob:
    path = contents.tables.get(name)
    blob = next((blob for known, blob in contents.files if known == path), None)
    if blob is None:
        raise UnknownColumn(
            f"no table {name!r} in v{contents.release}{suggestion(name, contents.tables)};"
            f" there are {', '.join(contents.tables) or 'none'}"
        )
    return blob
