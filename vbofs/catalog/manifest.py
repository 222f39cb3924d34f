"""A manifest: bytes of JSON in, a ``Manifest`` that cannot be wrong out.  Pure.

A manifest comes from outside and names paths and URLs, so everything it says is checked here, once:
no path leaves its release, no URL leaves the dataset's bucket and project, no document exhausts
memory.  Above this file nobody checks again.  The format is AllenSDK's (its
``brain_observatory/.../cloud_cache/manifest.py``); fields that we do not use may be missing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import semver

from ..errors import ManifestInvalid
from ..model import ObjectVersion

#: Bytes.  The real ones have 2.3 MB for 6,000 entries; this is room for fifty times as many.
MAX_DOCUMENT = 128 << 20
MAX_ENTRIES = 1_000_000
MAX_DEPTH = 32
#: Linux: NAME_MAX and PATH_MAX, less room for the mountpoint.
MAX_NAME = 255
MAX_PATH = 2048


class Origin(NamedTuple):
    """What a manifest may name: one project in one bucket, at Amazon or at *endpoint_url*."""

    bucket: str
    project: str
    endpoint_url: str | None = None


class Entry(NamedTuple):
    """One line of a manifest.  *path* is relative to the release: ``dir/name``, any depth.

    *ident* is the file_id of a data file, or the name of a table.  *digest* is hex blake2b-512.
    """

    path: str
    version: ObjectVersion
    digest: str
    ident: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a release pins.  No two entries have one path; none is a directory of another."""

    release: str
    tables: tuple[Entry, ...]
    files: tuple[Entry, ...]
    file_id_column: str

    @property
    def entries(self) -> tuple[Entry, ...]:
        return self.tables + self.files


class _File(msgspec.Struct):
    url: Annotated[str, msgspec.Meta(min_length=1, max_length=8192)]
    version_id: Annotated[str, msgspec.Meta(pattern=r"^[\x21-\x7e]{1,1024}\Z")]
    file_hash: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-fA-F]{128}\Z")]


class _Document(msgspec.Struct):
    project_name: str
    manifest_version: str
    metadata_files: dict[str, _File]
    data_files: dict[str, _File]
    metadata_file_id_column_name: str = "file_id"


def release_of(name: str, project: str) -> str | None:
    """The release that a manifest of this file name is for; None: it is no manifest's name."""
    stem = re.escape(project.rpartition("/")[2])
    match = re.fullmatch(stem + r"_project_manifest_v(\d+\.\d+\.\d+.*)\.json", name)
    if match is None or len(name) > MAX_NAME or not semver.Version.is_valid(match[1]):
        return None
    return match[1]


def parse(document: bytes, origin: Origin, release: str) -> Manifest:
    """Check *document*, which claims to be the manifest of *release*; ManifestInvalid if not."""
    try:
        if len(document) > MAX_DOCUMENT:
            raise ManifestInvalid(f"it has {len(document)} bytes; {MAX_DOCUMENT} are allowed")
        return _parse(document, origin, release)
    except ManifestInvalid as error:
        raise ManifestInvalid(f"the manifest of v{release} is left out: {error}") from error


def _parse(document: bytes, origin: Origin, release: str) -> Manifest:
    stated = _decode(document)
    if stated.manifest_version != release:
        raise ManifestInvalid(f"it says that it is for {stated.manifest_version!r}")
    if stated.project_name != origin.project.rpartition("/")[2]:
        raise ManifestInvalid(f"it says that it is of the project {stated.project_name!r}")
    if len(stated.metadata_files) + len(stated.data_files) > MAX_ENTRIES:
        raise ManifestInvalid(f"it has more than {MAX_ENTRIES} entries")
    tables = tuple(_entry(name, file, origin) for name, file in stated.metadata_files.items())
    files = tuple(_entry(name, file, origin) for name, file in stated.data_files.items())
    _check_apart([*tables, *files])
    return Manifest(release, tables, files, stated.metadata_file_id_column_name)


def _decode(document: bytes) -> _Document:
    try:
        return msgspec.json.decode(document, type=_Document)
    except msgspec.ValidationError as error:
        raise ManifestInvalid(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ManifestInvalid(f"it is not JSON: {error}") from error
    except RecursionError as error:
        raise ManifestInvalid("it is nested too deeply") from error


def _entry(ident: str, file: _File, origin: Origin) -> Entry:
    try:
        key = _key(file, origin)
        path = key.removeprefix(origin.project + "/")
        if path == key:
            raise ManifestInvalid(f"its path does not begin with {origin.project}/")
        check_path(path)
    except ManifestInvalid as error:
        raise ManifestInvalid(f"entry {ident[:80]!r}, {file.url[:300]!r}: {error}") from error
    version = ObjectVersion(origin.bucket, key, file.version_id)
    return Entry(path, version, file.file_hash.lower(), ident)


_AMAZON = r"s3(?:[.-][a-z0-9-]+)*\.amazonaws\.com(?:\.cn)?"


def _key(file: _File, origin: Origin) -> str:
    """The object key that a URL names, in any of S3's spellings of *origin*'s bucket."""
    try:
        parts = urlsplit(file.url)
        host, path = parts.netloc.lower(), unquote(parts.path, errors="strict")
    except (ValueError, UnicodeDecodeError) as error:
        raise ManifestInvalid(f"it is not a URL: {error}") from error
    _check_query(file, parts.query)
    if parts.fragment or parts.scheme not in ("https", "http", "s3"):
        raise ManifestInvalid("it is not a plain https URL")
    if _names_bucket(parts.scheme, host, origin.bucket):
        return path[1:]
    local = urlsplit(origin.endpoint_url or "").netloc.lower()
    by_path = f"/{origin.bucket}/"
    if (re.fullmatch(_AMAZON, host) or (local and host == local)) and path.startswith(by_path):
        return path.removeprefix(by_path)
    raise ManifestInvalid(f"it is not in the bucket {origin.bucket}")


def _names_bucket(scheme: str, host: str, bucket: str) -> bool:
    if scheme == "s3":
        return host == bucket
    return re.fullmatch(re.escape(bucket) + r"\." + _AMAZON, host) is not None


def _check_query(file: _File, query: str) -> None:
    if query and parse_qs(query, keep_blank_values=True) != {"versionId": [file.version_id]}:
        raise ManifestInvalid("its query is not the version_id of the entry")


def check_path(path: str) -> None:
    """ManifestInvalid unless *path* leads to somewhere under its directory, by plain names."""
    names = path.split("/")
    if len(names) > MAX_DEPTH or len(path.encode(errors="surrogatepass")) > MAX_PATH:
        raise ManifestInvalid("its path is too long or too deep")
    for name in names:
        check_name(name)


def check_name(name: str) -> None:
    """ManifestInvalid unless *name* can stand in a directory."""
    if name in ("", ".", ".."):
        raise ManifestInvalid(f"its path has the component {name!r}")
    if "\0" in name or "/" in name:
        raise ManifestInvalid("its path has a component with a NUL byte or a slash")
    try:
        long = len(name.encode()) > MAX_NAME
    except UnicodeEncodeError as error:
        raise ManifestInvalid("its path is not UTF-8") from error
    if long:
        raise ManifestInvalid(f"its path has a component of more than {MAX_NAME} bytes")


def _check_apart(entries: list[Entry]) -> None:
    """Each path once, and none a directory of another."""
    paths: set[str] = set()
    for entry in entries:
        if entry.path in paths:
            raise ManifestInvalid(f"two entries have the path {entry.path!r}")
        paths.add(entry.path)
    directories = {str(parent) for path in paths for parent in _parents(path)}
    for path in paths & directories:
        raise ManifestInvalid(f"{path!r} is a file and a directory")


def _parents(path: str) -> list[str]:
    return [str(parent) for parent in PurePosixPath(path).parents][:-1]
