"""A cache whose files are cut, deleted, closed or replaced under a living mount and its heirs."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.mount.namespaces import run_as_nobody
from tests.mount.reading import forget, walked

FILE = "behavior_sessions/one.nwb"
TABLE = "project_metadata/table.csv"
SIZE = 1_500_000


def _flip(path):
    with path.open("r+b") as file:
        body = bytearray(file.read())
        for at in range(0, len(body), 5000):
            body[at] ^= 1
        file.seek(0)
        file.write(body)


def _truncate(path):
    os.truncate(path, path.stat().st_size // 3)


def _empty(path):
    os.truncate(path, 0)


def _directory(path):
    path.unlink()
    (path / "full").mkdir(parents=True)


def _dangle(path):
    path.unlink()
    path.symlink_to("nowhere/at/all")


def _delete(path):
    path.unlink()


DAMAGES = [_flip, _truncate, _empty, _delete, _directory, _dangle]


@pytest.fixture
def at_home(at_s3, published):
    """A dataset of one file and one table."""
    published.release("1.0.0", {FILE: SIZE, TABLE: b"id\n1\n"})
    at_s3.expect(r"WARNING .*(not the map that belongs|takes no more|cannot be (read|kept))")
    return at_s3


def _assert_right(mounted, published):
    assert walked(mounted / "v1.0.0") == {FILE, TABLE}
    for _ in range(2):
        for path in (FILE, TABLE):
            forget(mounted / f"v1.0.0/{path}")
            assert (mounted / f"v1.0.0/{path}").read_bytes() == published.truth("1.0.0", path)


def _kept(machine, which):
    """Files of the cache, if there are any: blocks, their maps, or what is known of the dataset."""
    cache = machine.cache
    files = {
        "blocks": [p for p in (cache / "blobs").glob("??/*") if "." not in p.name],
        "maps": list((cache / "blobs").glob("??/*.map")),
        "the dataset's": [p for p in (cache / "datasets").rglob("*") if p.is_file()],
    }
    return files[which]


def test_no_damage_under_a_mount_or_between_two_gives_a_wrong_byte(at_home, published):
    mounted = at_home.mount()
    _assert_right(mounted, published)
    for damage in DAMAGES:
        for which in ("blocks", "maps", "the dataset's"):
            for path in _kept(at_home, which):
                damage(path)
            _assert_right(mounted, published)
            _clear_what_nobody_can_use(at_home)
        mounted.umount()
        for which in ("blocks", "maps", "the dataset's"):
            for path in _kept(at_home, which):
                damage(path)
        mounted = at_home.mount()
        _assert_right(mounted, published)
        _clear_what_nobody_can_use(at_home)
    mounted.umount()
    mounted = at_home.mount()
    _assert_right(mounted, published)


def _clear_what_nobody_can_use(machine):
    for path in list(machine.cache.rglob("*")):
        if path.is_symlink():
            path.unlink()
        elif path.name == "full":
            shutil.rmtree(path.parent)


def test_a_cache_that_is_closed_to_its_owner_costs_speed_and_no_byte(at_home, published):
    for path in (FILE, TABLE):
        (at_home.root / path.replace("/", "-")).write_bytes(published.truth("1.0.0", path))
    compare = "".join(
        f"""
        cmp ~/vbo/v1.0.0/{path} "$ROOT/{path.replace("/", "-")}"
        dd if="$HOME/vbo/v1.0.0/{path}" iflag=nocache count=0 status=none
        cmp ~/vbo/v1.0.0/{path} "$ROOT/{path.replace("/", "-")}"
        """
        for path in (FILE, TABLE)
    )
    script = f"""
    vbofs mount > /dev/null
    {compare}
    find ~/.cache/vbofs -type f ! -name format -exec chmod 000 {{}} +
    {compare}
    vbofs umount
    vbofs mount > /dev/null
    {compare}
    chmod 000 ~/.cache/vbofs/blobs/* ~/.cache/vbofs/blobs ~/.cache/vbofs/datasets
    {compare}
    vbofs umount
    chmod -R u+rwX ~/.cache/vbofs
    vbofs mount > /dev/null
    {compare}
    vbofs status | grep -c "0 requests failed" > /dev/null
    vbofs umount
    echo all
    """
    outcome = run_as_nobody(at_home, script)
    assert outcome == (0, "all\n", "")


def test_blocks_whose_map_is_gone_are_given_up_when_room_is_needed(at_s3, published):
    names = [f"behavior_sessions/{n}.nwb" for n in range(4)]
    published.release("1.0.0", dict.fromkeys(names, SIZE))
    mounted = at_s3.mount("--cache-size", "4M")
    for name in names[:2]:
        assert (mounted / f"v1.0.0/{name}").read_bytes() == published.truth("1.0.0", name)
    mounted.umount()
    for nth, path in enumerate(_kept(at_s3, "maps")):
        (_delete, _directory)[nth % 2](path)
    mounted = at_s3.mount("--cache-size", "4M")
    for name in names[2:]:
        assert (mounted / f"v1.0.0/{name}").read_bytes() == published.truth("1.0.0", name)
    published.s3.clear_log()
    for name in names[2:]:
        forget(mounted / f"v1.0.0/{name}")
        assert (mounted / f"v1.0.0/{name}").read_bytes() == published.truth("1.0.0", name)
        assert not published.ranges(name)
    cache = mounted.status()["cache"]
    assert cache["refused"] == 0
    assert cache["used"] <= cache["limit"]
