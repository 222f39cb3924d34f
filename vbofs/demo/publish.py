"""Putting the sample into a bucket, as its publisher did: one release after the other, same keys.

Each file of a revision is uploaded once; its version id, as the server returned it, is what every
manifest that pins it says. A manifest is uploaded after all that it names, so a release that can
be seen is whole. Files above 8 MiB go up in parts of 8 MiB, which gives their ETags the real form.
"""

from __future__ import annotations

import json
import mmap
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from . import releases
from .releases import BUCKET, PROJECT, REGION
from .trouble import DemoUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from .sample import LocalFile, Sample, SampleRelease

PART = 8 << 20  # the publisher's part size, seen in the real ETags
UPLOADS = 4  # at once; beyond that moto, one Python process, is the limit


def publish(sample: Sample, endpoint_url: str) -> None:
    """Create the bucket at *endpoint_url* and put every release of *sample* into it.

    A bucket that has the last release's manifest already is left as it is.
    """
    publisher = _Publisher(_client(endpoint_url))
    last = sample.releases[-1]
    if publisher.has(_manifest_key(last.version)):
        return
    publisher.create_bucket()
    for release in sample.releases:
        publisher.put_release(release)


def _client(endpoint_url: str) -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise DemoUnavailable(error.name) from error
    return boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id="demo",
        aws_secret_access_key="demo",
        # moto would check every checksum in Python; the digests in the manifests are checked anyway
        config=Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            max_pool_connections=UPLOADS,
        ),
    )


def _manifest_key(version: str) -> str:
    return f"{PROJECT}/manifests/{PROJECT}_project_manifest_v{version}.json"


def _public(key: str) -> dict[str, str]:
    """Where to put *key*, for anyone to read."""
    return {"Bucket": BUCKET, "Key": key, "ACL": "public-read"}


class _Publisher:
    """One publication: what has been put so far, under which version ids."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._put: dict[Path, str] = {}

    def __repr__(self) -> str:
        return f"_Publisher({len(self._put)} files put)"

    def has(self, key: str) -> bool:
        try:
            self._client.head_object(Bucket=BUCKET, Key=key)
        except self._client.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            return False
        return True

    def create_bucket(self) -> None:
        where = {"LocationConstraint": REGION}
        # It is there when an earlier publication was cut off; what that put stays, unnamed.
        with suppress(self._client.exceptions.BucketAlreadyOwnedByYou):
            self._client.create_bucket(
                Bucket=BUCKET, CreateBucketConfiguration=where, ACL="public-read"
            )
        enabled = {"Status": "Enabled"}
        self._client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration=enabled)

    def put_release(self, release: SampleRelease) -> None:
        """Put the files that no earlier release put, then the notes, then the manifest."""
        new = [f for f in (*release.tables, *release.files) if f.local not in self._put]
        with ThreadPoolExecutor(UPLOADS) as threads:
            versions = threads.map(self._put_file, new)
            self._put.update(zip((file.local for file in new), versions, strict=True))
        notes = releases.release_notes(release.version).encode()
        self._put_object(f"{PROJECT}/release_notes.txt", notes)
        manifest = json.dumps(self._manifest(release), indent=2).encode()
        self._put_object(_manifest_key(release.version), manifest)

    def _put_object(self, key: str, body: bytes) -> str:
        answer = self._client.put_object(**_public(key), Body=body)
        return str(answer["VersionId"])

    def _put_file(self, file: LocalFile) -> str:
        key = f"{PROJECT}/{file.path}"
        if file.size <= PART:
            return self._put_object(key, file.local.read_bytes())
        return self._put_in_parts(key, file.local)

    def _put_in_parts(self, key: str, local: Path) -> str:
        begun = self._client.create_multipart_upload(**_public(key))
        upload = {"Bucket": BUCKET, "Key": key, "UploadId": begun["UploadId"]}
        parts = []
        with local.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as body:
            for number, start in enumerate(range(0, len(body), PART), start=1):
                part = body[start : start + PART]
                answer = self._client.upload_part(**upload, PartNumber=number, Body=part)
                parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        answer = self._client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        return str(answer["VersionId"])

    # --- the manifest, in the publisher's format

    def _manifest(self, release: SampleRelease) -> dict[str, Any]:
        sdk = {
            "name": "AllenSDK",
            "version": releases.SDK[release.version],
            "comment": "AllenSDK version used to produce data NWB and metadata CSV files for this"
            " release",
        }
        return {
            "project_name": PROJECT,
            "manifest_version": release.version,
            "metadata_file_id_column_name": "file_id",
            "data_pipeline": [sdk],
            "metadata_files": {table.ident: self._entry(table) for table in release.tables},
            "data_files": {file.ident: self._entry(file) for file in release.files},
        }

    def _entry(self, file: LocalFile) -> dict[str, str]:
        return {
            "url": f"https://{BUCKET}.s3.{REGION}.amazonaws.com/{PROJECT}/{file.path}",
            "version_id": self._put[file.local],
            "file_hash": file.digest,
        }
