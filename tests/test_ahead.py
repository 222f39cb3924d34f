"""The daemon's side of a prefetch: jobs that live as long as somebody asks after them."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.conftest import contents
from vbofs.blocks.extents import BLOCK_SIZE, PART_SIZE
from vbofs.control import FORGOTTEN
from vbofs.daemon.ahead import LEASE, MOST_JOBS, Ahead
from vbofs.errors import JobUnknown, UnknownRelease

FILES = {"a.nwb": contents(2 * PART_SIZE, "a"), "b.nwb": contents(BLOCK_SIZE, "b")}


@pytest.fixture
async def ahead(publisher, open_dataset, settings, store, fetcher, nursery):
    publisher.release("1.0.0", FILES)
    return Ahead(settings, await open_dataset(), store, fetcher, nursery)


async def finished(ahead, job):
    while not (progress := await ahead.progress(job))["finished"]:
        await trio.sleep(0.1)
    return progress


async def test_a_job_fetches_what_was_wanted_and_is_forgotten_when_that_was_told(
    ahead, remote, autojump_clock
):
    job = await ahead.begin()
    assert (await ahead.progress(job))["finished"] is False
    wanted = [["a.nwb", [[5, 6]]], ["b.nwb", None], ["none.nwb", None]]
    assert await ahead.want(job, "1.0.0", wanted) == 2
    remote.fetched.clear()
    await ahead.run(job)
    await ahead.run(job)  # Once is enough.
    progress = await finished(ahead, job)
    assert (progress["files_done"], progress["bytes"]) == (2, 2 * BLOCK_SIZE)
    assert sum(extent.size for extent in remote.fetched) == 2 * BLOCK_SIZE
    with pytest.raises(JobUnknown):
        await ahead.progress(job)


async def test_files_outside_the_releases_can_be_wanted_too(ahead, memory, autojump_clock):
    job = await ahead.begin()
    name = "visual-behavior-ophys_project_manifest_v1.0.0.json"
    assert await ahead.want(job, "", [[name, None]]) == 1


async def test_a_job_that_nobody_asks_after_ends(ahead, remote, fetcher, autojump_clock):
    job = await ahead.begin()
    await ahead.want(job, "1.0.0", [["a.nwb", None]])
    remote.hold()
    await ahead.run(job)
    kept = ahead._jobs[job]
    for _ in range(3):
        await trio.sleep(LEASE - 1)
        assert (await ahead.progress(job))["finished"] is False
    await trio.sleep(LEASE + 1)
    assert kept.progress()["stopped"] == FORGOTTEN
    with pytest.raises(JobUnknown):
        await ahead.progress(job)
    remote.let_go()
    await wait_all_tasks_blocked()
    assert repr(fetcher) == "<Fetcher 0 flying, 0 queued>"


async def test_a_job_can_be_stopped(ahead, remote, autojump_clock):
    job = await ahead.begin()
    await ahead.want(job, "1.0.0", [["a.nwb", None]])
    remote.hold()
    await ahead.run(job)
    await wait_all_tasks_blocked()
    await ahead.stop(job)
    assert await ahead.stop(job) == {"finished": True}
    remote.let_go()
    await wait_all_tasks_blocked()


async def test_what_is_no_list_of_files_is_refused(ahead):
    job = await ahead.begin()
    for files in (None, "a.nwb", [["a.nwb"]], [["a.nwb", [["x", 1]]]], [[1, None]], {"a": None}):
        with pytest.raises(JobUnknown, match="that is no list of files"):
            await ahead.want(job, "1.0.0", files)
    with pytest.raises(UnknownRelease):
        await ahead.want(job, "9.9.9", [])
    with pytest.raises(JobUnknown):
        await ahead.want(job + 1, "1.0.0", [])


async def test_there_are_only_so_many_jobs_and_forgotten_ones_make_room(ahead, autojump_clock):
    for _ in range(MOST_JOBS):
        await ahead.begin()
    with pytest.raises(JobUnknown, match="wait for one of them"):
        await ahead.begin()
    await trio.sleep(LEASE + 1)
    await ahead.begin()


async def test_the_origin_says_where_files_come_from_and_go(ahead, settings):
    origin = await ahead.origin()
    assert origin["cache_dir"] == str(settings.cache_dir)
    assert (origin["bucket"], origin["project"]) == (settings.bucket, settings.project)


async def test_what_a_command_found_wrong_is_suspect_and_not_condemned(
    ahead, remote, fetcher, expects_log
):
    expects_log("a.nwb is not as published, says vbofs verify", times=2)
    await ahead.suspect("1.0.0", "a.nwb")
    await ahead.suspect("1.0.0", "nothing")
    assert fetcher.verifier.statistics().mismatched == 1
    await ahead.suspect("1.0.0", "a.nwb")
    assert fetcher.verifier.statistics().mismatched == 1
    assert [version.key.rpartition("/")[2] for version in remote.distrusted] == ["a.nwb"] * 2
