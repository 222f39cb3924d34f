"""A record on the way to its file: made at once, saved as it grows, whole at the end."""

from __future__ import annotations

import pytest
import trio

from tests.conftest import contents
from vbofs.catalog.record import parse
from vbofs.catalog.tree import ROOT
from vbofs.control import PATIENCE
from vbofs.daemon.recording import FORGET_PATIENCE, SAVE_EVERY, Recording
from vbofs.dataset.places import Places
from vbofs.errors import EndpointDown, RecordRefused

FILE = "behavior_sessions/a.nwb"


@pytest.fixture
async def filesystem(publisher, open_filesystem):
    for release in ("1.0.0", "1.1.0"):
        publisher.release(release, {FILE: contents(300_000, "a")})
    return await open_filesystem()


@pytest.fixture
def recording(filesystem, settings, nursery):
    places = Places(filesystem._dataset)
    return Recording(settings, places, filesystem, nursery)


@pytest.fixture
def path(tmp_path):
    (tmp_path / "records").mkdir()
    return tmp_path / "records/record.json"


async def read(filesystem, offset, size):
    node = await filesystem.lookup(ROOT, b"v1.0.0")
    for name in FILE.split("/"):
        node = await filesystem.lookup(node.ino, name.encode())
    kept = filesystem.open(node.ino)
    await filesystem.read(node.ino, offset, size)
    filesystem.close(node.ino)
    return kept


def written(path):
    return parse(path.read_bytes())


async def test_the_file_is_there_from_the_beginning_and_names_the_dataset(recording, path):
    await recording.start(str(path))
    record = written(path)
    assert (record.files, record.dataset) == ([], "visual-behavior-ophys")
    assert record.began <= record.ended


async def test_what_is_read_is_in_it_with_its_place_and_its_hashes(recording, filesystem, path):
    await read(filesystem, 0, 10)  # Before it began.
    await recording.start(str(path))
    await read(filesystem, 1000, 500)
    await read(filesystem, 1500, 500)
    assert recording.statistics()["bytes"] == 1000
    await recording.stop()
    (file,) = written(path).files
    assert (file.path, file.releases, file.extents) == (FILE, ["1.0.0", "1.1.0"], [(1000, 2000)])
    assert (file.size, len(file.blake2b)) == (300_000, 128)
    await read(filesystem, 5000, 10)  # After it ended.
    assert recording.statistics() is None


async def test_the_kernel_keeps_nothing_at_the_first_open_and_everything_after(
    recording, filesystem, path
):
    assert await read(filesystem, 0, 10)
    await recording.start(str(path))
    assert not await read(filesystem, 0, 10)
    assert await read(filesystem, 0, 10)


async def test_files_that_are_open_when_it_begins_are_forgotten_by_the_kernel(
    recording, filesystem, path
):
    forgotten = []

    async def forget(inodes):
        assert filesystem.files.recorded is not None  # Whoever reads now is recorded.
        forgotten.extend(inodes)

    recording.forget = forget
    node = await filesystem.lookup(ROOT, b"v1.0.0")
    for name in FILE.split("/"):
        node = await filesystem.lookup(node.ino, name.encode())
    filesystem.open(node.ino)
    await recording.start(str(path))
    assert forgotten == [node.ino]
    filesystem.close(node.ino)


async def test_a_kernel_that_is_long_in_forgetting_holds_up_no_command(
    recording, path, autojump_clock
):
    """It waits for pages that are being read, and these wait for the network."""

    async def forget(inodes):
        await trio.sleep_forever()

    recording.forget = forget
    await recording.start(str(path))
    assert recording.statistics() is not None
    assert FORGET_PATIENCE < PATIENCE  # What a command waits for its answer.


async def until(condition):
    """The clock jumps while a thread writes, so it says nothing of how long that takes."""
    with trio.fail_after(1e6 * SAVE_EVERY):
        while not condition():
            await trio.sleep(SAVE_EVERY)


async def test_it_is_saved_as_it_grows_and_only_then(recording, filesystem, path, autojump_clock):
    await recording.start(str(path))
    await read(filesystem, 0, 10)
    await until(lambda: written(path).files)
    saved = path.stat().st_ino
    await trio.sleep(100 * SAVE_EVERY)
    assert path.stat().st_ino == saved
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    await read(filesystem, 100, 10)
    await until(lambda: written(path).bytes_read == 20)


async def test_a_save_that_fails_is_tried_again_and_loses_nothing(
    recording, filesystem, path, autojump_clock, expects_log
):
    await recording.start(str(path))
    await read(filesystem, 0, 10)
    away = path.parent.with_name("away")
    path.parent.rename(away)
    expects_log("cannot be written: No such file or directory; it is tried again")
    await trio.sleep(1.5 * SAVE_EVERY)
    with pytest.raises(RecordRefused, match="cannot be written"):
        await recording.stop()
    assert recording.statistics() is not None
    away.rename(path.parent)
    await recording.stop()
    assert written(path).bytes_read == 10


async def test_the_end_of_the_daemon_ends_it_whole(recording, filesystem, path):
    await recording.start(str(path))
    await read(filesystem, 0, 10)
    await recording.finish()
    assert written(path).bytes_read == 10
    await recording.finish()  # Nothing is being recorded: nothing to do.


async def test_a_manifest_that_cannot_be_had_costs_the_releases_names_only(
    recording, filesystem, path, remote, settings
):
    await recording.start(str(path))
    await read(filesystem, 0, 10)
    for kept in settings.cache_dir.rglob("manifests/*"):
        kept.unlink()
    remote.failures.append((0, EndpointDown("nobody answers")))
    await recording.stop()
    (file,) = written(path).files
    assert (file.path, file.releases, file.extents) == (FILE, [], [(0, 10)])


@pytest.mark.parametrize("name", ["record.json", "mnt/record.json", "missing/record.json"])
async def test_a_place_that_will_not_do_is_refused_before_anything_begins(
    name, recording, tmp_path, filesystem
):
    (tmp_path / "record.json").write_text("a thesis")
    with pytest.raises(RecordRefused) as caught:
        await recording.start(str(tmp_path / name))
    assert "\n" not in str(caught.value)
    assert filesystem.files.recorded is None
    assert (tmp_path / "record.json").read_text() == "a thesis"


async def test_there_is_one_record_at_a_time(recording, path, tmp_path):
    with pytest.raises(RecordRefused, match="nothing is being recorded"):
        await recording.stop()
    await recording.start(str(path))
    with pytest.raises(RecordRefused, match="recorded already"):
        await recording.start(str(tmp_path / "other.json"))
    assert not (tmp_path / "other.json").exists()
