"""A dataset of a few small files on the programmable S3, published release by release."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from tests.s3 import ProgrammableS3, Version, multipart_etag

BUCKET = "visual-behavior-ophys-data"
PROJECT = "visual-behavior-ophys"
URL = f"https://{BUCKET}.s3.us-west-2.amazonaws.com"
MANIFESTS = f"{PROJECT}/manifests/{PROJECT}_project_manifest"
#: 2023-11-10, whole seconds, as S3 has it.
DAY = 1699583400.0
#: Bytes; the publisher's multipart unit.
PART = 8 << 20


class Published:
    """What has been put on *s3*, and the truth about it; in another *dataset*, if need be."""

    def __init__(self, s3: ProgrammableS3, dataset: str = PROJECT) -> None:
        self.s3 = s3
        self.project, self.bucket = dataset, f"{dataset}-data"
        self.url = s3.url
        self._pins: dict[str, dict[str, Version]] = {}

    def release(self, release: str, files: Mapping[str, int | bytes | Version]) -> None:
        """Publish *files* by path: bytes, a number of made-up bytes, or a version put before."""
        pins = self._pins[release] = {p: self._put(p, body) for p, body in files.items()}
        self.manifest(release, self.document(release, pins))

    def document(self, release: str, pins: Mapping[str, Version]) -> dict[str, Any]:
        """A manifest that is right."""
        tables = {p: v for p, v in pins.items() if p.endswith(".csv")}
        others = {p: v for p, v in pins.items() if p not in tables}
        return {
            "project_name": self.project,
            "manifest_version": release,
            "metadata_file_id_column_name": "file_id",
            "data_pipeline": [{"name": "AllenSDK", "version": "2.16.0", "comment": ""}],
            "metadata_files": {_table(p): entry(v, self.bucket) for p, v in tables.items()},
            "data_files": {str(n): entry(v, self.bucket) for n, v in enumerate(others.values())},
        }

    def manifest(self, release: str, document: dict[str, Any] | bytes) -> None:
        """Put a manifest, whatever it says."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        name = f"{self.project}/manifests/{self.project}_project_manifest_v{release}.json"
        self.s3.put(self.bucket, name, body, last_modified=DAY)

    def _put(self, path: str, body: int | bytes | Version) -> Version:
        if isinstance(body, Version):
            return body
        key = f"{self.project}/{path}"
        if isinstance(body, bytes):
            version_id = self.s3.put(self.bucket, key, body, last_modified=DAY)
        else:
            version_id = self.s3.put_virtual(self.bucket, key, body, last_modified=DAY)
            whole = self.s3.version(self.bucket, key, version_id)
            etag = multipart_etag(whole.read(at, at + PART) for at in range(0, body, PART))
            self.s3.put_virtual(self.bucket, key, body, version_id, last_modified=DAY, etag=etag)
        return self.s3.version(self.bucket, key, version_id)

    def pin(self, release: str, path: str) -> Version:
        """The version that *release* has at *path*; its ``read`` is the truth."""
        return self._pins[release][path]

    def truth(self, release: str, path: str) -> bytes:
        return self.pin(release, path).read()

    def ranges(self, path: str) -> list[tuple[int, int]]:
        """The ranges of the file at *path* that were asked for, in order of arrival."""
        key = f"{self.project}/{path}"
        asked = [one for one in self.s3.requests if one.operation == "GET" and one.key == key]
        return [one.range for one in asked if one.range]


def _table(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".csv")


def entry(version: Version, bucket: str = BUCKET) -> dict[str, str]:
    return {
        "url": f"https://{bucket}.s3.us-west-2.amazonaws.com/{quote(version.key)}",
        "version_id": version.version_id,
        "file_hash": version.digest(),
    }
