"""``allensdk/`` on a real mount; AllenSDK itself is asked by ``make test-allensdk``."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.mount.published import PROJECT
from tests.mount.waiting import eventually

FILE = "behavior_sessions/one.nwb"
TABLE = "project_metadata/behavior_session_table.csv"
LAST_USED = "_manifest_last_used.txt"
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="another user's eyes need root")
USERS = (12345, 23456)  # Nobody's: no home, no name.


@pytest.fixture
def mounted(at_s3, published):
    for release in ("1.0.1", "1.1.0"):
        published.release(release, {FILE: 300_001, TABLE: b"a,b\n1,2\n"})
    return at_s3.mount(VBOFS_REFRESH_INTERVAL="0")


def manifest(release):
    return f"{PROJECT}_project_manifest_v{release}.json"


def test_files_are_where_the_sdk_looks_for_them_and_are_the_release_s_own(mounted, published):
    allensdk = mounted / "allensdk"
    for path in (
        f"{PROJECT}-1.0.1/{FILE}",
        f"v1.0.1/{PROJECT}-1.0.1/{FILE}",
        f"v1.0.1/{PROJECT}/{FILE}",
    ):
        assert (allensdk / path).read_bytes() == published.truth("1.0.1", FILE)
        assert (allensdk / path).stat().st_ino == (mounted / f"v1.0.1/{FILE}").stat().st_ino
    assert (allensdk / PROJECT / TABLE).samefile(mounted / f"v1.1.0/{TABLE}")
    assert os.listdir(allensdk / f"{PROJECT}/manifests") == [manifest("1.1.0")]
    assert os.listdir(allensdk / "v1.0.1" / PROJECT / "manifests") == [manifest("1.0.1")]
    for place in (allensdk, allensdk / "v1.0.1", allensdk / f"v1.0.1/{PROJECT}/manifests"):
        assert (place / manifest("1.0.1")).samefile(mounted / f"manifests/{manifest('1.0.1')}")


def test_the_sdk_s_own_small_files_are_there(mounted):
    allensdk = mounted / "allensdk"
    assert (allensdk / "_downloaded_data.json").read_text() == "{}\n"
    with (allensdk / "_downloaded_data.json").open("rb") as file:
        file.seek(1)
        assert file.read(1) == b"}"
    os.makedirs(allensdk / "resources", exist_ok=True)
    with pytest.raises(OSError, match="Read-only"):
        (allensdk / "resources/movie.npy").write_bytes(b"")


def test_the_release_last_used_is_kept_outside_the_mount_and_from_mount_to_mount(mounted):
    link = mounted / f"allensdk/{LAST_USED}"
    assert not link.exists()
    link.write_text(manifest("1.0.1"))
    assert link.read_text() == manifest("1.0.1")
    assert link.resolve().is_relative_to(mounted.machine.home / ".local/state/vbofs")
    mounted.umount()
    again = mounted.machine.mount()
    assert (again / f"allensdk/{LAST_USED}").read_text() == manifest("1.0.1")
    assert not (again / f"allensdk/v1.0.1/{LAST_USED}").exists()


@AS_ROOT
def test_what_one_user_of_a_shared_mount_has_chosen_no_other_sees(at_s3, published):
    published.release("1.0.1", {FILE: 1000})
    mounted = at_s3.mount("--allow-other", at=at_s3.root / "shared")
    link = mounted / f"allensdk/{LAST_USED}"
    link.write_text("root's")
    made = []
    try:
        for user in USERS:
            script = (
                f"test ! -e {link} && echo {user}s > {link} && cat {link} && readlink -f {link}"
            )
            done = subprocess.run(
                ["sh", "-c", script], user=user, group=user, extra_groups=[],
                capture_output=True, text=True, check=False, cwd="/",
            )  # fmt: skip
            said, _, path = done.stdout.partition("\n")
            assert (said, done.stderr) == (f"{user}s", "")
            made.append(path.strip())
    finally:
        for path in made:
            os.unlink(path)
    assert len(set(made)) == len(USERS)
    assert link.read_text() == "root's"


def test_it_costs_no_request_before_somebody_looks_into_a_release(mounted):
    before = mounted.requests()
    os.listdir(mounted / "allensdk/v1.0.1")
    os.readlink(mounted / f"allensdk/{LAST_USED}")
    after = mounted.requests()
    assert (after["get"], after["head"]) == (before["get"], before["head"])


def test_a_release_that_is_published_meanwhile_is_there_when_the_sdk_asks_for_it(
    mounted, published
):
    os.listdir(mounted / "allensdk")
    published.release("1.2.0", {FILE: 500})
    eventually((mounted / f"allensdk/{manifest('1.2.0')}").exists)
    eventually(lambda: os.readlink(mounted / f"allensdk/{PROJECT}") == f"v1.2.0/{PROJECT}")
    path = mounted / f"allensdk/{PROJECT}-1.2.0/{FILE}"
    assert path.read_bytes() == published.truth("1.2.0", FILE)
    assert (mounted / f"allensdk/v1.2.0/{PROJECT}/{FILE}").samefile(path)


def test_programs_that_follow_every_link_come_to_an_end(mounted):
    done = mounted.machine.execute("find", "-L", str(mounted.path), "-name", "one.nwb")
    assert done.status == 0
    # Each release by its own name, in allensdk's two kinds of directory; the latest once more.
    assert len(done.out.split()) == 2 * 4 + 2
