"""Small state on disk: one value per file, checked when it is read back.

A file is a line ``vbofs <format> <xxh3-128 of the rest>`` and a msgpack document.  It is replaced
atomically, so that a reader, a crash or a second daemon sees the old value or the new one.  A file
that is damaged, of another format or of another shape is as good as none: what we keep can be
fetched again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
import xxhash

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Bytes; the largest document that we keep has half of that.  A file that has more is not ours.
LARGEST = 256 << 20


class Kept(Generic[T]):
    """The value of type *shape* in the file *path*, written in format number *form*.

    A file of more than *largest* bytes is not read.
    """

    def __init__(
        self, path: Path, shape: type[T], *, form: int = 1, largest: int = LARGEST
    ) -> None:
        self._path = path
        self._largest = largest
        self._shape = shape
        self._form = form

    def __repr__(self) -> str:
        return f"<Kept {self._path}>"

    def load(self) -> T | None:
        """The value, or None where there is none that can be trusted."""
        try:
            head, _, body = self._read().partition(b"\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("%s: cannot be read, so it is fetched again: %s", self._path, error)
            return None
        if head != self._head(body):
            log.info("%s: damaged or of another version; it is fetched again", self._path)
            return None
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            return msgspec.msgpack.decode(body, type=self._shape)
        return None

    def _read(self) -> bytes:
        with self._path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > self._largest:
                return b""
            return file.read(self._largest)

    def save(self, value: T) -> None:
        """Keep *value*.  A disk that refuses costs the keeping, never the mount."""
        body = msgspec.msgpack.encode(value)
        draft = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft.write_bytes(self._head(body) + b"\n" + body)
            os.replace(draft, self._path)
        except OSError as error:
            log.warning("%s: cannot be kept: %s", self._path, error)
            with contextlib.suppress(OSError):
                draft.unlink()

    def _head(self, body: bytes) -> bytes:
        return f"vbofs {self._form} {xxhash.xxh3_128_hexdigest(body)}".encode()
