"""Real mounts through the kernel, of the sample on moto's server or of a dataset made for a test.

``machine`` is a user's home with nothing in it; ``shared`` is one for a whole file of tests, with
the sample mounted.  Whatever a test leaves mounted, running or unexpected in a log is a failure.
"""

from __future__ import annotations

import itertools
import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest

from tests.mount.machine import Machine
from tests.mount.published import Published
from tests.mount.servicemanager import FILE, SIZE, ServiceManager
from vbofs.demo import DemoServer, publish

HERE = Path(__file__).parent


def _why_not() -> str:
    """Why nothing can be mounted here; "" if it can."""
    try:
        if not stat.S_ISCHR(os.stat("/dev/fuse").st_mode):
            return "/dev/fuse is no device"
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"/dev/fuse: {error.strerror}"
    return "" if shutil.which("fusermount3") else "fusermount3 is not installed"


def pytest_collection_modifyitems(items):
    why_not = _why_not()
    for item in items:
        if why_not and HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=why_not))


@pytest.fixture(scope="session")
def sample_url(sample, tmp_path_factory):
    """moto's server with the sample in it."""
    server = DemoServer(tmp_path_factory.mktemp("server"))
    try:
        url = server.start()
        publish(sample, url)
        yield url
    finally:
        server.stop()


@pytest.fixture(scope="session")
def ground():
    """A directory that other users can look into, which pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="vbofs-mount-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def machines(ground):
    """Makes machines, each with a home of its own."""
    numbers = itertools.count(1)
    return lambda url=None: Machine(ground / f"m{next(numbers)}", url)


@pytest.fixture
def machine(machines):
    """A machine that knows of no server; it is told by ``mount --endpoint-url`` or by another
    fixture."""
    made = machines()
    yield made
    made.clean()


@pytest.fixture
def at_sample(machines, sample_url):
    """A machine whose vbofs finds the sample."""
    made = machines(sample_url)
    yield made
    made.clean()


@pytest.fixture(scope="module")
def shared(machines, sample_url):
    """The sample mounted, for tests that only read."""
    made = machines(sample_url)
    yield made.mount()
    made.clean()


@pytest.fixture
def published(s3):
    """An empty dataset on the programmable server."""
    return Published(s3)


@pytest.fixture
def at_s3(machines, s3):
    """A machine whose vbofs finds the programmable server."""
    made = machines(s3.url)
    yield made
    made.clean()


@pytest.fixture
def manager(at_s3, published):
    """A service manager of a machine for which a release with one file is published."""
    published.release("1.0.0", {FILE: SIZE})
    made = ServiceManager(at_s3.root)
    yield made
    made.close()
