"""A record: which bytes of which object versions were read, as a document that travels.  Pure.

It is written by a daemon that was asked to, and read on other machines: to fetch the same bytes
there, and to say in a paper what an analysis stood on.  So it comes from outside, and everything in
it is checked here, once, as a manifest is: a file's key lies in the project that the record names,
its path leaves no directory, its extents lie in it, and none of it exhausts memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Annotated

import msgspec
import semver

from ..config import BUCKET_NAME, PROJECT_NAME, REGION_NAME
from ..errors import ManifestInvalid, RecordInvalid
from ..model import Blob, Extent, ObjectVersion
from .manifest import MAX_ENTRIES, check_path

FORM = 1
#: Bytes.  A record of every file of a release, with hundreds of extents in each, has a tenth.
MAX_DOCUMENT = 256 << 20
#: Of one file.  A recorder merges those that are nearest to each other before there are more.
MAX_EXTENTS = 4096
#: Bytes: S3's largest object is 5 TiB; this leaves room for others.
MAX_SIZE = 1 << 50

Word = Annotated[str, msgspec.Meta(pattern=r"^[\x21-\x7e]{1,1024}\Z")]
Size = Annotated[int, msgspec.Meta(ge=0, le=MAX_SIZE)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class RecordedFile(msgspec.Struct, frozen=True):
    """One object version of which something was read.

    *path* is its path in *releases*, those that pin it (none for a file outside the releases);
    *blake2b* is the hash that they publish, empty where none is; *extents* are the bytes that were
    read: sorted, apart from each other, and inside *size*.
    """

    path: Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
    releases: Annotated[list[str], msgspec.Meta(max_length=1000)]
    key: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    version_id: Word
    etag: Annotated[str, msgspec.Meta(pattern=r"^[\x21-\x7e]{0,1024}\Z")]
    blake2b: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{128})?\Z")]
    size: Size
    extents: Annotated[list[tuple[Size, Size]], msgspec.Meta(max_length=MAX_EXTENTS)]

    @property
    def bytes_read(self) -> int:
        return sum(stop - start for start, stop in self.extents)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What was read between *began* and *ended*, through vbofs version *vbofs*."""

    vbofs_record: int = FORM
    dataset: Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f]{1,255}\Z")]
    bucket: str
    project: Annotated[str, msgspec.Meta(max_length=1024)]
    region: str
    vbofs: Annotated[str, msgspec.Meta(pattern=r"^[\x21-\x7e]{1,100}\Z")]
    began: Moment
    ended: Moment
    files: Annotated[list[RecordedFile], msgspec.Meta(max_length=MAX_ENTRIES)]

    def blob(self, file: RecordedFile) -> Blob:
        """The bytes of one of ``files``; when it was modified no record says, so that is 0."""
        version = ObjectVersion(self.bucket, file.key, file.version_id)
        return Blob(version, file.size, file.etag, 0, file.blake2b)

    @property
    def releases(self) -> list[str]:
        """Every release that some file lies in, oldest first."""
        found = {release for file in self.files for release in file.releases}
        return sorted(found, key=semver.Version.parse)

    @property
    def bytes_read(self) -> int:
        return sum(file.bytes_read for file in self.files)


def recorded(
    path: str, releases: Sequence[str], blob: Blob, extents: Sequence[Extent]
) -> RecordedFile:
    """The line of a record that says that *extents* of *blob* were read."""
    return RecordedFile(
        path=path,
        releases=list(releases),
        key=blob.version.key,
        version_id=blob.version.version_id,
        etag=blob.etag,
        blake2b=blob.digest,
        size=blob.size,
        extents=[(extent.start, extent.stop) for extent in extents],
    )


def encode(record: Record) -> bytes:
    """The document: JSON, a line for each file, files by path; times in UTC."""
    moments = (record.began.astimezone(UTC), record.ended.astimezone(UTC))
    head = msgspec.structs.replace(record, began=moments[0], ended=moments[1], files=[])
    opening = msgspec.json.format(msgspec.json.encode(head), indent=2).removesuffix(b"[]\n}")
    ordered = sorted(record.files, key=lambda file: (file.path, file.version_id))
    lines = b",\n    ".join(msgspec.json.encode(file) for file in ordered)
    return opening + (b"[\n    " + lines + b"\n  ]\n}\n" if lines else b"[]\n}\n")


def parse(document: bytes) -> Record:
    """Check *document*, which may be anything; RecordInvalid, in one line, if it is no record."""
    if len(document) > MAX_DOCUMENT:
        raise RecordInvalid(f"it has {len(document)} bytes; {MAX_DOCUMENT} are allowed")
    record = _decode(document)
    if record.vbofs_record != FORM:
        raise RecordInvalid(
            f"it is a record in form {record.vbofs_record}; this vbofs reads form {FORM}"
        )
    for label, text, pattern in (
        ("bucket", record.bucket, BUCKET_NAME),
        ("project", record.project, PROJECT_NAME),
        ("region", record.region, REGION_NAME),
    ):
        if not pattern.fullmatch(text):
            raise RecordInvalid(f"its {label} is {text[:80]!r}: that is no {label}'s name")
    _check_files(record)
    return record


def _decode(document: bytes) -> Record:
    try:
        return msgspec.json.decode(document, type=Record)
    except msgspec.ValidationError as error:
        raise RecordInvalid(f"it is not a record of reads: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordInvalid(f"it is not JSON: {error}") from error
    except RecursionError as error:
        raise RecordInvalid("it is nested too deeply") from error


def _check_files(record: Record) -> None:
    seen: set[tuple[str, str]] = set()
    for number, file in enumerate(record.files):
        try:
            _check_file(file, record.project)
            if (file.key, file.version_id) in seen:
                raise RecordInvalid("it is there twice")
        except (RecordInvalid, ManifestInvalid) as error:
            raise RecordInvalid(f"file {number}, {file.path[:300]!r}: {error}") from error
        seen.add((file.key, file.version_id))


def _check_file(file: RecordedFile, project: str) -> None:
    if file.key != f"{project}/{file.path}":
        raise RecordInvalid(f"its key is not {project}/ and its path")
    check_path(file.path)
    for release in file.releases:
        if len(release) > 255 or not semver.Version.is_valid(release):
            raise RecordInvalid(f"{release[:80]!r} is not a release")
    if any(not start < stop <= file.size for start, stop in file.extents):
        raise RecordInvalid(f"it has extents that are empty or outside its {file.size} bytes")
    if any(later[0] < earlier[1] for earlier, later in pairwise(file.extents)):
        raise RecordInvalid("its extents are not sorted, or overlap")
