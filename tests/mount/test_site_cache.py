"""A site's caches: real mounts behind real nginx, with the configuration that docs/ ships."""

from __future__ import annotations

import http.client
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.mount.published import BUCKET, PROJECT
from tests.mount.reading import opened
from tests.mount.waiting import eventually
from tests.site.poison import poison
from tests.site.servers import Nginx, Varnish, found

pytestmark = pytest.mark.skipif(not found("nginx"), reason="nginx is not installed")

FILE = "behavior_sessions/one.nwb"
OTHER = "behavior_sessions/two.nwb"
MIB = 1 << 20
SIZE = 10 * MIB + 4321
AWAY = r"WARNING .*the site cache http://\S+ is passed by for a while"

# A daemon that gives a cache half a second, and looks soon whether it is back: the constants are
# 10 and 2, and nobody has that time.
HURRIED = """
import vbofs.remote.breaker
import vbofs.remote.sites

vbofs.remote.breaker.FIRST_WAIT = 0.2
vbofs.remote.sites.PATIENCE = vbofs.remote.sites.PATIENCE._replace(read=0.5)
"""


@pytest.fixture
def nginx(tmp_path, s3):
    with Nginx(tmp_path / "nginx", s3.url) as server:
        yield server


@pytest.fixture
def second(tmp_path, s3):
    with Nginx(tmp_path / "second", s3.url) as server:
        yield server


@pytest.fixture
def nodes(machines, published, s3):
    """Makes machines of one site, and takes all of them down."""
    made = []

    def make(count):
        if not published.s3.buckets:
            published.release("1.0.0", {FILE: SIZE, OTHER: SIZE})
        made.extend(machines(s3.url) for _ in range(count))
        return made[-count:]

    yield make
    for machine in made:
        machine.clean()


def _hurried(machine):
    (machine.root / "sitecustomize.py").write_text(HURRIED)
    return {"PYTHONPATH": str(machine.root)}


def _sent(s3):
    """Bytes of released files that the origin has sent, and how often it was asked for some."""
    asked = [one for one in s3.requests if one.operation == "GET" and one.key.endswith(".nwb")]
    return sum(one.sent for one in asked), len(asked)


def _read_all(mounts, path=FILE):
    with ThreadPoolExecutor(len(mounts)) as readers:
        return list(readers.map(lambda one: (one / f"v1.0.0/{path}").read_bytes(), mounts))


def _site(mounted, nth=0):
    return mounted.status()["site_caches"][nth]


def test_nodes_that_read_the_same_file_at_once_fetch_each_byte_from_the_origin_once(
    nodes, nginx, published, s3
):
    mounts = [machine.mount("--site-cache", nginx.url) for machine in nodes(3)]
    s3.clear_log()
    truth = published.truth("1.0.0", FILE)
    assert _read_all(mounts) == [truth] * 3
    assert _sent(s3) == (SIZE, 11)  # Slices of 1 MiB, and not one of them twice.
    for mounted in mounts:
        state = _site(mounted)
        assert (state["url"], state["away"], state["failed"]) == (nginx.url, False, 0)
        assert state["received"] >= SIZE
    said = mounts[0].machine.run("status", str(mounts[0].path)).out
    assert re.search(rf"site +\d+ requests to {nginx.url}; 10.5 MB fetched, 0 failed\n", said)


def test_what_a_cache_has_is_read_though_s3_is_away(nodes, nginx, published, s3):
    words = "--site-cache", nginx.url
    first, second = (machine.mount(*words, VBOFS_TIMEOUT="1") for machine in nodes(2))
    truth = published.truth("1.0.0", FILE)
    assert (first / f"v1.0.0/{FILE}").read_bytes() == truth
    assert (second / f"v1.0.0/{FILE}").stat().st_size == SIZE
    s3.down()
    assert second.machine.run("releases", "--refresh", VBOFS_TIMEOUT="1").status != 0
    assert (second / f"v1.0.0/{FILE}").read_bytes() == truth
    assert second.status()["blocks"]["failed"] == 0
    assert second.status()["network"]["away_since"] is None


def test_what_vouches_for_the_bytes_never_comes_through_a_cache(nodes, nginx, s3):
    [machine] = nodes(1)
    mounted = machine.mount("--site-cache", nginx.url)
    assert (mounted / "v1.0.0" / FILE).stat().st_size == SIZE
    (name,) = (mounted / "manifests").iterdir()
    assert name.read_bytes()
    assert nginx.stored() == []
    assert _site(mounted)["requests"] == 0


def test_two_caches_share_the_load_and_each_byte_is_in_one_of_them(
    nodes, nginx, second, published, s3
):
    paths = [f"behavior_sessions/{number}.nwb" for number in range(16)]
    published.release("1.0.0", dict.fromkeys(paths, 100_000))
    words = "--site-cache", f"{nginx.url}|{second.url}"
    mounts = [machine.mount(*words) for machine in nodes(2)]
    s3.clear_log()
    for path in paths:
        for mounted in mounts:
            assert (mounted / f"v1.0.0/{path}").read_bytes() == published.truth("1.0.0", path)
    assert _sent(s3) == (1_600_000, 16)
    kept = [len(cache.stored()) for cache in (nginx, second)]
    assert sum(kept) == 16
    assert min(kept) > 0


def test_a_cache_that_dies_in_the_middle_costs_its_readers_nothing_but_time(
    nodes, nginx, published, s3, tmp_path
):
    [machine] = nodes(1)
    machine.expect(AWAY)
    mounted = machine.mount("--site-cache", nginx.url, **_hurried(machine))
    s3.total_rate = 8 * MIB
    copying = machine.start("cp", str(mounted / f"v1.0.0/{FILE}"), str(tmp_path / "copy"))
    eventually(lambda: _sent(s3)[0] > 3 * MIB, what="a part of the copy")
    nginx.kill()
    assert copying.wait(30) == 0
    assert (tmp_path / "copy").read_bytes() == published.truth("1.0.0", FILE)
    assert _site(mounted)["away"]
    assert mounted.status()["blocks"]["failed"] == 0

    # And when it is back, it is asked again.
    s3.total_rate = None
    nginx.start()
    before = _site(mounted)["requests"]

    offsets = iter(range(0, SIZE, MIB // 4))

    def is_back():
        with opened(mounted / f"v1.0.0/{OTHER}") as fd:
            os.pread(fd, 1, next(offsets))
        return not _site(mounted)["away"]

    eventually(is_back, what="the return of the cache")
    assert _site(mounted)["requests"] > before


def test_a_cache_that_was_poisoned_is_caught_and_passed_by(nodes, nginx, published, s3):
    first, victim = nodes(2)
    filled = first.mount("--site-cache", nginx.url)
    truth = published.truth("1.0.0", FILE)
    assert (filled / f"v1.0.0/{FILE}").read_bytes() == truth
    assert poison(nginx, FILE) == 11
    victim.expect(r"ERROR .*one.nwb does not match its release's blake2b; it is dropped")
    victim.expect(r"ERROR .*one.nwb is not what its release says, and bytes of it came through")
    mounted = victim.mount("--site-cache", nginx.url)
    s3.clear_log()
    assert (mounted / f"v1.0.0/{FILE}").read_bytes() != truth
    eventually(lambda: mounted.status()["verifier"]["mismatched"], what="the verdict")
    state = _site(mounted)
    assert (state["away"], state["mismatched"]) == (True, 1)
    assert _sent(s3)[0] == 0

    # From now on right, from the origin; and no other file comes through that cache.
    assert (mounted / f"v1.0.0/{FILE}").read_bytes() == truth
    assert (mounted / f"v1.0.0/{OTHER}").read_bytes() == published.truth("1.0.0", OTHER)
    assert _sent(s3)[0] == 2 * SIZE
    assert _site(mounted)["requests"] == state["requests"]
    eventually(lambda: mounted.status()["verifier"]["verified"] == 2)


def test_a_cache_that_hangs_is_given_up(nodes, nginx, published, s3):
    [machine] = nodes(1)
    machine.expect(AWAY)
    mounted = machine.mount("--site-cache", nginx.url, **_hurried(machine))
    nginx.pause()
    try:
        assert (mounted / f"v1.0.0/{FILE}").read_bytes() == published.truth("1.0.0", FILE)
    finally:
        nginx.pause(signal.SIGCONT)
    assert _site(mounted)["failed"] >= 1
    assert mounted.status()["requests"]["retried"] == 0


@pytest.mark.skipif(not found("varnishd"), reason="varnish is not installed")
def test_nodes_share_what_varnish_keeps(nodes, published, s3, tmp_path):
    with Varnish(tmp_path / "varnish", s3.url) as varnish:
        mounts = [machine.mount("--site-cache", varnish.url) for machine in nodes(2)]
        s3.clear_log()
        for mounted in mounts:
            assert (mounted / f"v1.0.0/{FILE}").read_bytes() == published.truth("1.0.0", FILE)
        assert _sent(s3)[0] <= SIZE + MIB
        assert all(_site(mounted)["failed"] == 0 for mounted in mounts)


def test_what_is_no_version_of_a_released_file_is_refused_by_the_cache(nginx, published, s3):
    published.release("1.0.0", {FILE: b"content"})
    path = f"/{BUCKET}/{PROJECT}/{FILE}"
    version = "?versionId=abc"
    s3.clear_log()
    for asked in (
        path,
        path + "?versionId=",
        path + version + "&more=1",
        f"/{BUCKET}{version}",
        f"/{BUCKET}?versions",
        f"/other-bucket/key{version}",
        f"/other-bucket/..{path}{version}",
        f"/{BUCKET}/../other-bucket/key",
        f"http://169.254.169.254/latest{version}",
    ):
        assert _status(nginx, "GET", asked) == 403, asked
    for method in ("POST", "PUT", "DELETE"):
        assert _status(nginx, method, path + version) == 403, method
    assert s3.requests == []


def _status(server, method, target):
    connection = http.client.HTTPConnection(server.host, server.port)
    try:
        connection.request(method, target)
        return connection.getresponse().status
    finally:
        connection.close()
