"""HDF5 and NWB: what scientists do with a file, by path or by URL with a library."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable
from typing import Any

from tests.benchmarks.readers.clock import Clock, timed

#: Bytes that the kernel asks for at least.
PAGE = 4096
#: Whether `everything` is to look at what it read.
_comparing = False


def hdf5(clock: Clock, what: str, digest: bool = False, **where: Any) -> Any:
    """Open the file by path, or by URL with a library, and do *what* with it."""
    global _comparing
    _comparing = digest
    work = _HDF5[what]
    opener = _opener(**where)
    if what == "pynwb":
        _warm_pynwb(where.pop("warm"))
    with contextlib.ExitStack() as stack:
        with timed(clock):
            found = work(opener(stack))
        return found if digest else None


def needed(clock: Clock, what: str, path: str, **_: Any) -> Any:
    """How many bytes *what* reads at least, in pages.

    HDF5 reads through files in Python exactly what it wants, so that this is not what its sieve
    buffer would read, but what must be read.
    """
    import h5py

    seen = Recorder(path)
    with timed(clock), h5py.File(seen, "r") as file:
        _HDF5[what](file)
    return seen.unique()


def _opener(**where: Any) -> Callable[[contextlib.ExitStack], Any]:
    """What opens the file; everything imported."""
    import h5py

    if "path" in where:
        return lambda stack: stack.enter_context(h5py.File(where["path"], "r"))
    if where["library"] == "remfile":
        import remfile  # type: ignore[import-not-found]

        return lambda stack: stack.enter_context(h5py.File(remfile.File(where["url"]), "r"))
    import s3fs  # type: ignore[import-not-found]

    options = {"anon": True, "client_kwargs": {"endpoint_url": where["endpoint"]}}

    def opened(stack: contextlib.ExitStack) -> Any:
        system = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False, **options)
        file = stack.enter_context(system.open(f"s3://{where['bucket']}/{where['key']}", "rb"))
        return stack.enter_context(h5py.File(file, "r"))

    return opened


def _list(file: Any) -> Any:
    found: list[str] = []
    file.visititems(lambda name, item: found.append(f"{name} {getattr(item, 'shape', '')}"))
    return found


def _attributes(file: Any) -> Any:
    """All names and all attributes, as MATLAB's h5info asks for them."""
    found: list[str] = []
    file.visititems(lambda name, item: found.append(f"{name} {sorted(item.attrs)}"))
    return found


def _pynwb(file: Any) -> Any:
    import pynwb

    nwb = pynwb.NWBHDF5IO(file=file, mode="r", load_namespaces=True).read()
    return [nwb.identifier, *sorted(nwb.processing), *sorted(nwb.intervals or ())]


@functools.cache
def _warm_pynwb(path: str) -> None:
    """Import it, and have it load its schema, which it does once in a process."""
    import h5py

    with h5py.File(path, "r") as file:
        _pynwb(file)


def _everything(file: Any) -> Any:
    """Read each dataset, as AllenSDK does; keep only what it takes to compare."""
    import h5py

    digest = hashlib.blake2b(digest_size=16)

    def read(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            array = item[()]
            digest.update(name.encode())
            if _comparing:
                digest.update(as_bytes(array))

    file.visititems(read)
    return digest.hexdigest()


def as_bytes(array: Any) -> bytes:
    if getattr(array, "dtype", None) is not None and array.dtype != object:
        return bytes(array.tobytes())
    return repr(array).encode()


_DFF = "processing/ophys/dff/traces/data"
_RUNNING = "processing/running/speed"
_HDF5: dict[str, Callable[[Any], Any]] = {
    "open": lambda file: list(file),
    "list": _list,
    "attributes": _attributes,
    "pynwb": _pynwb,
    "running": lambda file: [file[f"{_RUNNING}/{name}"][:] for name in ("data", "timestamps")],
    "projection": lambda file: file["processing/ophys/images/max_projection"][:],
    "cell": lambda file: file[_DFF][:, 3],
    "cells": lambda file: file[_DFF][:],
    "everything": _everything,
}


class Recorder:
    """A file that notes which bytes are read of it."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "rb")  # noqa: SIM115
        self._seen: list[tuple[int, int]] = []

    def read(self, size: int = -1) -> bytes:
        start = self._file.tell()
        got = self._file.read(size)
        self._seen.append((start, start + len(got)))
        return got

    def readinto(self, buffer: Any) -> int:
        start = self._file.tell()
        got = self._file.readinto(buffer)
        self._seen.append((start, start + got))
        return got

    def seek(self, *words: int) -> int:
        return self._file.seek(*words)

    def tell(self) -> int:
        return self._file.tell()

    def unique(self) -> int:
        """Bytes of the pages of which something was read."""
        self._file.close()
        total = end = 0
        for first, last in sorted(self._seen):
            start, stop = first // PAGE * PAGE, -(-last // PAGE) * PAGE
            total += max(0, stop - max(start, end))
            end = max(end, stop)
        return total
