"""Which releases there are and what is in them: asked once, kept, and never lost to a bad day."""

from __future__ import annotations

import pytest
import trio

from tests.conftest import PROJECT
from tests.model.remote import ScriptedStore
from vbofs.dataset import manifests as manifests_module
from vbofs.dataset.facts import together
from vbofs.errors import (
    AccessDenied,
    ManifestInvalid,
    NoReleases,
    ObjectMissing,
    RemoteError,
    UnknownRelease,
)
from vbofs.remote.protocol import Page

FILES = {"sessions/1.nwb": b"one", "sessions/2.nwb": b"two", "deep/er/3.nwb": b"three"}
TABLE = "project_metadata/ophys_sessions.csv"
LEFT_OUT = "the manifest of v1.1.0 is left out"


class VersionsDenied(ScriptedStore):
    """A bucket that may not be asked for its versions: a listing names current objects only."""

    async def page(self, prefix, *, marker=None, shallow=False):
        page = await super().page(prefix, marker=marker, shallow=shallow)
        named = [one for one in page.listed if one.is_latest]
        hidden = [one._replace(version=one.version._replace(version_id="")) for one in named]
        return Page(hidden, page.marker)


@pytest.fixture
def published(publisher):
    publisher.release("1.0.0", FILES)
    publisher.release("1.0.1", {**FILES, "sessions/2.nwb": b"two, corrected"})
    return publisher


@pytest.fixture
def asked(memory):
    """``asked()``: requests since it was last called: (get, head, list)."""
    before = [0, 0, 0]

    def since():
        now = list(memory.requests()[:3])
        made = tuple(n - b for n, b in zip(now, before, strict=True))
        before[:] = now
        return made

    return since


def paths(contents):
    return {path: blob.size for path, blob in contents.files}


# --- which releases


async def test_releases_are_shown_in_the_order_of_their_versions(publisher, open_dataset):
    for version in ("1.9.0", "1.10.0", "0.3.0", "1.10.0-rc.1"):
        publisher.release(version, FILES)
    dataset = await open_dataset()
    assert list(dataset.releases) == ["0.3.0", "1.9.0", "1.10.0-rc.1", "1.10.0"]
    assert dataset.latest == "1.10.0"
    assert repr(dataset).startswith("<Dataset visual-behavior-ophys ['0.3.0'")


async def test_other_files_among_the_manifests_are_no_releases(published, open_dataset):
    published.put("manifests/README.txt", b"hello")
    published.put("manifests/deeper/" + "visual-behavior-ophys_project_manifest_v9.0.0.json", b"{}")
    assert list((await open_dataset()).releases) == ["1.0.0", "1.0.1"]


async def test_a_bucket_without_manifests_is_said(open_dataset):
    with pytest.raises(NoReleases, match="check --bucket and --project"):
        await open_dataset()


@pytest.mark.parametrize(
    ("asked_for", "shown"),
    [("1.0.0", ["1.0.0"]), ("latest", ["1.0.1"]), ("v1.0.1,v1.0.0", ["1.0.0", "1.0.1"])],
)
async def test_a_selection_shows_what_was_named(
    published, open_dataset, make_settings, asked_for, shown
):
    dataset = await open_dataset(make_settings(release=asked_for))
    assert list(dataset.releases) == shown
    assert dataset.published == ["1.0.0", "1.0.1"]


async def test_a_release_that_nobody_published_is_unknown(published, open_dataset, make_settings):
    with pytest.raises(UnknownRelease, match=r"no release 7\.0\.0 .* there are 1\.0\.0, 1\.0\.1"):
        await open_dataset(make_settings(release="v7.0.0,latest"))


# --- what is in one


async def test_a_release_holds_its_files_and_tables_with_sizes(published, open_dataset):
    contents = await (await open_dataset()).contents("1.0.1")
    expected = {path: len(body) for path, body in FILES.items()} | {TABLE: 3}
    assert paths(contents) == expected | {"sessions/2.nwb": 14}
    assert contents.bytes == sum(paths(contents).values())


async def test_a_second_mount_asks_for_one_listing_and_nothing_else(published, open_dataset, asked):
    first = await open_dataset()
    known = await first.contents("1.0.0")
    asked()
    second = await open_dataset()
    assert asked() == (0, 0, 1)
    assert await second.contents("1.0.0") == known
    assert asked() == (0, 0, 0)


async def test_a_release_much_like_another_asks_for_no_more(published, open_dataset, asked):
    dataset = await open_dataset()
    await dataset.contents("1.0.0")
    asked()
    await dataset.contents("1.0.1")
    assert asked() == (0, 0, 0)


async def test_tasks_that_want_one_release_list_it_once(published, open_dataset, asked):
    dataset = await open_dataset()
    asked()
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(dataset.contents, "1.0.0")
    assert asked()[2] == 1


async def test_where_versions_may_not_be_listed_each_is_asked_for(
    published, memory, open_dataset, asked
):
    dataset = await open_dataset(remote=VersionsDenied(memory))
    contents = await dataset.contents("1.0.0")
    assert paths(contents)["sessions/2.nwb"] == 3
    assert asked()[1] == 2 + len(contents.files)  # The manifests' names, and each file.
    await (await open_dataset(remote=VersionsDenied(memory))).contents("1.0.0")
    assert asked()[1] == 2


async def test_a_version_that_is_gone_is_left_out_and_said(
    published, memory, open_dataset, expects_log
):
    expects_log("v1.0.0: 1 files are gone from the bucket and are left out: sessions/2.nwb")
    versions = memory._objects[f"{PROJECT}/sessions/2.nwb"]
    del versions[min(versions)]
    contents = await (await open_dataset()).contents("1.0.0")
    assert sorted(paths(contents)) == ["deep/er/3.nwb", TABLE, "sessions/1.nwb"]


async def test_a_listing_that_fails_keeps_what_it_had_learnt(
    published, remote, open_dataset, asked
):
    dataset = await open_dataset()
    remote.page_errors.append(RemoteError("broken line"))
    with pytest.raises(RemoteError, match="broken line"):
        await dataset.contents("1.0.0")
    assert paths(await dataset.contents("1.0.0"))["sessions/1.nwb"] == 3


# --- bad manifests


async def test_a_bad_manifest_is_left_out_and_the_others_stay(
    published, open_dataset, asked, expects_log
):
    expects_log(LEFT_OUT, times=1)
    published.manifest("1.1.0", b"<html>")
    assert list((await open_dataset()).releases) == ["1.0.0", "1.0.1"]
    asked()
    again = await open_dataset()
    assert asked() == (0, 0, 1)
    assert again.published == ["1.0.0", "1.0.1", "1.1.0"]
    assert LEFT_OUT in again.listing.manifests[-1].flaw


async def test_a_bad_manifest_that_was_asked_for_is_an_error(
    published, open_dataset, make_settings, expects_log
):
    expects_log(LEFT_OUT)
    published.manifest("1.1.0", b"<html>")
    with pytest.raises(ManifestInvalid, match=LEFT_OUT):
        await open_dataset(make_settings(release="1.1.0"))


async def test_only_bad_manifests_are_an_error(publisher, open_dataset, expects_log):
    expects_log("left out")
    publisher.manifest("1.0.0", b"\xff")
    with pytest.raises(ManifestInvalid, match=r"the manifest of v1\.0\.0 is left out"):
        await open_dataset()


async def test_a_manifest_beyond_all_reason_is_not_even_fetched(
    published, open_dataset, asked, monkeypatch, expects_log
):
    expects_log("that is no manifest")
    await open_dataset()
    asked()
    monkeypatch.setattr(manifests_module, "MAX_DOCUMENT", 5000)
    published.manifest("1.1.0", b" " * 5001)
    assert list((await open_dataset()).releases) == ["1.0.0", "1.0.1"]
    assert asked()[0] == 0


@pytest.mark.parametrize("error", [AccessDenied, ObjectMissing])
async def test_a_manifest_that_cannot_be_read_today_is_asked_for_again(
    published, remote, open_dataset, expects_log, error
):
    expects_log("is left out: not today", times=1)
    remote.failures.append((0, error("not today")))
    assert len((await open_dataset()).releases) == 1
    assert len((await open_dataset()).releases) == 2


async def test_a_manifest_that_is_damaged_on_disk_is_fetched_again(
    published, open_dataset, settings, asked
):
    before = await (await open_dataset()).contents("1.0.0")
    for path in settings.cache_dir.glob("datasets/*/manifests/*"):
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    asked()
    assert await (await open_dataset()).contents("1.0.0") == before
    assert asked()[0] == 1


async def test_everything_kept_being_damaged_is_as_if_nothing_were(
    published, open_dataset, settings
):
    before = await (await open_dataset()).contents("1.0.0")
    for path in settings.cache_dir.glob("datasets/**/*"):
        if path.is_file():
            path.write_bytes(b"damaged")
    assert await (await open_dataset()).contents("1.0.0") == before


# --- together


async def test_the_first_error_ends_the_rest_and_comes_alone(autojump_clock):
    done = []

    async def work(n):
        await trio.sleep(1 if n == 3 else 2)
        if n == 3:
            raise RemoteError("three")
        done.append(n)

    with pytest.raises(RemoteError, match="three"):
        await together(work, range(50))
    assert done == []


async def test_no_more_is_done_at_once_than_allowed(autojump_clock):
    under_way = most = 0

    async def work(n):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await trio.sleep(1)
        under_way -= 1

    await together(work, range(50), limit=7)
    assert most == 7
