"""Real files, real readers: how often they wait, and for how many bytes, with and without a chase.

All figures are counts; see ``hdf5_traces``.
"""

import h5py
import pytest

from tests import hdf5_files
from tests.hdf5_traces import (
    Network,
    list_all,
    list_attributes,
    list_values,
    open_only,
    read_nwb,
    reads_of,
    serve,
)
from vbofs.blocks.hdf5 import Chase
from vbofs.blocks.hdf5.chase import SPARE
from vbofs.demo import releases
from vbofs.demo.nwb import write

#: Of a listing, or of what pynwb reads.
MOST_WAITS, MOST_MEGABYTES = 8, 15
CELL = "processing/ophys/dff/traces/data"
PUBLISHED = {
    "published": {},
    "latest": {"libver": "latest"},
    "chunked, after a userblock": {"chunked": True, "userblock": 4096},
    "large": {"cells": 700},
}
OTHER_SHAPES = {
    "2000 groups": lambda path: hdf5_files.many_groups(path),
    "2000 new groups": lambda path: hdf5_files.many_groups(path, libver="latest"),
    "many attributes": lambda path: hdf5_files.many_attributes(path, libver="earliest"),
    "dense attributes": lambda path: hdf5_files.many_attributes(path),
    "references": hdf5_files.references,
}


@pytest.fixture(scope="module", params=PUBLISHED)
def published(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("published") / f"{request.param}.nwb"
    return hdf5_files.nwb(path, **PUBLISHED[request.param])


@pytest.fixture(scope="module", params=OTHER_SHAPES)
def other(request, tmp_path_factory):
    return OTHER_SHAPES[request.param](tmp_path_factory.mktemp("other") / "file.h5")


def served(path, job):
    """What *job* costs without and with a chase; the latter as a pair with the chase."""
    reads = reads_of(path, job)
    chase = Chase(path.stat().st_size)
    return serve(path, reads), serve(path, reads, chase), chase


def test_the_files_are_as_large_and_as_scattered_as_the_published_ones(published):
    with h5py.File(published) as file:
        found = []
        file.visititems(lambda _, item: found.append(item.__class__))
    assert found.count(h5py.Dataset) > 230
    assert published.stat().st_size > 280e6
    assert serve(published, reads_of(published, list_all)).waits > 50


@pytest.mark.parametrize("job", [list_all, list_attributes, read_nwb])
def test_a_listing_waits_a_few_times_and_not_once_for_each_block(published, job):
    alone, chased, chase = served(published, job)
    print(f"{published.stem} {job.__name__}: {alone.waits} waits -> {chased}; {chase}")
    assert chased.waits <= MOST_WAITS < 60 <= alone.waits
    assert chased.demanded <= 1, "but for the first value, blocks are asked for before"
    assert chased.megabytes <= MOST_MEGABYTES
    assert chased.megabytes <= 1.1 * alone.megabytes + SPARE / 1e6, "and few others are"
    assert chase.rests
    assert chase.statistics().given_up == 0


def test_opening_costs_no_more_waits_than_before(published):
    alone, chased, _ = served(published, open_only)
    assert chased.waits <= alone.waits


def test_who_goes_straight_to_an_array_has_less_fetched_than_who_lists(published):
    straight, chase = served(published, lambda file: file[CELL][0, 3])[1:]
    listing, values = served(published, list_all)[2], served(published, list_values)[2]
    print(f"{straight}; {chase}, a listing's {listing}, with values {values}")
    assert chase.statistics().asked <= 0.92 * listing.statistics().asked
    assert listing.statistics().asked < values.statistics().asked
    assert straight.waits <= MOST_WAITS


def test_who_thinks_after_a_listing_waits_for_nothing_when_he_reads_values(published):
    chase = Chase(published.stat().st_size)
    network = Network(published, chase)
    for read in reads_of(published, list_all):
        network.read(read)
    assert chase.may_want_values
    network.rest()
    assert chase.finished
    waits = network.served.waits
    for read in reads_of(published, read_nwb):
        network.read(read)
    assert network.served.waits == waits


def test_other_shapes_are_followed_as_well(other):
    alone, chased, chase = served(other, list_values)
    print(f"{alone.waits} waits -> {chased}; {chase}")
    assert chased.waits <= 4 < 20 <= alone.waits
    assert chased.demanded == 0
    assert chase.rests


def test_the_sample_is_followed(tmp_path):
    """One recording of it: the others differ in their numbers."""
    recording = releases.plan(small=True)[-1].files[0].recording
    path = tmp_path / "sample.nwb"
    write(recording, path)
    alone, chased, chase = served(path, read_nwb)
    assert chased.waits <= 5 < 10 <= alone.waits
    assert chased.demanded == 0
    assert chase.finished


def test_blocks_that_came_unasked_and_in_any_order_are_used(published):
    """A reader from the middle of the file, long before the first block."""
    size = published.stat().st_size
    reads = reads_of(published, list_all)
    chase = Chase(size)
    network = Network(published, chase)
    for read in reversed(reads):
        network.read(read)
    assert chase.rests
    assert network.served.waits <= MOST_WAITS


def test_arrays_are_known_in_the_order_in_which_they_are_visited(tmp_path):
    """More names than one node of a tree has."""
    path = hdf5_files.scattered(tmp_path / "scattered.h5", [190, 10])
    visited = []
    with h5py.File(path) as file:
        file.visititems(lambda _, item: visited.append(item))
        offsets = [item.id.get_offset() for item in visited if isinstance(item, h5py.Dataset)]
    assert offsets != sorted(offsets)
    chase = served(path, list_all)[2]
    assert [array.start for array in chase.arrays] == offsets
