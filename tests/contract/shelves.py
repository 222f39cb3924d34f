"""The same bucket behind every object store: a test puts objects on a shelf and asks a store."""

from __future__ import annotations

from contextlib import contextmanager

import boto3
from botocore.config import Config
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from tests.s3 import ProgrammableS3
from vbofs import config
from vbofs.model import Blob, ObjectFacts, ObjectVersion
from vbofs.remote.memory import MemoryObjectStore
from vbofs.remote.s3 import S3ObjectStore

BUCKET = "contract-bucket"
REGION = "us-west-2"


def settings_for(url: str, bucket: str = BUCKET, **options: object) -> config.Settings:
    given = {"dataset": "any", "bucket": bucket, "project": "p", "region": REGION, **options}
    return config.load({"endpoint_url": url, **given}, environ={})


class MemoryShelf:
    """The store is the shelf."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Remove every object."""
        self.store = MemoryObjectStore(BUCKET)
        self.put = self.store.put

    def put_all(self, keys: list[str]) -> None:
        """Put an empty object under each of many *keys*."""
        for key in keys:
            self.put(key, b"")

    def close(self) -> None:
        pass


class ProgrammableShelf:
    """Objects on our own server."""

    def __init__(self, server: ProgrammableS3, bucket: str = BUCKET, **options: object) -> None:
        self.server = server
        self.bucket = bucket
        self.clear()
        self.store = S3ObjectStore(settings_for(server.url, bucket, **options))

    def put(self, key: str, content: bytes) -> Blob:
        version_id = self.server.put(self.bucket, key, content)
        found = self.server.version(self.bucket, key, version_id)
        facts = ObjectFacts(found.size, found.etag.strip('"'), int(found.last_modified))
        return Blob(ObjectVersion(self.bucket, key, version_id), *facts)

    def put_all(self, keys: list[str]) -> None:
        for key in keys:
            self.server.put(self.bucket, key, b"")

    def clear(self) -> None:
        self.server.buckets.pop(self.bucket, None)
        self.server.create_bucket(self.bucket)

    def close(self) -> None:
        self.store.close()


class MotoShelf:
    """Objects that boto3 has put into moto's server."""

    def __init__(self, url: str) -> None:
        self._client = boto3.client(
            "s3",
            endpoint_url=url,
            region_name=REGION,
            aws_access_key_id="any",
            aws_secret_access_key="any",
            config=Config(s3={"addressing_style": "path"}, max_pool_connections=16),
        )
        self.store = S3ObjectStore(settings_for(url))
        self._backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]

    def clear(self) -> None:
        self._backend.reset()
        place = {"LocationConstraint": REGION}
        self._client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
        versioning = {"Status": "Enabled"}
        self._client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration=versioning)

    def put(self, key: str, content: bytes) -> Blob:
        put = self._client.put_object(Bucket=BUCKET, Key=key, Body=content, ACL="public-read")
        head = self._client.head_object(Bucket=BUCKET, Key=key)
        mtime = int(head["LastModified"].timestamp())
        facts = ObjectFacts(len(content), put["ETag"].strip('"'), mtime)
        return Blob(ObjectVersion(BUCKET, key, put["VersionId"]), *facts)

    def put_all(self, keys: list[str]) -> None:
        # Not through HTTP: a thousand requests take moto ten seconds, and it lives in our process.
        for key in keys:
            self._backend.put_object(BUCKET, key, b"")

    def close(self) -> None:
        self.store.close()
        self._client.close()


@contextmanager
def moto_server():
    """The URL of a moto server."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def programmable_shelf():
    """The shelf of a programmable server that lives as long."""
    with ProgrammableS3() as server:
        made = ProgrammableShelf(server)
        yield made
        made.close()
