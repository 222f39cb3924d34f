"""``allensdk/``: every name that AllenSDK looks for, and links that always come to an end."""

from __future__ import annotations

import pytest

from tests.conftest import manifest_name
from vbofs.catalog.allensdk import AllenSDKTree, Shown
from vbofs.catalog.tree import ROOT, Directory, File, OwnLink, Symlink, Text, Tree
from vbofs.catalog.views import VIEWS
from vbofs.model import Blob, ObjectVersion

PROJECT = "p"
TOP = {"_downloaded_data.json", "_manifest_last_used.txt", "resources"}


def blob(key, mtime=7):
    return Blob(ObjectVersion("b", key, "v"), 10, "e", mtime)


def shown(tree, release, mtime=7):
    name = manifest_name(release, PROJECT)
    ino = tree.add_directory(ROOT, f"v{release}", mtime)
    tree.add_file(ino, "readme.txt", blob(f"p/{release}/readme.txt"))
    sessions = tree.add_directory(ino, "behavior_sessions", mtime)
    tree.add_file(sessions, "1.nwb", blob(f"p/{release}/1.nwb"))
    return Shown(release, ino, name, blob(f"p/manifests/{name}", mtime))


@pytest.fixture
def tree():
    return Tree()


@pytest.fixture
def allensdk(tree):
    """Two releases, the later one the latest, of which nobody has looked into any."""
    made = AllenSDKTree(tree, PROJECT)
    for release in ("1.0.1", "1.1.0"):
        made.show(shown(tree, release))
    made.point_latest("1.1.0")
    return made


@pytest.fixture
def build(tree, allensdk):
    """Somebody looks into the static directory of a release."""

    def make(release):
        original = at(tree, f"v{release}").ino
        name = manifest_name(release, PROJECT)
        manifest = at(tree, f"allensdk/{name}").blob
        ino = at(tree, f"allensdk/v{release}/p").ino
        assert tree.directory(ino).children is None
        allensdk.build(Shown(release, original, name, manifest), ino)

    return make


def at(tree, path, ino=ROOT):
    for name in path.split("/"):
        ino = tree.child(ino, name.encode()).ino
    return tree[ino]


def names(tree, path):
    return {name.decode() for name, _ in tree.children(at(tree, path).ino)}


def test_it_shows_every_release_by_each_name_that_the_sdk_uses(tree, allensdk):
    manifests = {manifest_name(release, PROJECT) for release in ("1.0.1", "1.1.0")}
    links = {"p", "p-1.0.1", "p-1.1.0"}
    assert names(tree, "allensdk") == TOP | manifests | links | {"v1.0.1", "v1.1.0"}
    assert at(tree, "allensdk/p-1.0.1").target == b"../v1.0.1"
    assert at(tree, "allensdk/p").target == b"v1.1.0/p"
    assert at(tree, "allensdk/_downloaded_data.json").content == b"{}\n"
    assert isinstance(at(tree, "allensdk/_manifest_last_used.txt"), OwnLink)
    assert names(tree, "allensdk/resources") == set()


def test_a_pinned_directory_shows_one_release(tree, allensdk):
    only = manifest_name("1.0.1", PROJECT)
    assert names(tree, "allensdk/v1.0.1") == TOP | {only, "p", "p-1.0.1"}
    assert at(tree, "allensdk/v1.0.1/p-1.0.1").target == b"../../v1.0.1"
    own = at(tree, "allensdk/v1.0.1/_manifest_last_used.txt")
    assert own.name != at(tree, "allensdk/_manifest_last_used.txt").name


def test_manifests_are_one_file_under_all_their_names(tree, build):
    name = manifest_name("1.0.1", PROJECT)
    build("1.0.1")
    places = ["allensdk", "allensdk/v1.0.1", "allensdk/v1.0.1/p/manifests"]
    assert len({at(tree, f"{place}/{name}").ino for place in places}) == 1


def test_a_static_directory_is_built_from_its_release_without_views(tree, build):
    tree.add_directory(at(tree, "v1.0.1").ino, next(iter(VIEWS)), 0, built=False)
    build("1.0.1")
    assert names(tree, "allensdk/v1.0.1/p") == {"manifests", "behavior_sessions", "readme.txt"}
    link = at(tree, "allensdk/v1.0.1/p/behavior_sessions")
    assert link.target == b"../../../v1.0.1/behavior_sessions"
    assert at(tree, "allensdk/v1.0.1/p/readme.txt") is at(tree, "v1.0.1/readme.txt")


def test_a_release_that_has_manifests_of_its_own_does_not_hide_ours(tree, build):
    tree.add_directory(at(tree, "v1.0.1").ino, "manifests", 0)
    build("1.0.1")
    assert names(tree, "allensdk/v1.0.1/p/manifests") == {manifest_name("1.0.1", PROJECT)}


def test_a_release_that_comes_moves_the_latest(tree, allensdk):
    allensdk.show(shown(tree, "1.2.0", mtime=9))
    allensdk.point_latest("1.2.0")
    assert at(tree, "allensdk/p").target == b"v1.2.0/p"
    assert tree.directory(allensdk.ino).mtime == 9
    before = at(tree, "allensdk/p").ino
    allensdk.point_latest("1.2.0")
    assert at(tree, "allensdk/p").ino == before


def test_who_follows_every_link_comes_to_an_end(tree, build):
    for release in ("1.0.1", "1.1.0"):
        build(release)

    def walk(path, ino):
        """Depth-first through links, as ``find -L``; a directory in itself would never end."""
        node = tree[ino]
        if isinstance(node, Symlink):
            folder = path.rpartition("/")[0].split("/")
            for name in node.target.decode().split("/"):
                folder = folder[:-1] if name == ".." else [*folder, name]
            target = "/".join(folder).strip("/")
            return walk(path, at(tree, target).ino)
        assert path.count("/") < 12, path
        if isinstance(node, Directory):
            return sum(walk(f"{path}/{n.decode()}", child.ino) for n, child in tree.children(ino))
        assert isinstance(node, File | Text | OwnLink)
        return 1

    assert walk("", ROOT) > 20


def test_a_project_too_deep_for_the_sdk_has_no_such_directory(tree):
    allensdk = AllenSDKTree(tree, "lab/p")
    assert allensdk.show(shown(tree, "1.0.1")) == 0
    allensdk.point_latest("1.0.1")
    assert allensdk.ino == 0
    assert [name for name, _ in tree.children(ROOT)] == [b"v1.0.1"]
