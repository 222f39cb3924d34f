"""The tree: what was put under a name is found there, and an inode number means one thing."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import BUCKET
from vbofs.catalog.tree import ROOT, Directory, File, Tree
from vbofs.errors import NoSuchName
from vbofs.model import Blob, ObjectVersion

NAMES = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=8)


def blob_of(key, version="v1", size=10, mtime=5):
    return Blob(ObjectVersion(BUCKET, key, version), size, "etag", mtime)


def names(tree, ino):
    return [name for name, _ in tree.children(ino)]


def walk(tree, ino=ROOT, path=""):
    """Every file below *ino* by its path."""
    for name, node in tree.children(ino):
        below = f"{path}/{name.decode()}"
        if isinstance(node, Directory):
            yield from walk(tree, node.ino, below)
        else:
            yield below, node


def filled(files, parent=ROOT):
    tree = Tree()
    ino = tree.add_directory(parent, "v1", 7, built=False)
    tree.fill(ino, files)
    return tree, ino


def test_a_new_tree_has_a_root_and_nothing_else():
    tree = Tree(mtime=3)
    assert tree.children(ROOT) == []
    assert tree.attrs(tree[ROOT]) == (attrs := tree.attrs(tree.directory(ROOT)))
    assert (attrs.ino, attrs.mode, attrs.nlink) == (1, stat.S_IFDIR | 0o555, 2)


@given(st.sets(st.lists(NAMES.map(lambda n: f"d{n}"), max_size=3).map(tuple), max_size=20))
def test_what_is_filled_in_is_found_by_walking(folders):
    files = [("/".join([*path, "file"]), blob_of("/".join(path))) for path in sorted(folders)]
    tree, ino = filled(files)
    found = {path: node.blob for path, node in walk(tree, ino)}
    assert found == {f"/{path}": blob for path, blob in files}
    assert tree.file_count == len({blob for _, blob in files})


@given(st.sets(st.tuples(NAMES.map(lambda n: f"d{n}"), NAMES), max_size=20))
def test_a_directory_has_as_many_links_as_posix_says(paths):
    tree, ino = filled([(f"{folder}/{name}", blob_of(name)) for folder, name in paths])
    folders = {folder for folder, _ in paths}
    assert tree.attrs(tree[ino]).nlink == 2 + len(folders)
    assert tree.attrs(tree[ROOT]).nlink == 3


def test_two_releases_that_pin_one_version_share_its_inode():
    tree = Tree()
    inos = []
    for release in ("v1", "v2"):
        ino = tree.add_directory(ROOT, release, 0, built=False)
        tree.fill(ino, [("dir/same", blob_of("same")), ("dir/new", blob_of("new", release))])
        inos.append(tree.child(ino, b"dir").ino)
    first, second = inos
    assert first != second
    assert tree.child(first, b"same").ino == tree.child(second, b"same").ino
    assert tree.child(first, b"new").ino != tree.child(second, b"new").ino
    assert tree.bytes == 30


def test_filling_twice_changes_nothing():
    tree, ino = filled([("a", blob_of("a"))])
    before = repr(tree)
    tree.fill(ino, [("b", blob_of("b"))])
    assert names(tree, ino) == [b"a"]
    assert repr(tree) == before


def test_an_unbuilt_directory_shows_nothing_and_takes_no_names():
    tree = Tree()
    ino = tree.add_directory(ROOT, "v1", 0, built=False)
    assert tree.directory(ino).children is None
    with pytest.raises(NoSuchName):
        tree.child(ino, b"a")
    with pytest.raises(AssertionError):
        tree.add_file(ino, "a", blob_of("a"))


def test_a_moved_symlink_is_a_new_inode():
    tree = Tree()
    first = tree.set_symlink(ROOT, "latest", "v1", 1)
    second = tree.set_symlink(ROOT, "latest", "v2", 2)
    assert first != second
    assert tree.child(ROOT, b"latest").target == b"v2"
    assert tree[first].target == b"v1"
    attrs = tree.attrs(tree[second])
    assert (attrs.mode, attrs.size, attrs.mtime) == (stat.S_IFLNK | 0o777, 2, 2)


def test_a_file_tells_the_size_and_time_of_its_object():
    tree, ino = filled([("a", blob_of("a", size=123, mtime=9))])
    attrs = tree.attrs(tree.child(ino, b"a"))
    assert (attrs.mode, attrs.size, attrs.mtime) == (stat.S_IFREG | 0o444, 123, 9)


def test_children_come_in_the_order_of_their_bytes():
    tree, ino = filled([(name, blob_of(name)) for name in ("b", "ä", "a", "B", "10", "9")])
    assert names(tree, ino) == sorted(n.encode() for n in ("b", "ä", "a", "B", "10", "9"))


@pytest.mark.parametrize("ino", [-1, 0, 99])
def test_an_inode_that_was_never_given_out_is_no_bug(ino):
    with pytest.raises(NoSuchName):
        Tree()[ino]


def test_a_file_is_no_directory():
    tree, ino = filled([("a", blob_of("a"))])
    file = tree.child(ino, b"a")
    assert isinstance(file, File)
    with pytest.raises(NoSuchName):
        tree.directory(file.ino)
    with pytest.raises(NoSuchName):
        tree.child(file.ino, b"b")
