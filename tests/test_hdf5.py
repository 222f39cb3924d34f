"""The chase's contract, on files made by hand: what is followed, what is asked, when it ends."""

import struct

import pytest

from vbofs.blocks.extents import BLOCK_SIZE, covering
from vbofs.blocks.hdf5 import Chase, is_hdf5
from vbofs.blocks.hdf5.chase import FORESIGHT, SHARE, SPARE
from vbofs.blocks.hdf5.lengths import Lengths
from vbofs.blocks.hdf5.messages import attribute, link
from vbofs.blocks.hdf5.pointer import Kind, to
from vbofs.blocks.hdf5.visits import Visits
from vbofs.model import Extent

SIGNATURE = b"\x89HDF\r\n\x1a\n"
NOWHERE = (1 << 64) - 1
SIZE = 64 * BLOCK_SIZE


def superblock(root):
    """Version 2: fewer fields to get wrong."""
    start = SIGNATURE + bytes([2, 8, 8, 0])
    return start + struct.pack("<QQQQI", 0, NOWHERE, SIZE, root, 0)


def header(*messages):
    """A version 1 object header of (type, body) pairs."""
    body = b"".join(
        struct.pack("<HHBxxx", kind, len(content), 0) + content for kind, content in messages
    )
    return struct.pack("<BxHIIxxxx", 1, len(messages), 1, len(body)) + body


def continued(address, size):
    return 0x10, struct.pack("<QQ", address, size)


def table(tree, heap):
    return 0x11, struct.pack("<QQ", tree, heap)


def contiguous(address, size):
    return 0x08, struct.pack("<BBQQ", 3, 1, address, size)


def datatype(kind, size):
    return 0x03, struct.pack("<BBBBI", 0x10 | kind, 0, 0, 0, size)


def tree(*children):
    keys = b"".join(struct.pack("<QQ", child, 0) for child in children)
    return struct.pack("<4sBBHQQQ", b"TREE", 0, 0, len(children), NOWHERE, NOWHERE, 0) + keys


def symbols(*headers):
    entries = b"".join(struct.pack("<QQ24x", 0, address) for address in headers)
    return struct.pack("<4sBxH", b"SNOD", 1, len(headers)) + entries


def heap(address, size):
    return struct.pack("<4s4xQQQ", b"HEAP", size, NOWHERE, address)


class File:
    """SIZE bytes, nearly all zero, fed to a chase in blocks."""

    def __init__(self, pieces, size=SIZE, **options):
        self.pieces = pieces
        self.content = bytearray(SIZE)
        for at, piece in pieces.items():
            self.content[at : at + len(piece)] = piece
        self.chase = Chase(size, **options)

    def feed(self, block):
        start = block * BLOCK_SIZE
        return self.chase.learn(start, memoryview(self.content)[start : start + BLOCK_SIZE])


def blocks(extents):
    return [block for extent in extents for block in covering(extent)]


AT = {block: block * BLOCK_SIZE for block in range(64)}


def test_what_is_hdf5_is_told_by_its_first_block():
    assert is_hdf5(superblock(96))
    assert is_hdf5(bytes(1024) + superblock(96))
    assert not is_hdf5(bytes(1000) + superblock(96))
    assert not is_hdf5(b"")
    assert not is_hdf5(b"id,session\n" * 10000)


def test_opening_asks_for_head_and_tail_once():
    chase = Chase(SIZE)
    assert chase.opening() == [Extent(0, BLOCK_SIZE), Extent(SIZE - 4 * BLOCK_SIZE, SIZE)]
    assert chase.opening() == []


@pytest.mark.parametrize("size", [0, 1, BLOCK_SIZE, BLOCK_SIZE + 1, 3 * BLOCK_SIZE - 1])
def test_opening_a_small_file_asks_for_no_byte_twice(size):
    extents = Chase(size).opening()
    assert all(0 <= extent.start < extent.stop <= size for extent in extents)
    assert len(set(blocks(extents))) == len(blocks(extents))


def test_what_is_no_hdf5_is_finished_at_once():
    file = File({0: b"PK\3\4"})
    assert file.feed(0) == []
    assert file.chase.finished


def test_blocks_before_the_first_teach_nothing():
    file = File({0: superblock(AT[1]), AT[1]: header()})
    assert file.feed(1) == []
    assert not file.chase.finished
    assert blocks(file.feed(0)) == [1]


def test_a_pointer_to_a_block_that_has_passed_is_returned_for_learning_again():
    pieces = {0: superblock(AT[1]), AT[1]: header(table(AT[2], AT[3])), AT[2]: tree(AT[4])}
    file = File(pieces)
    for block in (2, 1):
        file.feed(block)
    assert blocks(file.feed(0)) == [1]
    assert sorted(blocks(file.feed(1))) == [2, 3]
    assert blocks(file.feed(2)) == [4]


def test_a_group_is_followed_from_header_to_members():
    file = File(
        {
            0: superblock(AT[1]),
            AT[1]: header(table(AT[2], AT[3])),
            AT[2]: tree(AT[4], AT[5]),
            AT[3]: heap(AT[6], 88),
            AT[4]: symbols(AT[7], AT[8]),
        }
    )
    assert blocks(file.feed(0)) == [1]
    assert sorted(blocks(file.feed(1))) == [2, 3]
    assert sorted(blocks(file.feed(2))) == [4, 5]
    assert blocks(file.feed(3)) == [6]
    assert sorted(blocks(file.feed(4))) == [7, 8]
    assert not file.chase.finished
    for block in (5, 7, 8):
        assert file.feed(block) == []
    assert file.chase.finished


def test_pointers_within_a_block_are_followed_in_one_call():
    file = File(
        {
            0: superblock(1024),
            1024: header(table(2048, 4096)),
            2048: tree(8192),
            8192: symbols(AT[9]),
        }
    )
    assert blocks(file.feed(0)) == [9]


def test_a_header_is_continued_where_it_says():
    rest = header(table(AT[3], AT[4]))[16:]
    file = File({0: superblock(1024), 1024: header(continued(AT[2], len(rest))), AT[2]: rest})
    assert file.feed(0) == [Extent(AT[2], AT[2] + len(rest))]
    assert sorted(blocks(file.feed(2))) == [3, 4]


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_a_structure_across_two_blocks_is_parsed_when_both_are_here(order):
    where = AT[2] - 20
    file = File({0: superblock(where), where: header(table(AT[3], AT[4]))})
    assert blocks(file.feed(0)) == [1, 2]
    first, last = order
    assert file.feed(first) == []
    assert sorted(blocks(file.feed(last))) == [3, 4]


def test_a_node_that_is_larger_than_usual_is_read_whole():
    where = AT[1] - 600
    members = [AT[block] for block in range(10, 60)]
    file = File({0: superblock(1024), 1024: header(table(where, 0)), where: tree(*members)})
    assert blocks(file.feed(0)) == [0, 1]
    assert sorted(blocks(file.feed(1))) == list(range(10, 60))


def test_small_values_are_fetched_and_large_ones_are_not():
    file = File(
        {0: superblock(1024), 1024: header(contiguous(AT[5], 8), contiguous(AT[9], 1 << 20))}
    )
    assert file.feed(0) == [Extent(AT[5], AT[5] + 8)]


def test_a_string_is_followed_into_the_heap_that_holds_it():
    text = struct.pack("<IQI", 300_000, AT[20], 1)
    pieces = {
        0: superblock(1024),
        1024: header(datatype(9, 16), contiguous(AT[5], 16)),
        AT[5]: text,
        AT[20]: struct.pack("<4s4xQ", b"GCOL", 300_048),
    }
    file = File(pieces)
    assert blocks(file.feed(0)) == [5]
    assert sorted(set(blocks(file.feed(5)))) == [20, 21, 22, 23, 24]


def chunk_tree(level, *children):
    """A node of the chunk tree of an array of two dimensions, with keys of 32 bytes."""
    entries = b"".join(bytes(32) + struct.pack("<Q", child) for child in children)
    return struct.pack("<4sBBHQQ", b"TREE", 1, level, len(children), NOWHERE, NOWHERE) + entries


def test_a_chunked_array_is_followed_through_the_tree_of_its_chunks_and_not_to_them():
    chunked = 0x08, struct.pack("<BBBQIII", 3, 2, 3, AT[7], 10, 10, 8)
    pieces = {
        0: superblock(1024),
        1024: header(chunked),
        AT[7]: chunk_tree(1, AT[20], *[AT[30]] * 8),
        AT[20]: chunk_tree(0, AT[40], AT[41]),
        AT[30]: chunk_tree(0, AT[42]),
    }
    file = File(pieces)
    assert blocks(file.feed(0)) == [7]
    assert file.feed(7) == []
    assert file.chase.finished
    # Whoever reads one of the last nodes walks them all; nobody else needs them.
    assert file.chase.missed(Extent(AT[10], AT[12])) == []
    assert file.chase.missed(Extent(AT[20] - 4096, AT[21])) == [], "a guess of the kernel's"
    assert blocks(file.chase.missed(Extent(AT[20], AT[21]))) == [30]
    assert file.chase.missed(Extent(AT[30], AT[31])) == []


def test_a_chunk_tree_with_few_nodes_is_followed_to_the_last_of_them():
    chunked = 0x08, struct.pack("<BBBQIII", 3, 2, 3, AT[7], 10, 10, 8)
    nodes = chunk_tree(1, AT[20], AT[30])
    file = File({0: superblock(1024), 1024: header(chunked), AT[7]: nodes})
    file.feed(0)
    assert blocks(file.feed(7)) == [20, 30]


def test_the_first_of_many_arrays_of_strings_that_is_looked_into_brings_the_others():
    arrays = {1024 + 1024 * n: AT[10 + 4 * n] + BLOCK_SIZE - 4096 for n in range(5)}
    text = datatype(9, 16)
    headers = {at: header(text, contiguous(start, 20_000)) for at, start in arrays.items()}
    pieces = {0: superblock(7168), 7168: header(table(8192, 9000)), 8192: tree(8800)}
    file = File({**pieces, 8800: symbols(*headers), **headers})
    assert sorted(blocks(file.feed(0))) == [10, 14, 18, 22, 26], "as far as they are followed"
    # The first value of such an array is read with all of HDF5's buffer, beyond that block.
    assert {11, 19, 23, 27} <= set(blocks(file.chase.missed(Extent(AT[15] - 4096, AT[16]))))


def test_an_array_of_strings_that_begins_in_a_page_with_headers_is_known_by_how_much_is_read():
    headers = {1024 + 1024 * n: AT[8 + 4 * n] + 5000 for n in range(1, 5)}
    members = {at: header(datatype(9, 16), contiguous(at2, 100_000)) for at, at2 in headers.items()}
    beside = {AT[12] + 4096: header()}
    pieces = {0: superblock(7168), 7168: header(table(8192, 9000)), 8192: tree(8800)}
    file = File({**pieces, 8800: symbols(*members, *beside), **members, **beside})
    file.feed(0)
    file.feed(12)
    page = AT[12] + 4096
    assert file.chase.missed(Extent(page, page + 16_384)) == [], "may be of the header"
    assert {17, 21, 25} <= set(blocks(file.chase.missed(Extent(page, page + 69_632))))


def columns(size):
    """A file of *size* bytes with five arrays, each of less than a block."""
    headers = {1024 * n: header(contiguous(AT[8 + 2 * n], 40_000)) for n in range(1, 6)}
    pieces = {0: superblock(7168), 7168: header(table(8192, 9000)), 8192: tree(8800)}
    file = File({**pieces, 8800: symbols(*headers), **headers}, size)
    assert file.feed(0) == []
    return file


def test_a_second_column_that_is_read_brings_the_others_and_the_first_does_not():
    file = columns(LARGE)
    assert file.chase.missed(Extent(AT[10], AT[11])) == []
    assert file.chase.missed(Extent(AT[12] + 30_000, AT[13])) == [], "a guess of the kernel's"
    assert blocks(file.chase.missed(Extent(AT[14], AT[15]))) == [10, 12, 16, 18]


def test_for_who_has_looked_at_everything_the_first_column_brings_the_others():
    file = columns(SIZE)
    assert file.chase.missed(Extent(AT[12], AT[12] + 20_000)) == [], "a guess of the kernel's"
    assert blocks(file.chase.missed(Extent(AT[12], AT[13]))) == [10, 14, 16, 18]


@pytest.mark.parametrize("dimensions", [0, 1, 200, 255])
def test_a_chunk_tree_that_lies_about_its_dimensions_costs_nothing(dimensions):
    chunked = 0x08, struct.pack("<BBBQIII", 3, 2, dimensions, AT[7], 10, 10, 8)
    node = struct.pack("<4sBBHQQ", b"TREE", 1, 1, 65535, NOWHERE, NOWHERE).ljust(40_000, b"\7")
    file = File({0: superblock(1024), 1024: header(chunked), AT[7]: node})
    file.feed(0)
    assert file.feed(7) == []
    assert file.chase.finished


#: Of a file too large to be searched whole.
LARGE = 1 << 30
#: Reads of one page each, by where it is.
GLANCES = {at: Extent(at, at + 4096) for at in range(0, 16 * 4096, 4096)}


def group_of_ten(*, shared=False):
    """A group whose children have values in blocks far away; each header has a page of its own, or
    if *shared* one with the tree of a group in it."""
    values = {4096 * n: AT[4 * n] for n in range(3, 13)}
    trees = {at: [table(at + 2048, NOWHERE)] if shared else [] for at in values}
    headers = {at: header(contiguous(value, 100), *trees[at]) for at, value in values.items()}
    nodes = {2048: tree(3072, 4096), 3072: symbols(*[*headers][:8]), 4096: symbols(*[*headers][8:])}
    return File(
        {**nodes, 0: superblock(1024), 1024: header(table(2048, NOWHERE)), **headers}, LARGE
    )


VALUES = [12, 16, 20, 24, 28, 32, 36, 40, 44, 48]


@pytest.mark.parametrize(("shared", "many"), [(False, 3), (True, 7)])
def test_a_reader_who_has_looked_at_many_siblings_has_values_fetched_when_he_rests(shared, many):
    """Some prove more than others: a page with trees in it is read on the way to an array, too."""
    file = group_of_ten(shared=shared)
    assert file.feed(0) == []
    assert file.chase.rests
    assert not file.chase.finished
    last = 2 + many
    for page in (*range(3, last + 1), 3, last):
        assert file.chase.saw(GLANCES[page * 4096]) == []
    assert file.chase.saw(Extent(10 * 4096, 40 * 4096)) == [], "an array is read through"
    assert file.chase.saw(GLANCES[11 * 4096]) == [], "the second node is as a group of its own"
    assert not file.chase.may_want_values
    # He may only look: no value, but the block into which the kernel runs on from the last header.
    assert blocks(file.chase.saw(GLANCES[(last + 1) * 4096])) == [1]
    assert file.chase.may_want_values
    assert not file.chase.finished
    assert sorted(blocks(file.chase.rested())) == VALUES
    assert file.chase.finished
    assert not file.chase.may_want_values


def test_the_first_value_that_is_missed_brings_the_others():
    file = group_of_ten()
    file.feed(0)
    assert file.chase.missed(Extent(AT[21], AT[21] + 4096)) == []
    assert file.chase.missed(Extent(AT[20] - 4096, AT[20] + 4096)) == [], "a guess of the kernel's"
    assert set(VALUES) <= {20, *blocks(file.chase.missed(Extent(AT[20], AT[20] + 4096)))}


def test_values_of_a_small_file_are_fetched_with_its_metadata():
    assert sorted(blocks(File(group_of_ten().pieces).feed(0))) == VALUES


def listed(values, ends=()):
    """What is asked for of a file by who lists it, and rests: *values* of 8 objects, and headers
    elsewhere."""
    headers = {4096 * n: header(contiguous(AT[values[n % len(values)]], 100)) for n in range(3, 11)}
    nodes = {2048: tree(3072, 3584), 3072: symbols(*headers), 3584: symbols(*ends)}
    file = File(
        {**nodes, 0: superblock(1024), 1024: header(table(2048, NOWHERE)), **headers}, LARGE
    )
    first = blocks(file.feed(0))
    later = [block for at in headers for block in blocks(file.chase.saw(GLANCES[at]))]
    return first, later + blocks(file.chase.rested())


def test_for_who_lists_holes_are_filled():
    assert sorted(listed([20, 22, 25])[1]) == [20, 21, 22, 25]


def test_for_who_lists_the_block_is_fetched_into_which_the_kernel_runs_on():
    near, far = AT[40] + BLOCK_SIZE - 1024, AT[50] + BLOCK_SIZE - 20_000
    first, later = listed([20], [near, far])
    assert (first, sorted(later)) == ([40, 50], [20, 41])


def test_with_a_page_that_is_waited_for_the_block_is_fetched_into_which_the_kernel_runs_on():
    near, far = AT[20] + BLOCK_SIZE - 15_000, AT[30] + BLOCK_SIZE - 25_000
    file = File({0: superblock(1024), 1024: header(table(near, far))}, LARGE)
    assert sorted(blocks(file.feed(0))) == [20, 30]
    assert blocks(file.chase.missed(Extent(near // 4096 * 4096, AT[21]))) == [21]
    assert file.chase.missed(Extent(far // 4096 * 4096, AT[31] - 12_288)) == []
    assert file.chase.missed(Extent(AT[40] - 8192, AT[40])) == [], "nothing is known of that page"


def test_what_is_fetched_only_for_where_it_lies_is_bounded():
    ends = [AT[5] + BLOCK_SIZE * 5 * n + BLOCK_SIZE - 1024 for n in range(30)]
    first, later = listed([4], ends)
    assert (len(first), len(later)) == (len(ends), 1 + len(ends))
    ends = [AT[5] + BLOCK_SIZE * 5 * n + BLOCK_SIZE - 1024 for n in range(60)]
    assert len(listed([4], ends)[1]) == 1 + SPARE // BLOCK_SIZE


def test_addresses_count_from_the_superblock():
    userblock = 2048
    file = File({userblock: superblock(AT[3]), userblock + AT[3]: header(table(AT[4], AT[5]))})
    assert file.feed(0) == [Extent(userblock + AT[3], userblock + AT[3] + 512)]
    assert len(file.feed(3)) == 2


def test_what_is_on_its_way_is_not_asked_for_again():
    file = File({0: superblock(1024), 1024: header(table(AT[2], AT[2] + 600))})
    assert blocks(file.feed(0)) == [2]
    assert file.chase.statistics().asked == BLOCK_SIZE


def test_a_cycle_is_walked_once():
    pieces = {0: superblock(1024), 1024: header(table(2048, 4096)), 2048: tree(8192)}
    file = File({**pieces, 8192: symbols(1024, 1024, 1024)})
    assert file.feed(0) == []
    assert file.chase.finished


def test_the_budget_is_the_end():
    members = [AT[block] for block in range(2, 60)]
    pieces = {0: superblock(1024), 1024: header(table(2048, NOWHERE)), 2048: tree(*members)}
    file = File(pieces, budget=3 * BLOCK_SIZE)
    assert len(file.feed(0)) == 3
    assert file.chase.statistics().given_up == len(members) - 3
    assert File(pieces, budget=0).chase.opening() == []


def test_who_has_read_much_may_have_more_of_the_structure():
    chunked = 0x08, struct.pack("<BBBQIII", 3, 2, 3, AT[7], 10, 10, 8)
    leaves = [AT[block] for block in range(20, 50)]
    pieces = {0: superblock(1024), 1024: header(chunked), AT[7]: chunk_tree(1, *leaves)}
    first = Extent(leaves[0], leaves[0] + 4096)
    for share, asked in (0, 1), (8, 9), (100, len(leaves) - 1):
        file = File(pieces, budget=2 * BLOCK_SIZE)
        file.feed(0)
        file.feed(7)
        assert file.chase.saw(Extent(0, share * SHARE * BLOCK_SIZE)) == []
        assert len(file.chase.missed(first)) == asked


def test_places_are_remembered_of_so_many_structures_and_a_circle_has_an_end():
    visits = Visits(3)
    for n in range(1, 9):
        visits.note(to(Kind.HEADER, 1000 * n), 1000 * (n - 1), n)
    visits.note(to(Kind.HEADER, 0), 8000, 0)
    visits.note(to(Kind.HEADER, 3000), 8000, 0)
    for n in (5, 8, 3, 4):
        visits.add(Extent(n, n + 1), 1000 * n)
    assert visits.arrays == [Extent(3, 4), Extent(5, 6), Extent(8, 9)]


def test_a_chase_shows_its_state():
    file = File({0: superblock(AT[1])})
    file.feed(0)
    assert repr(file.chase) == "<Chase 2 found, 1 waiting, 65536 bytes asked>"
    file.feed(1)
    assert repr(file.chase) == "<Chase 2 found, finished, 65536 bytes asked>"


# --- items of a fractal heap


def test_links_of_every_kind_end_where_the_next_begins():
    hard = b"\1\0\5speed" + struct.pack("<Q", 4096)
    soft = b"\1\x18\1\1\4soft" + struct.pack("<H", 6) + b"/speed"
    ordered = b"\1\x04" + bytes(8) + b"\5other" + struct.pack("<Q", 8192)
    pointers, at = link(hard + soft + ordered, 0)
    assert (pointers[0].start, at) == (4096, len(hard))
    assert link(hard + soft + ordered, at) == ([], len(hard + soft))
    assert link(hard + soft + ordered, len(hard + soft))[0][0].start == 8192
    with pytest.raises(IndexError):
        link(bytes(20), 0)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_attributes_of_every_version_lead_to_their_strings(version):
    name, kind = b"unit\0", struct.pack("<BBBBI", 0x19, 1, 0, 0, 16)
    space = bytes([1, 1, 0, 0, 0, 0, 0, 0]) + struct.pack("<Q", 2)
    pieces = [name, kind, space]
    if version == 1:
        pieces = [piece + bytes(-len(piece) % 8) for piece in pieces]
    start = struct.pack("<BBHHH", version, 0, len(name), len(kind), len(space))
    values = struct.pack("<IQIIQI", 4, 4096, 1, 5, 65536, 2)
    content = start + (b"\1" if version == 3 else b"") + b"".join(pieces) + values
    pointers, stop = attribute(content + b"more", 0)
    assert [pointer.start for pointer in pointers] == [4096, 65536]
    assert stop == len(content)


def group_beside_arrays(*trees, length=10 * BLOCK_SIZE):
    """Two arrays of *length* bytes, and after them groups whose *trees* are elsewhere."""
    headers = {16384 + 1024 * n: header(table(at, NOWHERE)) for n, at in enumerate(trees)}
    arrays = {4096 + 1024 * n: header(contiguous(AT[2], length)) for n in range(2)}
    names = {1024 + 512 * n: part for n, part in enumerate(_eights([*headers, *arrays]))}
    pieces = {0: superblock(512), 512: header(table(600, NOWHERE)), 600: tree(*names)}
    for at, part in names.items():
        pieces[at] = symbols(*part)
    return File({**pieces, **headers, **arrays}, LARGE)


def _eights(addresses):
    return [addresses[n : n + 8] for n in range(0, len(addresses), 8)]


def test_names_are_looked_for_an_arrays_length_after_the_tree_that_points_to_them():
    file = group_beside_arrays(AT[20] + 512)
    assert sorted(blocks(file.feed(0))) == [20, 30]


def test_such_a_guess_may_take_two_blocks_and_not_what_is_here_or_beyond_the_end():
    edge = AT[21] - 544 - 1024
    assert sorted(blocks(group_beside_arrays(edge).feed(0))) == [20, 30, 31]
    assert blocks(group_beside_arrays(edge, length=LARGE - AT[21]).feed(0)) == [20]
    assert blocks(group_beside_arrays(AT[20], length=32 << 10).feed(0)) == [20], "too near"
    twice = group_beside_arrays(AT[20], AT[30])
    assert sorted(blocks(twice.feed(0))) == [20, 30, 40]


def test_only_so_much_is_guessed_of_one_file():
    trees = [AT[20] + 20 * n * BLOCK_SIZE for n in range(24)]
    asked = blocks(group_beside_arrays(*trees).feed(0))
    assert {at // BLOCK_SIZE for at in trees} <= set(asked)
    assert len(asked) == 24 + FORESIGHT // BLOCK_SIZE


def test_the_commonest_length_counts():
    lengths = Lengths()
    tree_at = Extent(1000, 1544)
    assert lengths.beyond(tree_at) is None
    for length in (90_000, 70_000, 1000, 1000, 1000, 70_000):
        lengths.note(length)
    beyond = lengths.beyond(tree_at)
    assert (beyond.start, beyond.size) == (71_544, 2048)
