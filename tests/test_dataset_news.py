"""What changes in a bucket, and what stays known without one."""

from __future__ import annotations

import pytest
import trio

from tests.test_dataset import FILES, asked, paths, published
from vbofs.dataset import Dataset
from vbofs.errors import (
    AccessDenied,
    EndpointDown,
    NoReleases,
    Offline,
    RemoteError,
    UnknownRelease,
)
from vbofs.remote.offline import OfflineObjectStore

__all__ = ["asked", "published"]


# --- news


async def test_a_new_release_is_seen_when_it_is_looked_for(published, open_dataset):
    dataset = await open_dataset()
    assert await dataset.refresh() is False
    published.release("2.0.0", FILES)
    assert await dataset.refresh() is True
    assert dataset.latest == "2.0.0"
    assert paths(await dataset.contents("2.0.0"))["sessions/1.nwb"] == 3


async def test_news_are_due_once_an_interval(published, open_dataset, autojump_clock):
    dataset = await open_dataset()
    assert not dataset.is_due
    await trio.sleep(601)
    assert dataset.is_due
    await dataset.refresh_if_due()
    assert not dataset.is_due


async def test_news_that_cannot_be_had_change_nothing(
    published, remote, open_dataset, autojump_clock, expects_log
):
    expects_log("cannot look for new releases: broken line", times=1)
    dataset = await open_dataset()
    await trio.sleep(601)
    remote.page_errors.append(RemoteError("broken line"))
    assert await dataset.refresh_if_due() is False
    assert list(dataset.releases) == ["1.0.0", "1.0.1"]
    assert not dataset.is_due  # Not at every ls.


async def test_a_release_that_the_selection_left_behind_can_still_be_built(
    published, open_dataset, make_settings
):
    """`--release latest` shows v1.0.1; then v2.0.0 comes, and the directory v1.0.1 stays."""
    dataset = await open_dataset(make_settings(release="latest"))
    published.release("2.0.0", FILES)
    await dataset.refresh()
    assert list(dataset.releases) == ["2.0.0"]
    assert paths(await dataset.contents("1.0.1"))["sessions/2.nwb"] == 14


async def test_a_release_that_was_withdrawn_is_no_bug(published, memory, open_dataset):
    dataset = await open_dataset()
    [_old, new] = [m.version.key for m in dataset.releases.values()]
    del memory._objects[new]
    assert await dataset.refresh() is True
    assert list(dataset.releases) == ["1.0.0"]
    with pytest.raises(UnknownRelease, match=r"1\.0\.1"):
        await dataset.contents("1.0.1")


async def test_a_bucket_that_is_suddenly_empty_leaves_what_is_known(
    published, memory, open_dataset
):
    dataset = await open_dataset()
    memory._objects.clear()
    with pytest.raises(NoReleases):
        await dataset.refresh()
    assert dataset.latest == "1.0.1"


# --- offline


@pytest.fixture
def offline(make_settings, open_dataset):
    async def make():
        return await open_dataset(make_settings(offline=True), OfflineObjectStore())

    return make


async def test_offline_what_was_looked_at_is_there(published, open_dataset, offline):
    known = await (await open_dataset()).contents("1.0.0")
    dataset = await offline()
    assert list(dataset.releases) == ["1.0.0", "1.0.1"]
    assert await dataset.contents("1.0.0") == known
    assert not dataset.is_due


async def test_offline_what_was_never_looked_at_is_said_to_be_missing(
    published, open_dataset, offline
):
    await open_dataset()
    dataset = await offline()
    with pytest.raises(Offline, match="--offline"):
        await dataset.contents("1.0.0")


async def test_offline_with_nothing_kept_is_said(published, offline):
    with pytest.raises(NoReleases, match="mount once without --offline"):
        await offline()


async def test_another_endpoint_is_another_bucket(published, open_dataset, make_settings):
    await open_dataset()
    elsewhere = make_settings(offline=True, endpoint_url="http://127.0.0.1:9")
    with pytest.raises(NoReleases):
        await open_dataset(elsewhere, OfflineObjectStore())


# --- out of reach


async def test_who_remembers_opens_what_is_known_when_the_bucket_is_out_of_reach(
    publisher, remote, settings, open_dataset, expects_log
):
    publisher.release("1.0.0", {"behavior_sessions/one.nwb": b"one"})
    await open_dataset()
    remote.page_errors.append(EndpointDown("nothing answers"))
    expects_log("nothing answers; showing the releases known since")
    dataset = await Dataset.open(remote, settings, remembers=True)
    assert list(dataset.releases) == ["1.0.0"]


@pytest.mark.parametrize(
    ("known", "error"), [(False, EndpointDown("away")), (True, AccessDenied("denied"))]
)
async def test_nothing_known_or_a_clear_no_is_not_remembered_over(
    publisher, remote, settings, open_dataset, known, error
):
    publisher.release("1.0.0", {"behavior_sessions/one.nwb": b"one"})
    if known:
        await open_dataset()
    remote.page_errors.append(error)
    with pytest.raises(type(error)):
        await Dataset.open(remote, settings, remembers=True)
