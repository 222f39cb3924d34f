"""Maps, listings, facts and profiles that a stranger wrote: none is believed, none is an error."""

from __future__ import annotations

import msgspec
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import BUCKET, contents
from vbofs.blocks.blobfile import BlobFile
from vbofs.blocks.blobmap import HEADER_SIZE, map_size
from vbofs.blocks.extents import BLOCK_SIZE, block_count
from vbofs.blocks.profile import MOST_BLOCKS, Profile
from vbofs.dataset import Listing
from vbofs.dataset.facts import FactTable
from vbofs.kept import Kept
from vbofs.model import Blob, Extent, ObjectVersion

SIZE = 3 * BLOCK_SIZE + 77
CONTENT = contents(SIZE)
BLOB = Blob(ObjectVersion(BUCKET, "key", "v1"), SIZE, "etag", 0)


def _signed(body):
    """A file as ``Kept`` writes it: only its shape can be wrong."""
    return f"vbofs 1 {xxhash.xxh3_128_hexdigest(body)}\n".encode() + body


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=9)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.parametrize("shape", [Listing, FactTable, list[int], bytes], ids=str)
@given(body=ANYTHING.map(msgspec.msgpack.encode) | st.binary(max_size=200))
def test_a_value_of_any_shape_is_understood_or_none(tmp_path_factory, shape, body):
    path = tmp_path_factory.mktemp("kept") / "value"
    path.write_bytes(_signed(body))
    value = Kept(path, shape).load()
    assert value is None or msgspec.convert(msgspec.to_builtins(value), shape) == value


@given(body=st.binary(max_size=300))
def test_a_file_of_any_bytes_is_none(tmp_path_factory, body):
    path = tmp_path_factory.mktemp("kept") / "value"
    path.write_bytes(body)
    assert Kept(path, FactTable).load() is None


def test_a_document_nested_without_end_is_none(tmp_path, allows_log):
    path = tmp_path / "value"
    path.write_bytes(_signed(b"\x91" * 1_000_000))
    assert Kept(path, list).load() is None


@given(blocks=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=600))
def test_a_profile_names_only_blocks_that_there_are_and_not_too_many(tmp_path_factory, blocks):
    folder = tmp_path_factory.mktemp("profiles")
    path = folder / BLOB.ident[:2] / BLOB.ident
    path.parent.mkdir()
    path.write_bytes(_signed(msgspec.msgpack.encode(blocks)))
    replayed = Profile(folder, BLOB).replay()
    assert len(replayed) <= MOST_BLOCKS
    assert set(replayed) <= set(range(block_count(SIZE)))


@given(
    slots=st.binary(max_size=map_size(SIZE) - HEADER_SIZE + 20),
    at=st.integers(0, map_size(SIZE) + 10),
)
def test_a_map_that_says_anything_gives_no_byte_that_was_not_put(
    tmp_path_factory, allows_log, slots, at
):
    allows_log("not the map that belongs there")
    path = tmp_path_factory.mktemp("blobs") / "blob"
    file = BlobFile(path, BLOB)
    for block in range(block_count(SIZE)):
        file.put(block, memoryview(CONTENT)[block * BLOCK_SIZE :][:BLOCK_SIZE])
    with path.with_name("blob.map").open("r+b") as marks:
        marks.seek(at)
        marks.write(slots)
    for reader in (file, BlobFile(path, BLOB)):
        reader.is_complete()
        answer = reader.read(Extent(0, SIZE))
        assert answer is None or answer == CONTENT
