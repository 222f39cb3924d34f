"""What the tests share: settings that know no home, a publisher of releases, and each floor.

A floor's fixture is built on the fixture below it, so that a test names the highest it needs.
Nothing here is replaced behind anybody's back: the store below is a real one, in memory.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import socket

import hypothesis
import pytest

from tests.checklogs import allows_log, expects_log, log_check
from tests.model.remote import ScriptedStore
from tests.s3 import ProgrammableS3
from vbofs import config
from vbofs.blocks.fetcher import Fetcher
from vbofs.blocks.reader import BlobReader
from vbofs.blocks.store import open_store
from vbofs.dataset import Dataset
from vbofs.demo import build
from vbofs.filesystem import Filesystem
from vbofs.remote.memory import MemoryObjectStore

__all__ = ["allows_log", "expects_log", "log_check"]

BUCKET = "visual-behavior-ophys-data"
PROJECT = "visual-behavior-ophys"
#: Variables by which a developer's shell or a proxy would change what the tests see.
FOREIGN = ("AWS_", "VBOFS_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "NOTIFY_")

hypothesis.settings.register_profile(
    "vbofs",
    deadline=None,
    derandomize=True,
    max_examples=40,
    suppress_health_check=[
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.too_slow,
    ],
)
hypothesis.settings.load_profile("vbofs")


@pytest.fixture(scope="session", autouse=True)
def no_foreign_variables():
    """No test sees the developer's credentials, proxies or settings."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.upper().startswith(FOREIGN):
                patch.delenv(name)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(scope="session")
def homes(tmp_path_factory):
    """Makes homes.  pytest looks at all temporary directories there are to number another."""
    folder = tmp_path_factory.mktemp("homes")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def home(homes, monkeypatch):
    """Nor the developer's home."""
    home = next(homes)
    home.mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(home))
    for kind in ("CACHE", "CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(home / kind.lower()))
    runtime = home / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    return home


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """The small sample, to be read only: every file of every release, on local disk."""
    return build(tmp_path_factory.mktemp("sample"), small=True)


def contents(size: int, seed: object = 0) -> bytes:
    """*size* bytes in which no two blocks are alike."""
    return hashlib.shake_128(str(seed).encode()).digest(size)


def manifest_name(version: str, project: str = PROJECT) -> str:
    return f"{project}_project_manifest_v{version}.json"


def manifest_line(version, digest: str) -> dict[str, str]:
    """The line of a manifest that pins the object *version*."""
    return {
        "url": f"https://{version.bucket}.s3.amazonaws.com/{version.key}",
        "version_id": version.version_id,
        "file_hash": digest,
    }


def manifest(release: str, data: dict, tables: dict | None = None, **others: object) -> dict:
    """A manifest as AllenSDK writes it; *others* replace or add fields, None removes one."""
    document = {
        "project_name": PROJECT,
        "manifest_version": release,
        "data_pipeline": [{"name": "AllenSDK", "version": "2.13.4", "comment": ""}],
        "metadata_file_id_column_name": "file_id",
        "metadata_files": tables or {},
        "data_files": data,
        **others,
    }
    return {name: value for name, value in document.items() if value is not None}


class Publisher:
    """Publishes releases in a store with ``put``; what has not changed keeps its version."""

    def __init__(self, store) -> None:
        self.store = store
        self._published: dict[tuple[str, bytes], object] = {}

    def put(self, path: str, content: bytes):
        """The blob of *path* with that content, put unless it is there."""
        known = self._published.get((path, content))
        if known is None:
            known = self._published[path, content] = self.store.put(f"{PROJECT}/{path}", content)
        return known

    def release(self, version: str, files: dict[str, bytes], tables=None, **others: object):
        """Put *files*, *tables* and the manifest that pins them; the blobs by path."""
        tables = {"project_metadata/ophys_sessions.csv": b"id\n"} if tables is None else tables
        blobs = {path: self.put(path, body) for path, body in {**tables, **files}.items()}
        lines = {path: manifest_line(blob.version, blob.digest) for path, blob in blobs.items()}
        document = manifest(
            version,
            {str(n): lines[path] for n, path in enumerate(files)},
            {path.rpartition("/")[2].removesuffix(".csv"): lines[path] for path in tables},
            **others,
        )
        self.manifest(version, json.dumps(document).encode())
        return blobs

    def manifest(self, version: str, document: bytes):
        """Put a manifest of any content under the name of *version*."""
        return self.store.put(f"{PROJECT}/manifests/{manifest_name(version)}", document)


# --- the floors


@pytest.fixture
def make_settings(tmp_path):
    """Settings from options, as the command line makes them; cache and mountpoint in tmp_path."""

    def make(**options: object) -> config.Settings:
        usual = {"cache_dir": tmp_path / "cache", "mountpoint": tmp_path / "mnt"}
        return config.load({**usual, **options}, environ={})

    return make


@pytest.fixture
def settings(make_settings):
    return make_settings()


@pytest.fixture
def memory():
    """The bucket, in memory."""
    return MemoryObjectStore(BUCKET)


@pytest.fixture
def publisher(memory):
    return Publisher(memory)


@pytest.fixture
def remote(memory):
    """The bucket in memory, behind a door that a test can hold, watch and break."""
    return ScriptedStore(memory)


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "cache", 1 << 30)


@pytest.fixture
async def fetcher(nursery, store, remote):
    return Fetcher(nursery, store, remote, 4)


@pytest.fixture
def put(memory):
    """``put(size)``: a blob of so many bytes, and the bytes."""

    def make(size: int, key: str = f"{PROJECT}/file"):
        content = contents(size, key)
        return memory.put(key, content), content

    return make


@pytest.fixture
def reader_of(store, fetcher):
    """``reader_of(blob)``: an open file's way to it."""
    return lambda blob: BlobReader(blob, store, fetcher)


@pytest.fixture
def open_dataset(remote, settings):
    """``await open_dataset()``: the releases of the bucket, as a new process finds them."""

    async def make(settings=settings, remote=remote) -> Dataset:
        return await Dataset.open(remote, settings)

    return make


@pytest.fixture
def open_filesystem(open_dataset, store, fetcher, nursery):
    """``await open_filesystem()``: the file system of a new mount."""

    async def make(**words) -> Filesystem:
        return Filesystem(await open_dataset(**words), store, fetcher, nursery)

    return make


# --- servers


@pytest.fixture
def s3():
    """A programmable server with nothing in it."""
    with ProgrammableS3() as server:
        yield server


@pytest.fixture
def port():
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
    return number
