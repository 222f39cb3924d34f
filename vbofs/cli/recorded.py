"""What a record of reads says, as wants: ``vbofs prefetch --from-record``.

A record comes from outside.  It chooses among what this dataset's own releases hold, by object
version, and nothing else that it says of a file is used: not its size, its hash, nor its bucket.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import TYPE_CHECKING

from ..errors import NotInDataset, Offline, UnknownRelease
from ..model import Blob, Extent, ObjectVersion

if TYPE_CHECKING:
    from ..blocks.prefetch import Want
    from ..catalog.record import Record
    from ..daemon import Floors


async def wants_of(floors: Floors, record: Record, among: Set[str] | None = None) -> list[Want]:
    """The bytes that *record* names, of the blobs *among* those of that ident (None: of all), and
    the tables of their releases: whoever went through a view, or asked ``vbofs find``, read them by
    the daemon or a command, which no record has.  NotInDataset if a file of it is in no release
    here, or none is among those meant."""
    from ..blocks.prefetch import Want

    known = await _known(floors, record)
    wants: dict[str, Want] = {}
    releases: dict[str, None] = {}
    for file in record.files:
        found = known.get(ObjectVersion(record.bucket, file.key, file.version_id))
        if found is None:
            raise NotInDataset(
                f"{file.path} as recorded is in no release of this dataset that is here;"
                f" the record is of s3://{record.bucket}/{record.project}"
                f" ({', '.join('v' + r for r in file.releases) or 'no release'})"
            )
        name, blob = found
        if among is None or blob.ident in among:
            extents = tuple(Extent(start, min(stop, blob.size)) for start, stop in file.extents)
            whole = extents == (Extent(0, blob.size),)
            wants[blob.ident] = Want(name, blob, None if whole else extents)
            releases |= dict.fromkeys(file.releases)
    if record.files and not wants:
        raise NotInDataset("nothing of the record is among the files that are named")
    for want in await _tables(floors, releases):
        wants[want.blob.ident] = want
    return list(wants.values())


async def _tables(floors: Floors, releases: Iterable[str]) -> list[Want]:
    """The tables that views are made of, whole; of larger ones the line that names the columns."""
    from ..blocks.prefetch import Want
    from ..catalog.rows import MAX_HEADER
    from ..metadata import LARGEST_VIEWED

    wants = []
    for release in releases:
        try:
            contents = await floors.dataset.contents(release)
        except (UnknownRelease, Offline):
            continue
        tables = set(contents.tables.values())
        for path, blob in contents.files:
            if path in tables:
                head = (Extent(0, MAX_HEADER + 1),) if blob.size > LARGEST_VIEWED else None
                wants.append(Want(f"v{release}/{path}", blob, head))
    return wants


async def _known(floors: Floors, record: Record) -> dict[ObjectVersion, tuple[str, Blob]]:
    """Name and blob of each version in the releases that *record* names, and outside of them."""
    listing = floors.dataset.listing
    known = {d.version: (f"v/{d.name}", d.blob) for d in (*listing.root, *listing.manifests)}
    for release in record.releases:
        try:
            contents = await floors.dataset.contents(release)
        except (UnknownRelease, Offline):
            continue  # Another release may have the same versions.
        known |= {b.version: (f"v{release}/{path}", b) for path, b in contents.files}
    return known
