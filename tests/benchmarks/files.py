"""What is read: big random files, NWB files of three sizes, a dataset of 6,000 names.

A corpus is a folder; a file in it is made when a job first needs it and kept. Its facts (size,
digests) are written beside it when it is complete, so half a file is never taken for one. The
same name and size always have the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from hashlib import blake2b, md5
from pathlib import Path
from zlib import crc32

import numpy as np

from tests.benchmarks import nwbfiles
from tests.s3.buckets import PART, new_version_id

BUCKET = "visual-behavior-ophys-data"
PROJECT = "visual-behavior-ophys"
RELEASE = "1.0.0"
URL = f"https://{BUCKET}.s3.us-west-2.amazonaws.com"
FOLDER = "behavior_ophys_benchmarks"
#: Another number, and every corpus is made anew.
GENERATION = 3
#: As many names as release 1.1.0 has.
MANY = {"behavior_sessions": 4079, "behavior_ophys_experiments": 1936}

MiB = 1 << 20
PARTS = 16
#: Bytes of a random file: "full" is what is reported, "small" tries the harness, "tiny" tests it.
BIG = {"full": 1_000_000_000, "small": 128 * MiB, "tiny": 4 * MiB}
#: Sixteen readers of it read 4 GB.
SHARED = {"full": 250_000_000, "small": 32 * MiB, "tiny": 2 * MiB}
PIECE = {"full": 64_000_000, "small": 8 * MiB, "tiny": MiB}


_SIZES = {"big": BIG, "shared": SHARED}


@dataclass(frozen=True)
class BenchFile:
    """One file: the truth on this disk, and what the bucket says of it."""

    name: str
    local: Path
    size: int
    etag: str
    digest: str

    @property
    def path(self) -> str:
        """Its path in the release, and below the bucket's prefix."""
        return f"{FOLDER}/{self.name}"

    @property
    def key(self) -> str:
        return f"{PROJECT}/{self.path}"

    @property
    def version_id(self) -> str:
        return new_version_id(self.key, self.size)


@dataclass(frozen=True)
class Name:
    """One of the many: a name and a size, and bytes that nobody reads."""

    path: str
    size: int

    @property
    def key(self) -> str:
        return f"{PROJECT}/{self.path}"

    @property
    def version_id(self) -> str:
        return new_version_id(self.key, self.size)


def parts() -> tuple[str, ...]:
    """The names of sixteen files for sixteen readers."""
    return tuple(f"part{number:02d}.bin" for number in range(PARTS))


class Corpus:
    """The files of one size, under *folder*."""

    def __init__(self, folder: Path, size: str) -> None:
        self.size = size
        self.folder = folder / size
        self.folder.mkdir(parents=True, exist_ok=True)
        self._made: dict[str, BenchFile] = {}

    def file(self, name: str) -> BenchFile:
        """The file of that name, made now if it is not there."""
        if name not in self._made:
            local = self.folder / name
            self._made[name] = _known(local) or self._make(local)
        return self._made[name]

    def _make(self, local: Path) -> BenchFile:
        if local.suffix == ".nwb":
            nwbfiles.write(local, self.size)
        else:
            _write_random(local, _SIZES.get(local.stem, PIECE)[self.size])
        made = BenchFile(local.name, local, local.stat().st_size, *_digests(local))
        facts = {name: text for name, text in asdict(made).items() if name != "local"}
        _facts(local).write_text(json.dumps({"generation": GENERATION, **facts}))
        return made

    def names(self) -> list[Name]:
        """The dataset of many files."""
        scale = {"full": 1.0, "small": 1.0, "tiny": 0.02}[self.size]
        return [Name(path, _plausible_size(path)) for path in _paths(scale)]

    def local_names(self) -> Path:
        """The dataset of many files on this disk: sparse, of the right sizes; its root."""
        root = self.folder / "names"
        if not (root / "done").exists():
            for name in self.names():
                path = root / name.path
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as file:
                    file.truncate(name.size)
            (root / "done").touch()
        return root


def manifest(files: Iterable[BenchFile], names: Iterable[Name]) -> bytes:
    """The manifest of a release of them all."""
    entries = [_entry(file.key, file.version_id, file.digest) for file in files]
    entries += [_entry(one.key, one.version_id, "0" * 128) for one in names]
    document = {
        "project_name": PROJECT,
        "manifest_version": RELEASE,
        "metadata_file_id_column_name": "file_id",
        "data_pipeline": [{"name": "AllenSDK", "version": "2.16.0", "comment": ""}],
        "metadata_files": {},
        "data_files": {str(number): entry for number, entry in enumerate(entries)},
    }
    return json.dumps(document).encode()


def manifest_key() -> str:
    return f"{PROJECT}/manifests/{PROJECT}_project_manifest_v{RELEASE}.json"


def _entry(key: str, version_id: str, digest: str) -> dict[str, str]:
    return {"url": f"{URL}/{key}", "version_id": version_id, "file_hash": digest}


def _paths(scale: float) -> Iterator[str]:
    for folder, count in MANY.items():
        stem = folder.removesuffix("s")
        for number in range(int(count * scale)):
            yield f"{folder}/{stem}_{870_000_000 + 1013 * number}.nwb"


def _plausible_size(path: str) -> int:
    return 49_000_000 + crc32(path.encode()) % 900_000_000


def _facts(local: Path) -> Path:
    return local.with_name(f"{local.name}.json")


def _known(local: Path) -> BenchFile | None:
    try:
        facts = json.loads(_facts(local).read_text())
    except (OSError, ValueError):
        return None
    if facts.pop("generation") != GENERATION or not local.exists():
        return None
    return BenchFile(local=local, **facts)


def _write_random(local: Path, size: int) -> None:
    """Bytes that do not compress, the same for one name in every run."""
    random = np.random.Generator(np.random.PCG64(crc32(local.name.encode())))
    with local.open("wb") as file:
        for at in range(0, size, PART):
            file.write(random.bytes(min(PART, size - at)))


def _digests(local: Path) -> tuple[str, str]:
    """The ETag that an upload in 8 MiB parts would have, and blake2b of it all."""
    pieces, whole = [], blake2b()
    with local.open("rb") as file:
        while piece := file.read(PART):
            pieces.append(md5(piece).digest())
            whole.update(piece)
    return f'"{md5(b"".join(pieces)).hexdigest()}-{len(pieces)}"', whole.hexdigest()
