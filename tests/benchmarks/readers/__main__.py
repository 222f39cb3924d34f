"""See the package's docstring."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from typing import Any

from tests.benchmarks.readers import content, hdf5, programs
from tests.benchmarks.readers.clock import Clock

OPERATIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        *(content.stat, content.first_byte, content.readers, content.forget, content.scattered),
        *(content.await_mount, content.download, content.download_first),
        *(programs.dd, programs.cp, programs.fio, programs.h5ls, programs.ncdump),
        *(programs.ls, programs.find, hdf5.hdf5, hdf5.needed),
    )
}


def obey(operation: str, **words: Any) -> dict[str, Any]:
    clock = Clock()
    found = OPERATIONS[operation](clock, **words)
    answer: dict[str, Any] = {"seconds": clock.ended - clock.began, "cpu": clock.cpu}
    answer |= {"began": clock.began, "ended": clock.ended}
    if operation in ("needed", "stat"):
        answer["found"] = found
    if words.get("digest"):
        digest = hashlib.blake2b(digest_size=16)
        _feed(digest, found)
        answer["digest"] = digest.hexdigest()
    return answer


def _feed(digest: Any, found: Any) -> None:
    """Add to *digest* what an operation returned: lists, arrays, bytes, words, numbers."""
    if isinstance(found, (list, tuple)):
        digest.update(b"%d:" % len(found))
        for one in found:
            _feed(digest, one)
    else:
        digest.update(found if isinstance(found, bytes) else hdf5.as_bytes(found))


def main() -> None:
    for line in sys.stdin:
        try:
            answer = obey(**json.loads(line))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
