"""What a record of reads says, as wants: ``vbofs prefetch --from-record``.

A record comes from outside.  It chooses among what this dataset's own releases hold, by object
version, and nothing else that it says of a file is used: not its size, its hash, nor its bucket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import NotInDataset, Offline, UnknownRelease
from ..model import Blob, Extent, ObjectVersion

if TYPE_CHECKING:
    from ..blocks.prefetch import Want
    from ..catalog.record import Record
    from ..daemon import Floors


async def wants_of(floors: Floors, document: bytes) -> list[Want]:
    """The bytes that *document* records.  RecordInvalid, or NotInDataset if a file of it is in
    no release here."""
    from ..blocks.prefetch import Want
    from ..catalog.record import parse

    record = parse(document)
    known = await _known(floors, record)
    wants = []
    for file in record.files:
        found = known.get(ObjectVersion(record.bucket, file.key, file.version_id))
        if found is None:
            raise NotInDataset(
                f"{file.path} as recorded is in no release of this dataset that is here;"
                f" the record is of s3://{record.bucket}/{record.project}"
                f" ({', '.join('v' + r for r in file.releases) or 'no release'})"
            )
        name, blob = found
        extents = tuple(Extent(start, min(stop, blob.size)) for start, stop in file.extents)
        whole = extents == (Extent(0, blob.size),)
        wants.append(Want(name, blob, None if whole else extents))
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
