"""The tree: names, attributes, what may not be done to it, how little it asks, how it grows."""

from __future__ import annotations

import errno
import gzip
import os
import stat
import subprocess

import pytest

from tests.mount.published import BUCKET, DAY, PROJECT
from tests.mount.waiting import eventually
from tests.s3 import Fault, load_catalogue
from vbofs.catalog.views import VIEWS

FILE = "behavior_sessions/one.nwb"
TABLE = "project_metadata/behavior_session_table.csv"
DEEP = "behavior_ecephys_sessions/1/probes/a/lfp.nwb"
SIZE = 300_001
RELEASES = ("0.1.0", "0.9.0", "0.10.0", "1.0.0-rc.1")


@pytest.fixture
def mounted(at_s3, published):
    """Several releases, of which the highest is not the last in the alphabet."""
    for release in RELEASES:
        published.release(release, {FILE: SIZE, TABLE: b"a,b\n1,2\n", DEEP: 5000})
    published.s3.put(BUCKET, f"{PROJECT}/release_notes.txt", b"What is new\n", last_modified=DAY)
    published.s3.put(BUCKET, f"{PROJECT}/resources/x.pdf", b"%PDF", last_modified=DAY)
    return at_s3.mount(VBOFS_REFRESH_INTERVAL="0")


# --- names


def test_the_root_shows_releases_latest_manifests_and_notes(mounted):
    names = {f"v{release}" for release in RELEASES}
    names |= {"allensdk", "latest", "manifests", "release_notes.txt"}
    assert set(os.listdir(mounted.path)) == names
    assert os.readlink(mounted / "latest") == "v1.0.0-rc.1"
    assert (mounted / "release_notes.txt").read_text() == "What is new\n"


def test_manifests_are_there_as_they_were_published(mounted, published):
    names = {f"{PROJECT}_project_manifest_v{release}.json" for release in RELEASES}
    assert set(os.listdir(mounted / "manifests")) == names
    for name in names:
        truth = published.s3.version(BUCKET, f"{PROJECT}/manifests/{name}").read()
        assert (mounted / f"manifests/{name}").read_bytes() == truth


def test_directories_of_any_depth_come_from_the_urls(mounted, published):
    found = {
        os.path.relpath(folder, mounted / "v0.9.0") for folder, _, _ in os.walk(mounted / "v0.9.0")
    }
    assert found == {
        *(".", "behavior_sessions", "project_metadata", "behavior_ecephys_sessions"),
        *(f"behavior_ecephys_sessions/{d}" for d in ("1", "1/probes", "1/probes/a")),
        *VIEWS,
    }
    assert (mounted / f"v0.9.0/{DEEP}").read_bytes() == published.truth("0.9.0", DEEP)


def test_names_that_are_not_there_are_not_found(mounted):
    for name in ("v9.9.9", "v0.9.0/none", f"v0.9.0/{FILE}/x", "manifests/none", "x" * 256):
        with pytest.raises((FileNotFoundError, NotADirectoryError)):
            os.stat(mounted / name)


# --- attributes


def test_files_have_the_mode_owner_size_and_time_of_the_object(mounted):
    facts = (mounted / f"v0.9.0/{FILE}").stat()
    assert stat.filemode(facts.st_mode) == "-r--r--r--"
    assert (facts.st_uid, facts.st_gid) == (os.getuid(), os.getgid())
    assert (facts.st_size, facts.st_nlink) == (SIZE, 1)
    assert facts.st_mtime_ns == facts.st_ctime_ns == facts.st_atime_ns == int(DAY) * 10**9
    assert facts.st_blocks == -(-SIZE // 512)


def test_directories_are_readable_and_linked_from_their_subdirectories(mounted):
    for name, links in (("v0.9.0", 5 + len(VIEWS)), (f"v0.9.0/{os.path.dirname(DEEP)}", 2)):
        os.listdir(mounted / name)
        eventually(lambda n=name, k=links: (mounted / n).stat().st_nlink == k)
        facts = (mounted / name).stat()
        assert (stat.filemode(facts.st_mode), facts.st_uid) == ("dr-xr-xr-x", os.getuid())


def test_statfs_tells_the_size_of_the_dataset_and_no_room(mounted):
    os.listdir(mounted / "latest")
    facts = os.statvfs(mounted.path)
    size = SIZE + 8 + 5000
    assert size <= facts.f_blocks * facts.f_frsize < 4 * size + facts.f_frsize
    assert (facts.f_bavail, facts.f_bfree) == (0, 0)
    assert facts.f_files >= 3
    assert facts.f_namemax == 255
    assert facts.f_flag & os.ST_RDONLY


# --- strictly read-only

WRITES = {
    "create": lambda file, new: os.open(new, os.O_CREAT | os.O_WRONLY),
    "open for writing": lambda file, new: os.open(file, os.O_WRONLY),
    "open for both": lambda file, new: os.open(file, os.O_RDWR),
    "append": lambda file, new: os.open(file, os.O_APPEND | os.O_WRONLY),
    "truncate": lambda file, new: os.truncate(file, 0),
    "unlink": lambda file, new: os.unlink(file),
    "rmdir": lambda file, new: os.rmdir(file.parent),
    "rename": lambda file, new: os.rename(file, new),
    "link": lambda file, new: os.link(file, new),
    "symlink": lambda file, new: os.symlink("x", new),
    "mkdir": lambda file, new: os.mkdir(new),
    "mknod": lambda file, new: os.mknod(new),
    "chmod": lambda file, new: os.chmod(file, 0o777),
    "chown": lambda file, new: os.chown(file, 1, 1),
    "utime": lambda file, new: os.utime(file),
    "setxattr": lambda file, new: os.setxattr(file, "user.x", b"1"),
    "removexattr": lambda file, new: os.removexattr(file, "user.x"),
}


def test_whatever_writes_is_refused_with_erofs(mounted):
    file, new = mounted / f"v0.9.0/{FILE}", mounted / "v0.9.0/new"
    said = {}
    for what, write in WRITES.items():
        with pytest.raises(OSError, match="Read-only file system") as refused:
            write(file, new)
        said[what] = refused.value.errno
    assert set(said.values()) == {errno.EROFS}
    assert file.stat().st_size == SIZE


def test_remounted_for_writing_by_root_it_still_refuses(mounted):
    file, new = mounted / f"v0.9.0/{FILE}", mounted / "v0.9.0/new"
    command = ["mount", "-i", "-o", "remount,rw", str(mounted.path)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this kernel does not remount FUSE for writing")
    for what, write in WRITES.items():
        with pytest.raises(OSError, match=r"Read-only|not supported|not implemented"):
            write(file, new)
        assert not new.exists(), what
    assert file.stat().st_size == SIZE


# --- how little is asked


def test_a_release_is_listed_when_it_is_first_looked_into(at_s3, published):
    published.release("1.0.0", {FILE: SIZE})
    published.release("1.1.0", {FILE: SIZE, DEEP: 1})
    mounted = at_s3.mount()
    published.s3.clear_log()
    os.listdir(mounted.path)
    assert (mounted / "v1.0.0").stat()
    assert (mounted.status()["built"], published.s3.requests) == ([], [])
    os.listdir(mounted / "v1.0.0")
    assert mounted.status()["built"] == ["1.0.0"]
    assert set(published.s3.counts()) == {"LIST_VERSIONS"}


def test_a_big_directory_is_listed_in_few_requests_once_and_for_ever(at_s3, s3, tmp_path):
    names = [f"behavior_sessions/behavior_session_{n}.nwb" for n in range(2300)]
    base = f"https://{BUCKET}.s3.us-west-2.amazonaws.com/{PROJECT}"
    lists = tmp_path / "vbo_v1.1.0.urls.txt.gz"
    lines = [f"{base}/{name}?versionId=v{n:031}" for n, name in enumerate(names)]
    lists.write_bytes(gzip.compress("\n".join(lines).encode()))
    load_catalogue(s3, {"1.1.0": lists}, scale=1e-6)
    folder = at_s3.mount() / "v1.1.0/behavior_sessions"
    s3.clear_log()
    cold = at_s3.execute("ls", "-l", str(folder))
    assert (cold.status, cold.err, cold.out.count("\n")) == (0, "", len(names) + 1)
    assert dict(s3.counts()) == {"LIST_VERSIONS": 3}
    s3.clear_log()
    assert at_s3.execute("ls", "-l", str(folder)) == cold
    assert s3.requests == []
    at_s3.run("umount")
    at_s3.mount()
    s3.clear_log()
    assert at_s3.execute("ls", "-l", str(folder)) == cold
    assert s3.requests == []


def test_where_listing_versions_is_denied_heads_tell_and_are_kept(at_s3, published):
    published.release("1.0.0", {FILE: SIZE, DEEP: 5000})
    published.s3.faults.append(Fault(operation="LIST_VERSIONS", status=403))
    mounted = at_s3.mount()
    assert (mounted / f"v1.0.0/{FILE}").read_bytes() == published.truth("1.0.0", FILE)
    assert (mounted / f"v1.0.0/{DEEP}").stat().st_size == 5000
    mounted.umount()
    mounted = at_s3.mount()
    published.s3.clear_log()
    assert (mounted / f"v1.0.0/{DEEP}").stat().st_size == 5000
    assert published.s3.requests == []


# --- how it grows


def test_a_new_release_appears_on_demand_and_latest_moves(at_s3, published):
    published.release("1.0.0", {FILE: SIZE})
    mounted = at_s3.mount()
    with (mounted / f"latest/{FILE}").open("rb") as old:
        published.release("1.1.0", {FILE: 1000})
        assert not (mounted / "v1.1.0").exists()
        assert at_s3.run("releases", "--refresh").status == 0
        eventually(lambda: os.readlink(mounted / "latest") == "v1.1.0")
        assert "v1.1.0" in os.listdir(mounted.path)
        assert (mounted / f"latest/{FILE}").read_bytes() == published.truth("1.1.0", FILE)
        assert old.read() == published.truth("1.0.0", FILE)


def test_a_new_release_appears_by_itself(mounted, published):
    assert os.readlink(mounted / "latest") == "v1.0.0-rc.1"
    published.release("1.0.0", {FILE: 1000})
    eventually(lambda: os.readlink(mounted / "latest") == "v1.0.0")
    assert (mounted / f"v1.0.0/{FILE}").stat().st_size == 1000
    assert f"{PROJECT}_project_manifest_v1.0.0.json" in os.listdir(mounted / "manifests")
    eventually(lambda: len(os.listdir(mounted / "manifests")) == len(RELEASES) + 1)


def test_a_release_that_is_withdrawn_stays_readable_for_those_who_looked_into_it(at_s3, published):
    for release in ("1.0.0", "1.1.0", "1.2.0"):
        published.release(release, {FILE: SIZE})
    mounted = at_s3.mount()
    for release in ("1.0.0", "1.1.0"):
        assert (mounted / f"v{release}/{FILE}").stat().st_size == SIZE
    for release in ("1.1.0", "1.2.0"):
        manifest = f"{PROJECT}/manifests/{PROJECT}_project_manifest_v{release}.json"
        published.s3.delete(BUCKET, manifest)
    assert at_s3.run("releases", "--refresh").status == 0
    eventually(lambda: os.readlink(mounted / "latest") == "v1.0.0")
    assert (mounted / f"v1.1.0/{FILE}").read_bytes() == published.truth("1.1.0", FILE)
    at_s3.expect("WARNING .*1.2.0")
    with pytest.raises(FileNotFoundError):
        os.listdir(mounted / "v1.2.0")
    assert mounted.status()["releases"] == ["1.0.0"]


def test_a_bucket_that_is_emptied_while_mounted_takes_nothing_away(at_s3, published):
    published.release("1.0.0", {FILE: SIZE})
    mounted = at_s3.mount(VBOFS_REFRESH_INTERVAL="0")
    manifest = f"{PROJECT}/manifests/{PROJECT}_project_manifest_v1.0.0.json"
    published.s3.delete(BUCKET, manifest)
    at_s3.expect("WARNING .*cannot look for new releases: no manifests")
    assert "v1.0.0" in os.listdir(mounted.path)
    assert (mounted / f"latest/{FILE}").read_bytes() == published.truth("1.0.0", FILE)
    assert mounted.status()["releases"] == ["1.0.0"]


def test_a_sign_in_page_that_answers_for_the_bucket_takes_nothing_away(at_s3, published):
    published.release("1.0.0", {FILE: SIZE})
    mounted = at_s3.mount(VBOFS_REFRESH_INTERVAL="0", VBOFS_TIMEOUT="0.5")
    published.s3.faults.append(Fault(html=True))
    at_s3.expect("WARNING .*cannot look for new releases: .*sign-in page")
    assert "v1.0.0" in os.listdir(mounted.path)
    mounted.umount()
    published.s3.heal()
    published.s3.down()
    mounted = at_s3.mount("--offline")
    assert os.readlink(mounted / "latest") == "v1.0.0"
