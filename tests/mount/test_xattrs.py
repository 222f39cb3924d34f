"""Extended attributes, as getfattr shows them; and that ls -l does not pay for them."""

from __future__ import annotations

import errno
import json
import os
import re
import urllib.request

import pytest

from tests.programs import needs
from vbofs.xattrs import ROOM

FILE = "behavior_sessions/behavior_session_870987812.nwb"
RELEASE = "1.1.0"
PREFIX = "user.vbofs."
NAMES = ("version_id", "url", "blake2b", "etag", "file_id", "release", "verified")


@pytest.fixture
def path(shared):
    return shared / f"v{RELEASE}/{FILE}"


def of(path):
    return {name: os.getxattr(path, PREFIX + name).decode() for name in (*NAMES, "cached_bytes")}


def entry(shared, release=RELEASE, path=FILE):
    """What the release's manifest says of *path*: file_id, and the line."""
    name = f"manifests/visual-behavior-ophys_project_manifest_v{release}.json"
    lines = json.loads((shared / name).read_bytes())["data_files"].items()
    return next((ident, line) for ident, line in lines if line["url"].endswith(path))


@needs("getfattr")
def test_getfattr_shows_what_the_manifest_says(shared, path):
    outcome = shared.machine.execute("getfattr", "-d", "--absolute-names", str(path))
    assert outcome.err == ""
    found = dict(re.findall(r'^user\.vbofs\.(\w+)="(.*)"$', outcome.out, re.MULTILINE))
    ident, line = entry(shared)
    assert tuple(sorted(found)) == tuple(sorted(NAMES))
    assert found["version_id"] == line["version_id"]
    assert found["blake2b"] == line["file_hash"]
    assert (found["file_id"], found["release"]) == (ident, RELEASE)


def test_the_url_is_that_very_version(shared, path, sample):
    facts = of(path)
    with urllib.request.urlopen(facts["url"]) as answer:
        assert answer.headers["x-amz-version-id"] == facts["version_id"]
        assert answer.headers["ETag"].strip('"') == facts["etag"]
        assert answer.read() == sample.release(RELEASE).paths[FILE].read_bytes()


def test_a_file_of_several_releases_names_them_all(shared):
    name = "behavior_ophys_experiments/behavior_ophys_experiment_951980471.nwb"
    facts = of(shared / f"v0.1.0/{name}")
    assert facts == of(shared / f"v1.0.1/{name}")
    assert facts["release"] == "0.1.0,0.2.0,1.0.1"
    assert facts["file_id"] == entry(shared, "1.0.1", name)[0]


def test_a_table_has_no_file_id_and_a_file_outside_the_releases_no_release_and_no_hash(shared):
    table = of(shared / f"v{RELEASE}/project_metadata/behavior_session_table.csv")
    assert (table["file_id"], table["release"]) == ("", RELEASE)
    notes = of(shared / "release_notes.txt")
    assert (notes["file_id"], notes["release"], notes["blake2b"]) == ("", "", "")
    assert notes["version_id"]


def test_what_is_cached_and_verified_is_told_as_it_changes(at_sample):
    mounted = at_sample.mount()
    path = mounted / f"v{RELEASE}/{FILE}"
    before = of(path)
    assert (before["cached_bytes"], before["verified"]) == ("0", "no")
    assert not any((at_sample.cache / "blobs").rglob("*.map"))  # Asking makes nothing.
    path.read_bytes()
    mounted.requests()
    assert int(of(path)["cached_bytes"]) == path.stat().st_size


def test_directories_links_and_our_own_texts_have_none(shared):
    for name in ("", f"v{RELEASE}", "allensdk/_downloaded_data.json"):
        assert os.listxattr(shared / name) == []
        with pytest.raises(OSError, match="No data") as caught:
            os.getxattr(shared / name, PREFIX + "release")
        assert caught.value.errno == errno.ENODATA
    assert os.listxattr(shared / "latest", follow_symlinks=False) == []


@pytest.mark.parametrize("name", ["user.vbofs.", "user.vbofs.nothing", "user.mime_type"])
def test_a_name_that_is_none_of_ours_is_not_there(path, name):
    with pytest.raises(OSError, match="No data"):
        os.getxattr(path, name)


@pytest.mark.parametrize("name", ["security.selinux", "system.posix_acl_access", "trusted.x"])
def test_labels_and_lists_of_others_are_not_supported_which_ls_remembers(path, name):
    with pytest.raises(OSError, match="not supported"):
        os.getxattr(path, name)


@needs("strace")
def test_ls_asks_one_file_for_its_labels_and_no_other(shared):
    folder = shared / f"v{RELEASE}/behavior_sessions"
    files = len(os.listdir(folder))
    traced = "trace=getxattr,lgetxattr,listxattr,llistxattr"
    outcome = shared.machine.execute("strace", "-f", "-e", traced, "ls", "-l", str(folder))
    asked = re.findall(r"^(\w+)\(.*$", outcome.err, re.MULTILINE)
    assert sum("getxattr" in call for call in asked) <= 3
    # coreutils 9.6 and later list the names of each file, once if there is room for all of them.
    assert sum("listxattr" in call for call in asked) <= files


def test_the_names_of_a_file_fit_into_what_ls_has_for_them(path):
    names = os.listxattr(path)
    assert sum(len(name) + 1 for name in names) <= ROOM
    assert names == [PREFIX + name for name in NAMES]


def test_a_release_that_was_published_since_is_named(at_s3, published):
    published.release("1.0.0", {"a/one.nwb": 1000})
    mounted = at_s3.mount(VBOFS_REFRESH_INTERVAL="0")
    path = mounted / "v1.0.0/a/one.nwb"
    assert of(path)["release"] == "1.0.0"
    published.release("1.1.0", {"a/one.nwb": published.pin("1.0.0", "a/one.nwb")})
    assert (mounted / "v1.1.0/a/one.nwb").samefile(path)
    assert of(path)["release"] == "1.0.0,1.1.0"
