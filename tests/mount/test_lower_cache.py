"""A lower cache: nodes that read what another daemon keeps on shared storage, for real."""

from __future__ import annotations

import hashlib
import os
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest
import xxhash

from tests.mount.namespaces import NOBODY, run_as_nobody
from tests.mount.refusal import assert_refused
from tests.mount.waiting import eventually
from vbofs.blocks.extents import BLOCK_SIZE, block_count
from vbofs.errors import LowerCacheUnusable, SettingsInvalid

FILE = "behavior_sessions/one.nwb"
OTHER = "behavior_sessions/two.nwb"
MIB = 1 << 20
SIZE = 9 * MIB + 4321


@pytest.fixture
def released(published):
    published.release("1.0.0", {FILE: SIZE, OTHER: SIZE})
    return published


@pytest.fixture
def writer(machines, s3, released):
    """The one machine that writes the cache of which others read."""
    made = machines(s3.url)
    yield made.mount()
    made.clean()


@pytest.fixture
def node(machines, s3, writer):
    made = machines(s3.url)
    yield made
    made.clean()


def _sent(s3):
    return sum(one.sent for one in s3.requests if one.key.endswith(".nwb"))


def test_what_the_lower_cache_has_is_not_asked_of_s3(node, writer, released, s3):
    truth = released.truth("1.0.0", FILE)
    assert (writer / f"v1.0.0/{FILE}").read_bytes() == truth
    mounted = node.mount("--lower-cache", str(writer.machine.cache))
    s3.clear_log()
    assert (mounted / f"v1.0.0/{FILE}").read_bytes() == truth
    assert _sent(s3) == 0
    # Verified as whole as any file, and kept in the node's own cache.
    eventually(lambda: mounted.status()["verifier"]["verified"] == 1)
    lower = mounted.status()["lower_cache"]
    assert (lower["bytes"], lower["damaged"], lower["away"]) == (SIZE, 0, False)
    said = node.run("status", str(mounted.path)).out
    assert f"lower     {block_count(SIZE)} blocks out of {writer.machine.cache}; 9.4 MB" in said
    # What it has not comes from S3.
    assert (mounted / f"v1.0.0/{OTHER}").read_bytes() == released.truth("1.0.0", OTHER)
    assert _sent(s3) == SIZE


def test_off_the_network_the_lower_cache_is_still_read(node, writer, released, s3):
    truth = released.truth("1.0.0", FILE)
    assert (writer / f"v1.0.0/{FILE}").read_bytes() == truth
    mounted = node.mount()
    assert (mounted / f"v1.0.0/{FILE}").stat().st_size == SIZE
    mounted.umount()
    s3.down()
    mounted = node.mount("--offline", "--lower-cache", str(writer.machine.cache))
    assert (mounted / f"v1.0.0/{FILE}").read_bytes() == truth
    with pytest.raises(OSError, match="Network is unreachable"):
        (mounted / f"v1.0.0/{OTHER}").read_bytes()


def test_reader_and_writer_may_be_at_work_on_the_same_file(node, writer, released):
    truth = released.truth("1.0.0", FILE)
    mounted = node.mount("--lower-cache", str(writer.machine.cache))
    with ThreadPoolExecutor(2) as readers:
        for got in readers.map(lambda m: (m / f"v1.0.0/{FILE}").read_bytes(), (writer, mounted)):
            assert got == truth


def test_a_lower_cache_whose_blocks_are_wrong_but_consistent_is_caught(node, writer, released, s3):
    """Somebody has changed bytes and checksums alike: the whole file's digest knows better."""
    truth = released.truth("1.0.0", FILE)
    assert (writer / f"v1.0.0/{FILE}").read_bytes() == truth
    writer.umount()
    _forge(writer.machine.cache)
    node.expect(r"ERROR .*one.nwb does not match its release's blake2b; it is dropped")
    mounted = node.mount("--lower-cache", str(writer.machine.cache))
    assert (mounted / f"v1.0.0/{FILE}").read_bytes() != truth
    eventually(lambda: mounted.status()["verifier"]["mismatched"] == 1)
    s3.clear_log()
    assert (mounted / f"v1.0.0/{FILE}").read_bytes() == truth
    assert _sent(s3) == SIZE


def _forge(cache):
    """Change a byte of the only large blob in *cache*, and its block's checksum with it."""
    [path] = [p for p in cache.glob("blobs/*/*") if p.suffix == "" and p.stat().st_size == SIZE]
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with path.with_name(path.name + ".map").open("r+b") as marks:
        marks.seek(64)
        marks.write(struct.pack("<Q", xxhash.xxh3_64_intdigest(content[:BLOCK_SIZE])))


def test_a_lower_cache_that_is_none_is_refused(machine, tmp_path):
    words = "mount", "--endpoint-url", "http://127.0.0.1:1", "--lower-cache"
    outcome = machine.run(*words, str(tmp_path / "nothing"))
    assert_refused(machine, outcome, LowerCacheUnusable, "nothing is no cache of vbofs")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_lower_cache_of_a_stranger_must_be_trusted_by_name(node, writer, released, s3):
    truth = released.truth("1.0.0", FILE)
    assert (writer / f"v1.0.0/{FILE}").read_bytes() == truth
    writer.umount()
    cache = writer.machine.cache
    for place in (cache, *cache.rglob("*")):
        os.chown(place, NOBODY, NOBODY)
    words = "--lower-cache", str(cache)
    outcome = node.run("mount", *words)
    assert_refused(node, outcome, LowerCacheUnusable, 'lower_cache_owner = "65534"')
    mounted = node.mount(*words, VBOFS_LOWER_CACHE_OWNER="nobody")
    s3.clear_log()
    assert (mounted / f"v1.0.0/{FILE}").read_bytes() == truth
    assert _sent(s3) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_an_ordinary_user_reads_the_lower_cache_that_root_has_opened(node, writer, released, s3):
    truth = released.truth("1.0.0", FILE)
    cache = writer.machine.cache
    (writer / f"v1.0.0/{FILE}").stat()
    opened = writer.machine.execute("chmod", "-R", "go+rX,go-w", str(cache))
    assert opened == (0, "", "")
    assert (writer / f"v1.0.0/{FILE}").read_bytes() == truth  # What is written later is open too.
    s3.clear_log()
    outcome = run_as_nobody(
        node,
        f"""
        vbofs mount --lower-cache {cache} "$HOME/vbo" >&2
        sha256sum < "$HOME/vbo/v1.0.0/{FILE}"
        vbofs umount "$HOME/vbo"
        """,
    )
    assert outcome.status == 0, outcome
    assert outcome.out.split()[0] == hashlib.sha256(truth).hexdigest()
    assert _sent(s3) == 0


def test_the_own_cache_as_the_lower_one_is_refused(machine):
    words = "--cache-dir", str(machine.cache), "--lower-cache", str(machine.cache)
    outcome = machine.run("mount", *words)
    assert outcome.status == SettingsInvalid.exit_status
    assert "is the --cache-dir itself" in outcome.err


def test_a_mount_that_hangs_on_its_lower_cache_at_the_start_goes_on_without(node, writer, released):
    """A pipe in place of a file keeps open(2) waiting, as dead NFS does."""
    place = writer.machine.cache / "format"
    said = place.read_bytes()
    place.unlink()
    os.mkfifo(place)
    node.expect(r"WARNING .*the lower cache \S+ is passed by for a while: it took longer than")
    (node.root / "sitecustomize.py").write_text(
        "import vbofs.blocks.lower\nvbofs.blocks.lower.LIMIT = 0.3\n"
    )
    words = "--lower-cache", str(writer.machine.cache)
    mounted = node.mount(*words, PYTHONPATH=str(node.root))
    assert (mounted / f"v1.0.0/{FILE}").read_bytes() == released.truth("1.0.0", FILE)
    assert mounted.status()["lower_cache"]["away"]
    # The daemon ends though one of its threads still hangs.
    mounted.umount()
    eventually(lambda: not node.processes(), what="the end of the daemon")
    place.unlink()
    place.write_bytes(said)
