"""Releases from lists of real URLs: virtual objects, and the manifests that pin them.

A list is a gzipped text of `https://<bucket>.s3.<region>.amazonaws.com/<key>?versionId=<id>`, one
line per file of a release; its name tells the release (`vbo_v0.1-0.3` is 0.1.0, `vbo_v1.0.1` is
1.0.1). Sizes follow from key and version id, about as large as the real ones.
"""

from __future__ import annotations

import gzip
import json
import re
from calendar import timegm
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from tests.s3.buckets import PART, Version, multipart_etag, plausible_etag, simple_etag

if TYPE_CHECKING:
    from tests.s3.server import ProgrammableS3

_URL = re.compile(
    r"(https://(?P<bucket>.+?)\.s3[.-](?P<region>[a-z0-9-]+)\.amazonaws\.com/(?P<key>[^?]+))"
    r"\?versionId=(?P<version_id>\S+)"
)
_LIST = re.compile(r"_v(\d+)\.(\d+)(?:\.(\d+))?[^/]*\.urls\.txt\.gz")

# Days the releases came out; one that is not here came a month after the last of them.
_DAYS = {
    "0.1.0": (2021, 3, 25),
    "0.2.0": (2021, 4, 16),
    "0.3.0": (2021, 6, 10),
    "1.0.0": (2021, 8, 12),
    "1.0.1": (2021, 9, 3),
    "1.1.0": (2023, 11, 10),
}

# Mean sizes in bytes by directory: 3021 sessions are 437.6 GB, 1165 experiments 563.2 GB.
_MEANS = {"behavior_sessions": 145_000_000, "behavior_ophys_experiments": 483_000_000}
_TABLE_SIZE = 1_500_000


class Line(NamedTuple):
    """One line of a list."""

    url: str
    bucket: str
    region: str
    key: str
    version_id: str

    @property
    def stem(self) -> str:
        return PurePosixPath(self.key).stem

    @property
    def is_table(self) -> bool:
        return self.key.endswith(".csv")


@dataclass
class Catalogue:
    """What was loaded."""

    bucket: str = ""
    project: str = ""
    releases: dict[str, list[Line]] = field(default_factory=dict)
    manifests: dict[str, str] = field(default_factory=dict)  # release: key of its manifest
    versions: int = 0  # object versions, manifests not counted
    size: int = 0  # bytes of all of them


def release_lists(folder: Path | str) -> dict[str, Path]:
    """The lists in *folder*, by release, oldest first."""
    found = {}
    for path in Path(folder).iterdir():
        if match := _LIST.search(path.name):
            found[tuple(int(part or 0) for part in match.groups())] = path
    return {".".join(map(str, release)): found[release] for release in sorted(found)}


def load_catalogue(
    s3: ProgrammableS3,
    lists: Path | str | Mapping[str, Path],
    *,
    scale: float = 1,
    exact: bool = False,
    tables: Path | str | None = None,
) -> Catalogue:
    """Put the releases of *lists*, a folder or `{release: path}`, into their bucket.

    *scale* multiplies the sizes of NWB files. With *exact*, hashes and ETags are those of the
    bytes: all of them are read, so scale down. *tables* is a folder whose `<name>.csv` become the
    tables' bytes. Manifests of virtual files that are not exact carry hashes that vouch for
    nothing, but are the same in every run.
    """
    if not isinstance(lists, Mapping):
        lists = release_lists(lists)
    loaded, hashes = Catalogue(), _Hashes(exact)
    for release, path in lists.items():
        lines = read_list(path)
        loaded.bucket, loaded.project = lines[0].bucket, lines[0].key.partition("/")[0]
        loaded.releases[release] = lines
        bucket = s3.create_bucket(loaded.bucket, region=lines[0].region)
        day = _day(release)
        for line in lines:
            if bucket.find(line.key, line.version_id) is None:
                version = _version(line, day=day, scale=scale, exact=exact, tables=tables)
                bucket.put(version)
                hashes.add(line, version)
                loaded.versions, loaded.size = loaded.versions + 1, loaded.size + version.size
        name = f"{loaded.project}_project_manifest_v{release}.json"
        key = loaded.manifests[release] = f"{loaded.project}/manifests/{name}"
        s3.put(loaded.bucket, key, _manifest(release, lines, hashes=hashes), last_modified=day)
    return loaded


def read_list(path: Path | str) -> list[Line]:
    """The lines of one list; a line that is no such URL is an error."""
    lines = []
    for text in gzip.decompress(Path(path).read_bytes()).decode().split():
        match = _URL.fullmatch(text)
        if match is None:
            raise ValueError(f"{path}: {text}")
        url, bucket, region, key, version_id = match.groups()
        lines.append(Line(url, bucket, region, unquote(key), version_id))
    return lines


class _Hashes:
    """file_hash of each line: of the bytes where they are known, of the name where they are not."""

    def __init__(self, exact: bool) -> None:
        self._exact = exact
        self._known: dict[tuple[str, str], str] = {}

    def add(self, line: Line, version: Version) -> None:
        if self._exact or version.stored is not None:
            known = version.digest()
        else:
            known = blake2b(f"{line.key}?{line.version_id}".encode()).hexdigest()
        self._known[line.key, line.version_id] = known

    def __getitem__(self, line: Line) -> str:
        return self._known[line.key, line.version_id]


def _version(
    line: Line, *, day: float, scale: float, exact: bool, tables: Path | str | None
) -> Version:
    if tables is not None and (path := Path(tables) / f"{line.stem}.csv").exists():
        body = path.read_bytes()
        etag = simple_etag(body)
        return Version(line.key, line.version_id, len(body), etag, day, body)
    size = _size(line, scale)
    version = Version(line.key, line.version_id, size, "", day)
    if exact:
        parts = (version.read(at, at + PART) for at in range(0, size, PART))
        etag = multipart_etag(parts)
    else:
        etag = plausible_etag(line.key, line.version_id, size)
    return Version(line.key, line.version_id, size, etag, day)


def _size(line: Line, scale: float) -> int:
    """Between 0.4 and 1.6 times its directory's mean, by a hash; at least one byte."""
    digest = blake2b(f"{line.key}?{line.version_id}".encode(), digest_size=4, person=b"size")
    share = 0.4 + 1.2 * int.from_bytes(digest.digest(), "big") / (1 << 32)
    if line.is_table:
        return int(_TABLE_SIZE * share)
    mean = _MEANS.get(PurePosixPath(line.key).parent.name, _MEANS["behavior_sessions"])
    return max(1, int(mean * share * scale))


def _manifest(release: str, lines: list[Line], *, hashes: _Hashes) -> bytes:
    """The manifest as the publisher writes it: file ids like LIMS's until 1.1, then small."""
    first = 0 if release >= "1.1" else 1_085_400_000
    files = [line for line in lines if not line.is_table]
    document = {
        "project_name": lines[0].key.partition("/")[0],
        "manifest_version": release,
        "data_pipeline": [
            {
                "name": "AllenSDK",
                "version": "2.16.0",
                "comment": "AllenSDK version used to produce data NWB and metadata CSV files",
            }
        ],
        "metadata_file_id_column_name": "file_id",
        "metadata_files": {
            line.stem: _entry(line, hashes[line]) for line in lines if line.is_table
        },
        "data_files": {
            str(first + place): _entry(line, hashes[line]) for place, line in enumerate(files)
        },
    }
    return json.dumps(document, indent=2, sort_keys=True).encode()


def _entry(line: Line, file_hash: str) -> dict[str, str]:
    return {"url": line.url, "version_id": line.version_id, "file_hash": file_hash}


def _day(release: str) -> float:
    year, month, day = _DAYS.get(release, (2023, 12, 10))
    return float(timegm((year, month, day, 2, 30, 0)))
