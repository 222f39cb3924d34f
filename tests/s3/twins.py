"""The same bucket twice, in moto's server and in ours, and one question put to both.

moto decides the version ids; ours takes them over, so that whole answers can be compared. What is
left out of the comparison is what two servers cannot agree on: times, ids of requests, tokens.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import botocore
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from tests.s3.buckets import Version
from tests.s3.server import ProgrammableS3

BUCKET = "twin.vbo"
KEYS = ("a.txt", "a/1", "a/2", "a/b/3", "b ü+&<.txt", "gone", "a-b", "é", "z/1")
_REGION = "us-west-2"
_INCOMPARABLE = {
    "ChecksumAlgorithm",
    "EncodingType",
    "HostId",
    "LastModified",
    "NextContinuationToken",
    "Owner",
    "RequestId",
    "ResponseMetadata",
    "ServerSideEncryption",
}


def anonymous(url: str) -> Any:
    """boto3's client for *url*, as vbofs has it: unsigned, path style, one attempt."""
    config = Config(
        signature_version=botocore.UNSIGNED,
        s3={"addressing_style": "path"},
        retries={"total_max_attempts": 1},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.client("s3", endpoint_url=url, region_name=_REGION, config=config)


class Twins:
    """Two clients of two servers that hold the same."""

    def __init__(self, theirs: Any, ours: Any, s3: ProgrammableS3) -> None:
        self.theirs, self.ours, self.s3 = theirs, ours, s3

    def ask(self, operation: str, **words: Any) -> tuple[Any, Any]:
        """The comparable answers of both, moto's first."""
        words = {"Bucket": BUCKET, **words}
        return tuple(_answer(one, operation, words) for one in (self.theirs, self.ours))

    def pages(self, operation: str, **words: Any) -> tuple[Any, Any]:
        """Every page of a listing, of both."""
        paginators = (one.get_paginator(operation) for one in (self.theirs, self.ours))
        words = {"Bucket": BUCKET, **words}
        return tuple([_comparable(page) for page in one.paginate(**words)] for one in paginators)  # type: ignore[return-value]


@contextmanager
def twins() -> Iterator[Twins]:
    """Both servers, filled alike."""
    moto = ThreadedMotoServer(port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    url = f"http://{host}:{port}"
    with ProgrammableS3() as s3:
        theirs, ours = anonymous(url), anonymous(s3.url)
        try:
            _fill(url, s3)
            yield Twins(theirs, ours, s3)
        finally:
            theirs.close()
            ours.close()
            moto.stop()


def _fill(url: str, s3: ProgrammableS3) -> None:
    signed = boto3.client(
        "s3",
        endpoint_url=url,
        region_name=_REGION,
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(s3={"addressing_style": "path"}),
    )
    place = {"LocationConstraint": _REGION}
    signed.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
    versioning = {"Status": "Enabled"}
    signed.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration=versioning)
    for turn in ("first", "second"):
        for key in KEYS:
            body = f"{key} {turn} ".encode() * 40
            put = signed.put_object(Bucket=BUCKET, Key=key, Body=body, ACL="public-read")
            s3.put(BUCKET, key, body, put["VersionId"])
    marker = signed.delete_object(Bucket=BUCKET, Key="gone")["VersionId"]
    s3.buckets[BUCKET].put(Version("gone", marker, 0, "", time.time(), delete_marker=True))
    signed.close()


def _answer(client: Any, operation: str, words: dict[str, Any]) -> Any:
    try:
        reply = getattr(client, operation)(**words)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return status, error.response["Error"]["Code"]
    status = reply["ResponseMetadata"]["HTTPStatusCode"]
    if "Body" in reply:
        with reply["Body"] as body:
            reply["Body"] = body.read()
    return status, _comparable(reply)


def _comparable(reply: Any) -> Any:
    if isinstance(reply, dict):
        kept = {name: reply[name] for name in reply if name not in _INCOMPARABLE}
        return {name: _comparable(value) for name, value in kept.items()}
    if isinstance(reply, list):
        return [_comparable(one) for one in reply]
    return reply
