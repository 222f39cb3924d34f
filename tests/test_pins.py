"""Pins: shared by whoever has the cache, and what is pinned is evicted last."""

from __future__ import annotations

import os
import threading

import pytest

from tests.conftest import contents
from vbofs.blocks.extents import BLOCK_SIZE
from vbofs.blocks.pins import Pins
from vbofs.blocks.store import open_store
from vbofs.errors import CacheUnwritable

SIZE = 8 * BLOCK_SIZE


def test_pins_are_seen_by_every_other_process(tmp_path):
    one, two = Pins(tmp_path), Pins(tmp_path)
    assert one.add(["a", "b"]) == 2
    assert two.add(["b", "c"]) == 1
    assert one.idents() == {"a", "b", "c"}
    assert two.remove(["a", "x"]) == 1
    assert one.idents() == {"b", "c"}


def test_none_is_lost_when_several_pin_at_once(tmp_path):
    def pin(number):
        for n in range(20):
            Pins(tmp_path).add([f"{number}-{n}"])

    threads = [threading.Thread(target=pin, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Pins(tmp_path).idents()) == 80


def test_a_damaged_file_of_pins_costs_the_pins_and_nothing_else(tmp_path):
    pins = Pins(tmp_path)
    pins.add(["a"])
    (tmp_path / "pins").write_bytes(b"vbofs 1 nonsense\n\x91")
    assert pins.idents() == frozenset()
    pins.add(["b"])
    assert pins.idents() == {"b"}


def test_pins_that_cannot_be_kept_are_an_error(tmp_path):
    (tmp_path / "pins.lock").mkdir()
    with pytest.raises(CacheUnwritable, match="the pins in"):
        Pins(tmp_path).add(["a"])
    with pytest.raises(CacheUnwritable):
        Pins(tmp_path / "nowhere").add(["a"])


def test_a_link_that_somebody_put_there_is_not_followed(tmp_path):
    (tmp_path / "pins.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CacheUnwritable):
        Pins(tmp_path).add(["a"])
    assert not (tmp_path / "elsewhere").exists()


def fill(store, memory, name, stamp):
    """A whole blob in *store*, used at *stamp*."""
    content = contents(SIZE, name)
    blob = memory.put(name, content)
    file = store.file(blob)
    for block in range(8):
        piece = memoryview(content)[block * BLOCK_SIZE : (block + 1) * BLOCK_SIZE]
        assert store.put(file, block, piece)
    path = store.folder / blob.ident[:2] / blob.ident
    for one in (path, path.with_name(path.name + ".map")):
        os.utime(one, (stamp, stamp))
    return blob


def test_what_is_pinned_is_evicted_last(tmp_path, memory):
    before = open_store(tmp_path / "cache", 1 << 30)
    pinned, older, newer = (
        fill(before, memory, n, s) for n, s in (("p", 1e9), ("o", 1.1e9), ("n", 1.2e9))
    )
    before.pins.add([pinned.ident])
    store = open_store(tmp_path / "cache", 3 * SIZE + SIZE // 2)
    fill(store, memory, "next", 1.3e9)
    assert store.cached_bytes(older) == 0
    assert store.cached_bytes(pinned) == store.cached_bytes(newer) == SIZE


def test_a_cache_full_of_pinned_files_takes_new_blocks_all_the_same(tmp_path, memory):
    before = open_store(tmp_path / "cache", 1 << 30)
    blobs = [fill(before, memory, f"p{n}", 1e9 + n) for n in range(3)]
    before.pins.add(blob.ident for blob in blobs)
    store = open_store(tmp_path / "cache", 3 * SIZE)
    assert store.cached_bytes(fill(store, memory, "next", 1.3e9)) == SIZE
    assert store.statistics().refused == 0
