"""A programmable S3: real HTTP on loopback, real and virtual objects, and any lie a test wants.

`server` owns the sockets and the log, `connection` one client, `answers` what S3 would say,
`faults` what is said instead, `content` the bytes of objects that nobody stored.
"""

from tests.s3.buckets import Bucket, Version, multipart_etag
from tests.s3.catalogue import Catalogue, load_catalogue, release_lists
from tests.s3.content import content
from tests.s3.faults import Fault
from tests.s3.process import S3Process
from tests.s3.request import Request
from tests.s3.server import ProgrammableS3

__all__ = [
    "Bucket",
    "Catalogue",
    "Fault",
    "ProgrammableS3",
    "Request",
    "S3Process",
    "Version",
    "content",
    "load_catalogue",
    "multipart_etag",
    "release_lists",
]
