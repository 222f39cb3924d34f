"""Bodies of the control plane's answers: botocore reads them whole, so somebody says when to stop.

Listings and error messages are XML.  None of S3's has a document type, so entities, which could
make gigabytes of a line, are refused before a parser sees them; expat's own limit is the second.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse

#: Bytes; a page of a thousand versions has 0.4 MB, and keys of a kilobyte make two of it.
LARGEST_ANSWER = 16 << 20
PIECE = 64 << 10


class BoundedAnswers:
    """Sends botocore's requests for *client*, over the connections that are its own."""

    def __init__(self, client: Any) -> None:
        self._http = client._endpoint.http_session

    def send(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        """For botocore's event ``before-send``, which takes an answer from whoever has one."""
        request.stream_output = True  # Or all of it is in memory before we see it.
        answer = self._http.send(request)
        answer.raw = Bounded(answer.raw)
        _ = answer.content  # Read here, where botocore knows what a broken connection is.
        return answer


class Bounded:
    """The body under *raw*, as far as it is small and has no entities; ValueError else."""

    def __init__(self, raw: Any, largest: int = LARGEST_ANSWER) -> None:
        self._raw = raw
        self._largest = largest

    def stream(self) -> Iterator[bytes]:
        """All of it; as it was sent, for we never ask for a compressed one."""
        had, tail = 0, b""
        for piece in self._raw.stream(PIECE, decode_content=False):
            had += len(piece)
            seen = (tail + piece).replace(b"\0", b"")  # As UTF-16 has it, too.
            if had > self._largest or b"<!ENTITY" in seen:
                self._raw.close()
                raise ValueError(
                    f"it has more than {self._largest} bytes"
                    if had > self._largest
                    else "it defines entities, and S3's never do"
                )
            tail = seen[-16:]
            yield piece
