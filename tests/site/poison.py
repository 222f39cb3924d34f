"""What a broken or hostile caching server does to the bytes that it keeps."""

from __future__ import annotations

from pathlib import Path

from tests.site.servers import Nginx


def poison(cache: Nginx, key: str) -> int:
    """Flip a bit of every slice of the object *key* that *cache* keeps; how many there were.

    nginx keeps an answer as a header of its own, "KEY: …", the server's head, and the body.
    """
    slices = [path for path in cache.stored() if key.encode() in path.read_bytes()[:4096]]
    for path in slices:
        _flip(path)
    return len(slices)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    body = content.index(b"\r\n\r\n") + 4
    content[(body + len(content)) // 2] ^= 1
    path.write_bytes(content)  # The same file, so nginx goes on with it.
