"""`python -m tests.benchmarks.origin SPEC`: the programmable S3 with files of this disk in it.

SPEC is JSON that `servers` writes: real files are mapped, so that they are sent without a copy in
Python; the many names are virtual. It obeys as `tests.s3.process` says, and two commands more:
`traffic`, the sums of the log, because a log of ten thousand requests is slow to carry across, and
`activity`, what changes while somebody asks.
"""

from __future__ import annotations

import json
import mmap
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from tests.s3 import ProgrammableS3, Request, Version
from tests.s3.process import obey

#: 2023-11-10, whole seconds, as S3 has it.
DAY = 1699583400.0
#: Ranges that are carried across, for a look at what a contestant asked.
_RANGES = 2000


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text())
    with ProgrammableS3() as s3:
        _fill(s3, spec)
        _serve(s3, sys.stdin, sys.stdout)


def _fill(s3: ProgrammableS3, spec: dict[str, Any]) -> None:
    bucket = s3.create_bucket(spec["bucket"])
    for key, version_id, etag, path in spec["files"]:
        with open(path, "rb") as file:
            mapped: Any = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        bucket.put(Version(key, version_id, len(mapped), etag, DAY, mapped))
    for key, version_id, size in spec["names"]:
        s3.put_virtual(spec["bucket"], key, size, version_id, last_modified=DAY)
    for key, text in spec["texts"]:
        s3.put(spec["bucket"], key, text.encode(), last_modified=DAY)


def _serve(s3: ProgrammableS3, commands: TextIO, replies: TextIO) -> None:
    print(s3.url, file=replies, flush=True)
    for line in commands:
        try:
            words = json.loads(line)
            own = _COMMANDS.get(words["command"])
            reply = {"ok": own(s3) if own else obey(s3, **words)}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


def traffic(s3: ProgrammableS3) -> dict[str, Any]:
    """What was asked since the log was cleared, in sums."""
    requests = s3.requests
    return {
        "requests": len(requests),
        "gets": sum(one.operation == "GET" for one in requests),
        "sent": sum(one.sent for one in requests),
        "waits": waits_in_a_row(requests),
        "ranges": [[*one.range, one.arrived] for one in requests[:_RANGES] if one.range],
    }


def activity(s3: ProgrammableS3) -> dict[str, Any]:
    """What stands still when nobody asks anything."""
    return {"requests": len(s3.requests), "in_flight": s3.in_flight}


def waits_in_a_row(requests: list[Request]) -> int:
    """The most requests of which each came after the one before had been answered.

    With a delay before every answer that is how often somebody had to wait, one wait after the
    other: requests under way at once count as one.
    """
    ended = sorted((one.finished, one.arrived) for one in requests if one.finished is not None)
    row, free = 0, float("-inf")
    for finished, arrived in ended:
        if arrived >= free:
            row, free = row + 1, finished
    return row


_COMMANDS: dict[str, Callable[[ProgrammableS3], Any]] = {"traffic": traffic, "activity": activity}

if __name__ == "__main__":
    main()
