"""``vbofs urls``: what curl, aria2c and b2sum make of it is what the release holds."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.mount.refusal import assert_refused
from tests.mount.test_xattrs import needs
from vbofs import errors

RELEASE = "1.0.1"
FILE = "behavior_sessions/behavior_session_870987812.nwb"


@pytest.fixture
def urls(at_sample):
    def run(*words):
        outcome = at_sample.run("urls", *words)
        assert (outcome.status, outcome.err) == (0, ""), outcome
        return outcome.out

    return run


@pytest.fixture
def truth(sample):
    return sample.release(RELEASE).paths


def assert_fetched(folder, truth, paths):
    """*folder* holds *paths* of the release, and nothing else."""
    found = {str(p.relative_to(folder / f"v{RELEASE}")) for p in folder.rglob("*") if p.is_file()}
    assert found == set(paths)
    for path in paths:
        assert (folder / f"v{RELEASE}" / path).read_bytes() == truth[path].read_bytes()


def fetched(tmp_path, command, listing):
    done = subprocess.run(
        command, input=listing, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@needs("curl")
def test_curl_fetches_a_whole_release_from_them_and_b2sum_finds_it_right(urls, truth, tmp_path):
    listing = urls("--release", RELEASE, "--format", "curl")
    fetched(tmp_path, ["curl", "--silent", "--show-error", "-K", "-"], listing)
    assert_fetched(tmp_path, truth, truth)
    fetched(
        tmp_path,
        ["b2sum", "--check", "--strict", "--quiet"],
        urls(f"v{RELEASE}", "--format", "b2sum"),
    )
    (tmp_path / f"v{RELEASE}/{FILE}").write_bytes(b"other bytes")
    with pytest.raises(AssertionError):
        fetched(tmp_path, ["b2sum", "--check"], urls(f"v{RELEASE}", "--format", "b2sum"))


@needs("aria2c")
def test_aria2c_fetches_a_directory_from_them(urls, truth, tmp_path):
    listing = urls(f"v{RELEASE}/behavior_sessions", "--format", "aria2")
    (tmp_path / "list").write_text(listing)
    folder = tmp_path / "fetched"
    command = ["aria2c", "--quiet", "--no-conf", "-i", "list", "-d", str(folder)]
    fetched(tmp_path, command, "")
    assert_fetched(folder, truth, [path for path in truth if path.startswith("behavior_sessions/")])


def test_aria2_gets_an_url_and_a_name_for_each(urls):
    lines = urls(f"v{RELEASE}/{FILE}", "--format", "aria2").splitlines()
    assert lines[0] == urls(f"v{RELEASE}/{FILE}").strip()
    assert lines[1:] == [f"  out=v{RELEASE}/{FILE}"]


def test_a_path_on_the_mount_a_path_of_the_dataset_and_a_query_are_ways_to_one_file(
    at_sample, urls
):
    mounted = at_sample.mount()
    by_path = urls(str(mounted / f"v{RELEASE}/{FILE}"))
    assert by_path == urls(f"v{RELEASE}/{FILE}")
    assert by_path == urls("--session-id", "870987812", "--release", RELEASE)
    assert by_path.count("\n") == 1


def test_the_url_is_the_manifest_s_version(at_sample, urls):
    (document,) = json.loads(urls(f"v{RELEASE}/{FILE}", "--format", "json"))
    mounted = at_sample.mount()
    name = f"manifests/visual-behavior-ophys_project_manifest_v{RELEASE}.json"
    lines = json.loads((mounted / name).read_bytes())["data_files"].values()
    line = next(line for line in lines if line["url"].endswith(FILE))
    assert document["url"].endswith(f"?versionId={line['version_id']}")
    assert document["blake2b"] == line["file_hash"]
    assert (document["release"], document["path"]) == (RELEASE, FILE)
    assert document["bytes"] == (mounted / f"v{RELEASE}/{FILE}").stat().st_size


HOSTILE = [
    "a\n  dir=/etc\n  out=passwd",
    'b"\nurl = "file:/etc/passwd',
    "c\\d",
    "[1-9]{a,b}",
    "e ",
]


def test_a_hostile_name_is_never_an_option_of_the_program_that_reads_the_list(
    at_s3, published, tmp_path
):
    published.release("1.0.0", {f"x/{name}": 100 + n for n, name in enumerate(HOSTILE)})
    listing = at_s3.run("urls", "--release", "1.0.0", "--format", "aria2")
    options = [line for line in listing.out.splitlines() if line.startswith(" ")]
    assert sorted(options) == ["  out=v1.0.0/x/[1-9]{a,b}", "  out=v1.0.0/x/c\\d"]
    assert listing.err.count("left out") == 3
    if shutil.which("curl"):
        fetched(
            tmp_path, ["curl", "-s", "-K", "-"], at_s3.run("urls", "v1.0.0", "--format", "curl").out
        )
        for n, name in enumerate(HOSTILE):
            path = tmp_path / "v1.0.0/x" / name
            assert path.read_bytes() == published.truth("1.0.0", f"x/{name}")
            assert path.stat().st_size == 100 + n
        hashes = at_s3.run("urls", "v1.0.0", "--format", "b2sum").out
        fetched(tmp_path, ["b2sum", "--check", "--strict", "--quiet"], hashes)


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        (("/etc/passwd",), errors.NotInDataset, "is on no mount"),
        (("v1.0.1/no/such.nwb",), errors.NotInDataset, "no/such.nwb"),
        (("v9.9.9",), errors.UnknownRelease, "9.9.9"),
        (("--mouse", "1"), errors.VbofsError, "1"),
    ],
)
def test_what_names_no_file_is_refused(at_sample, words, error, hint):
    outcome = at_sample.run("urls", *words)
    if error is errors.VbofsError:
        assert outcome.status not in (0, 1)
        assert hint in outcome.err
    else:
        assert_refused(at_sample, outcome, error, hint)


def test_nothing_asked_is_a_wrong_command_line(at_sample):
    outcome = at_sample.run("urls")
    assert (outcome.status, outcome.out) == (2, "")
    assert "Name a PATH, a query or a --release" in outcome.err
