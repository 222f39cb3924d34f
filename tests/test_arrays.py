"""Where named arrays lie in HDF5 files, by every kind of storage and link."""

from __future__ import annotations

import gc

import h5py
import numpy as np
import pytest

from vbofs.blocks.arrays import Array, apart_from, arrays_in, chosen
from vbofs.blocks.coverage import look
from vbofs.blocks.extents import BLOCK_SIZE
from vbofs.errors import BlockUnavailable
from vbofs.model import Extent

VALUES = np.arange(100_000, dtype="f8").reshape(1000, 100)


@pytest.fixture
def listed(tmp_path, memory, reader_of):
    """``await listed(write)``: the arrays of a file that *write* fills, by name, and its blob."""

    async def run(write):
        path = tmp_path / "x.nwb"
        with h5py.File(path, "w") as file:
            write(file)
        blob = memory.put("x.nwb", path.read_bytes())
        reader = reader_of(blob)
        found = {array.name: array for array in await arrays_in(reader)}
        return found, blob, path.read_bytes()

    return run


def held(array, content):
    return b"".join(content[start:stop] for start, stop in array.extents)


async def test_the_bytes_of_contiguous_and_chunked_arrays_are_found(listed):
    def write(file):
        file["a/plain"] = VALUES
        file.create_dataset("a/chunked", data=VALUES, chunks=(100, 100))
        file.create_dataset("a/packed", data=VALUES, chunks=(50, 10), compression="gzip")
        file.create_dataset("nothing", shape=(10, 10), dtype="f8")

    found, _, content = await listed(write)
    assert held(found["a/plain"], content) == VALUES.tobytes()
    assert len(held(found["a/chunked"], content)) == VALUES.nbytes
    assert VALUES[100:200].tobytes() in held(found["a/chunked"], content)
    assert 0 < len(held(found["a/packed"], content)) < VALUES.nbytes
    assert found["nothing"].extents == ()


async def test_a_link_is_another_name_and_leads_out_of_no_file(listed, tmp_path):
    def write(file):
        file["dff/data"] = VALUES
        file["other/data"] = VALUES
        file["dff/timestamps"] = h5py.SoftLink("/other/data")
        file["hard"] = file["dff/data"]
        file["gone"] = h5py.SoftLink("/nowhere")
        file["outside"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/x")
        file["loop/again"] = h5py.SoftLink("/loop")

    with h5py.File(tmp_path / "secret.h5", "w") as secret:
        secret["x"] = VALUES
    with pytest.raises(BlockUnavailable, match="more objects"):
        await listed(write)

    def without_loop(file):
        write(file)
        del file["loop"]

    found, _, _ = await listed(without_loop)
    assert found["dff/timestamps"].extents == found["other/data"].extents
    assert found["hard"].extents == found["dff/data"].extents
    assert not {"gone", "outside"} & set(found)


async def test_what_is_smaller_than_a_block_is_here_afterwards_with_all_attributes(
    listed, store, reader_of, remote, tmp_path
):
    def write(file):
        for n in range(20):
            file[f"large/{n}"] = VALUES
            file[f"large/{n}"].attrs["unit"] = f"volt {n}"
            file[f"small/{n}"] = np.arange(500)
            file[f"text/{n}"] = f"some words of {n}"

    _, blob, content = await listed(write)
    assert look(store.folder, blob).bytes < 0.8 * blob.size
    here = tmp_path / "here.nwb"
    with here.open("wb") as file:
        file.truncate(blob.size)
        for start, stop in look(store.folder, blob).extents():
            file.seek(start)
            file.write(content[start:stop])
    with h5py.File(here) as file:  # Of what is here alone.
        assert file["text/7"].asstr()[()] == "some words of 7"
        assert file["small/19"][499] == 499
        assert file["large/3"].attrs["unit"] == "volt 3"


async def test_a_value_that_claims_terabytes_is_not_read(listed):
    def write(file):
        file.create_dataset("bomb", shape=(1 << 42,), dtype="u1", chunks=(1 << 20,))

    assert (await listed(write))[0]["bomb"].extents == ()


async def test_what_is_no_hdf5_has_no_arrays_and_what_is_damaged_says_so(memory, reader_of):
    assert await arrays_in(reader_of(memory.put("table.csv", b"a,b\n" * 1000))) == []
    assert await arrays_in(reader_of(memory.put("empty.csv", b""))) == []
    broken = b"\x89HDF\r\n\x1a\n" + b"\0" * 3000
    with pytest.raises(BlockUnavailable, match="its HDF5 structure cannot be read"):
        await arrays_in(reader_of(memory.put("x.nwb", broken)))


async def test_why_a_block_cannot_be_had_is_said_and_not_what_hdf5_makes_of_it(
    memory, reader_of, remote, tmp_path
):
    from vbofs.errors import ObjectMissing

    with h5py.File(tmp_path / "x", "w") as file:
        for n in range(100):
            file[f"{n}/x"] = VALUES
    blob = memory.put("x.nwb", (tmp_path / "x").read_bytes())
    reader = reader_of(blob)
    await reader.read(0, BLOCK_SIZE)
    remote.failures.extend((0, ObjectMissing("it is gone")) for _ in range(1000))
    with pytest.raises(BlockUnavailable, match="it is gone"):
        await arrays_in(reader)


async def test_garbage_of_h5py_that_lies_about_stops_nobody(listed, tmp_path):
    """Collected by trio's thread while another is in h5py, it would wait for that one's lock."""
    with h5py.File(tmp_path / "other.h5", "w") as other:
        for n in range(200):
            cycle = [other.create_group(f"{n}")]
            cycle.append(cycle)
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        found, _, _ = await listed(lambda file: file.update({f"{n}": VALUES for n in range(30)}))
    finally:
        gc.set_threshold(*before)
    assert len(found) == 30


def test_an_array_is_called_by_its_name_a_part_of_it_or_a_pattern():
    arrays = [
        Array(name, ())
        for name in ("processing/ophys/dff/traces/data", "processing/running/speed/data", "dffx/a")
    ]
    for words, expected in (
        (["dff"], [0]),
        (["processing/ophys"], [0]),
        (["/processing/running/"], [1]),
        (["data"], [0, 1]),
        (["dff*"], [0, 2]),
        (["processing"], [0, 1]),
        (["ophys/dff"], []),
    ):
        assert chosen(arrays, words) == [arrays[n] for n in expected], words


def test_apart_from_some_arrays_is_all_the_rest():
    arrays = [
        Array("a", (Extent(10, 20), Extent(50, 60))),
        Array("b", (Extent(15, 30),)),
    ]
    assert apart_from(100, arrays) == [Extent(0, 10), Extent(30, 50), Extent(60, 100)]
    assert apart_from(60, arrays) == [Extent(0, 10), Extent(30, 50)]
    assert apart_from(100, []) == [Extent(0, 100)]
