"""A process that fetches for the daemon: the same bytes and errors, and no harm in its end."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys

import pytest
import trio

from tests.conftest import contents
from tests.contract.shelves import ProgrammableShelf, settings_for
from tests.s3 import Fault, ProgrammableS3
from vbofs.blocks.blobmap import mark_of
from vbofs.blocks.extents import BLOCK_SIZE, PART_SIZE
from vbofs.blocks.fetcher import Fetcher
from vbofs.blocks.flights import Priority
from vbofs.blocks.reader import BlobReader
from vbofs.errors import AccessDenied, ObjectMissing, RemoteError, WrongResponse
from vbofs.model import Extent
from vbofs.remote.carrying import LEAST_CARRIED, Place
from vbofs.remote.protocol import SinkFailed
from vbofs.remote.retrying import Retrying
from vbofs.remote.s3 import S3ObjectStore
from vbofs.transfer import process
from vbofs.transfer.landing import DiskRefuses, Landing
from vbofs.transfer.process import Transfers

SIZE = 3 * LEAST_CARRIED + 12_345
BLOCKS = range(-(-SIZE // BLOCK_SIZE))
CONTENT = contents(SIZE)


@pytest.fixture(scope="module")
def shelf():
    with ProgrammableS3() as server:
        made = ProgrammableShelf(server)
        yield made
        made.close()


@pytest.fixture
def server(shelf):
    shelf.clear()
    shelf.server.clear_log()
    yield shelf.server
    shelf.server.heal()


@pytest.fixture
def blob(shelf, server):
    return shelf.put("file", CONTENT)


@pytest.fixture
async def transfers(nursery):
    """A process that is ready."""
    made = Transfers()
    made.attend(nursery)
    await ready(made)
    return made


@pytest.fixture
def bucket(server, transfers):
    made = S3ObjectStore(settings_for(server.url), carrier=transfers)
    yield made
    made.close()


@pytest.fixture
async def fetcher(nursery, store, bucket):
    return Fetcher(nursery, store, Retrying(bucket, 10), 4)


async def ready(transfers):
    assert not transfers.is_ready()
    with trio.fail_after(20):
        await transfers._worker.ready.wait()
    assert transfers.is_ready()


def of(transfers):
    """The process itself."""
    return transfers._worker.process


def kept(store, blob):
    return store.file(blob).read(Extent(0, blob.size))


class Ground:
    """A landing whose places are two files."""

    def __init__(self, marks, data):
        self.marks, self.data = marks, data
        self.kept_bytes, self.refusals, self.asks = 0, [], []

    def places(self):
        """Descriptors for somebody who closes them."""
        return os.dup(self.marks.fileno()), os.dup(self.data.fileno())

    def is_patient(self):
        return True

    def place(self, extent):
        return Place(self.marks.fileno(), self.data.fileno(), self)

    def elsewhere(self, ask):
        self.asks.append(ask)

    def kept(self, nbytes):
        self.kept_bytes += nbytes

    def refused(self, error):
        self.refusals.append(error)

    def get_buffer(self):
        raise AssertionError("poured here")

    buffer_updated = get_buffer


@pytest.fixture
def ground(tmp_path):
    with (tmp_path / "marks").open("w+b") as marks, (tmp_path / "data").open("w+b") as data:
        yield Ground(marks, data)


@pytest.fixture
def full():
    """A file on a disk that is full."""
    with open("/dev/full", "r+b", buffering=0) as file:
        yield file


async def test_what_it_fetches_is_on_disk_after_one_request(fetcher, store, server, blob):
    await fetcher.bring(blob, BLOCKS)
    assert kept(store, blob) == CONTENT
    assert [r.operation for r in server.requests] == ["GET"]


async def test_it_is_counted_as_if_the_daemon_had_fetched(fetcher, bucket, blob):
    await fetcher.bring(blob, BLOCKS)
    assert bucket.requests().get == 1
    assert bucket.requests().received == SIZE


async def test_the_daemon_takes_no_byte_of_it(fetcher, bucket, blob, monkeypatch):
    monkeypatch.setattr(bucket._line, "get", None)
    await fetcher.bring(blob, BLOCKS)


async def test_what_somebody_waits_for_the_daemon_fetches(fetcher, transfers, blob, monkeypatch):
    monkeypatch.setattr(transfers, "carry", None)
    assert len(await fetcher.have(blob, BLOCKS)) == len(BLOCKS)


async def test_a_reader_gets_blocks_while_the_rest_is_under_way(
    fetcher, nursery, store, server, blob
):
    stalled = Fault(stall_at=2 * LEAST_CARRIED)
    server.faults = [stalled]
    fetcher.want(blob, BLOCKS)
    reader = BlobReader(blob, store, fetcher)
    with trio.fail_after(10):
        assert await reader.read(LEAST_CARRIED - 10, 20) == CONTENT[LEAST_CARRIED - 10 :][:20]
        assert await reader.read(0, 2 * LEAST_CARRIED) == CONTENT[: 2 * LEAST_CARRIED]
    assert fetcher.statistics().flying == 1
    stalled.lift()
    assert await reader.read(0, SIZE) == CONTENT
    assert len(server.requests) == 1


async def test_a_reader_who_comes_when_his_block_is_here_is_told_at_once(
    fetcher, store, server, blob
):
    stalled = Fault(stall_at=2 * LEAST_CARRIED)
    server.faults = [stalled]
    fetcher.want(blob, BLOCKS)
    reader = BlobReader(blob, store, fetcher)
    with trio.fail_after(10):
        await reader.read(2 * LEAST_CARRIED - 1, 1)
        await reader.read(0, 1)
        assert (await fetcher.have(blob, range(3))) == {}
    stalled.lift()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(status=403, code="AccessDenied"), AccessDenied),
        (Fault(status=404, code="NoSuchVersion"), ObjectMissing),
        (Fault(status=412), WrongResponse),
        (Fault(content_range_shift=4), WrongResponse),
        (Fault(headers={"x-amz-version-id": "another"}), WrongResponse),
        (Fault(status=503, code="SlowDown"), RemoteError),
        (Fault(close_at=LEAST_CARRIED + 5), WrongResponse),
        (Fault(reset_at=LEAST_CARRIED + 5), RemoteError),
    ],
    ids=lambda one: one.words if isinstance(one, Fault) else "",
)
async def test_its_errors_are_those_of_the_daemon(bucket, server, blob, fault, error, ground):
    server.faults = [fault]
    said = []
    for sink in (ground, Poured()):
        with pytest.raises(error) as caught:
            await bucket.fetch(blob, Extent(0, SIZE), sink)
        said.append((type(caught.value), str(caught.value), caught.value.retryable))
    assert said[0] == said[1]


class Poured:
    """A sink that another process cannot serve."""

    def __init__(self):
        self._room = memoryview(bytearray(1 << 16))

    def get_buffer(self):
        return self._room

    def buffer_updated(self, nbytes):
        pass


async def test_an_answer_that_breaks_off_is_resumed_where_its_last_block_ended(
    fetcher, store, server, blob
):
    server.faults = [Fault(reset_at=LEAST_CARRIED + 5, times=1)]
    await fetcher.bring(blob, BLOCKS)
    assert kept(store, blob) == CONTENT
    assert [r.range for r in server.requests][1:] == [(LEAST_CARRIED, SIZE)]


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGSEGV])
async def test_when_it_dies_the_daemon_fetches_the_rest(
    fetcher, transfers, store, server, blob, way, expects_log
):
    expects_log("the transfer process has ended")
    stalled = Fault(stall_at=LEAST_CARRIED, times=1)
    server.faults = [stalled]
    fetcher.want(blob, BLOCKS)
    await fetcher.have(blob, range(LEAST_CARRIED // BLOCK_SIZE))
    os.kill(of(transfers).pid, way)
    with trio.fail_after(20):
        await fetcher.bring(blob, BLOCKS)
    assert kept(store, blob) == CONTENT
    stalled.lift()


async def test_another_follows_after_a_while(transfers, nursery, expects_log, monkeypatch):
    expects_log("the transfer process has ended")
    worker = transfers._worker
    worker.process.kill()
    with trio.fail_after(10):
        while transfers._worker is worker:
            await trio.lowlevel.checkpoint()
    assert not transfers.is_ready()
    assert transfers._worker is None
    monkeypatch.setattr(transfers, "_next_start", 0)
    await ready(transfers)


async def test_one_that_nobody_wants_is_ended_and_comes_back_at_once(nursery, monkeypatch):
    made = Transfers()
    made.attend(nursery)
    await ready(made)
    worker = made._worker
    monkeypatch.setattr(process, "IDLE", 0.1)
    worker._say(process.Ping())  # It looks at the clock when it has heard something.
    with trio.fail_after(20):
        while made._worker is worker:
            await trio.lowlevel.checkpoint()
    assert worker.process.returncode is not None
    monkeypatch.undo()
    await ready(made)


async def test_one_that_hangs_is_ended(
    fetcher, transfers, store, server, blob, expects_log, monkeypatch
):
    expects_log("the transfer process hangs")
    expects_log("the transfer process has ended")
    monkeypatch.setattr(process, "PATIENCE", 0.2)
    hung = of(transfers)
    hung.send_signal(signal.SIGSTOP)
    with trio.fail_after(20):
        await fetcher.bring(blob, BLOCKS)
    assert kept(store, blob) == CONTENT
    assert hung.returncode == -signal.SIGKILL


async def test_one_that_only_waits_for_its_server_is_not(
    fetcher, transfers, store, server, blob, monkeypatch
):
    monkeypatch.setattr(process, "PATIENCE", 1.0)
    stalled = Fault(stall_at=0)
    server.faults = [stalled]
    fetcher.want(blob, BLOCKS)
    worker, pinged = transfers._worker, trio.Event()
    say = worker._say

    def heard(request, *places):
        say(request, *places)
        if isinstance(request, process.Ping):
            pinged.set()

    monkeypatch.setattr(worker, "_say", heard)
    await pinged.wait()
    stalled.lift()
    await fetcher.bring(blob, BLOCKS)
    assert transfers._worker is worker


async def test_a_disk_that_refuses_is_said_to_the_store(bucket, blob, ground, full):
    ground.data = full
    with pytest.raises(SinkFailed, match="poured here"):  # And then the daemon tries.
        await bucket.fetch(blob, Extent(0, SIZE), ground)
    assert [error.errno for error in ground.refusals] == [errno.ENOSPC]
    assert ground.kept_bytes == 0
    assert ground.asks[-1] is None


async def test_where_the_disk_is_full_readers_get_their_bytes_all_the_same(
    fetcher, store, blob, full, monkeypatch, expects_log
):
    expects_log("the cache takes no more")
    place = store.place
    monkeypatch.setattr(store, "place", lambda *about: place(*about)._replace(data=full.fileno()))
    fetcher.want(blob, BLOCKS)
    assert await BlobReader(blob, store, fetcher).read(0, SIZE) == CONTENT


async def test_a_cache_that_is_small_is_left_to_the_daemon(fetcher, store, blob):
    store.room.limit = 4 * SIZE - 1
    assert store.place(store.file(blob), SIZE) is None


async def test_room_is_made_before(store, blob):
    file = store.file(blob)
    assert store.place(file, PART_SIZE).owner is file
    assert store.room.used >= PART_SIZE


async def test_what_is_abandoned_ends(fetcher, bucket, store, shelf, server):
    content = contents(PART_SIZE, "large")
    blob = shelf.put("large", content)
    server.faults = [Fault(trickle=(BLOCK_SIZE, 0.01))]
    fetcher.want(blob, range(PART_SIZE // BLOCK_SIZE))
    await fetcher.have(blob, range(1))
    fetcher.abandon(blob)
    with trio.fail_after(20):
        while server.in_flight:
            await trio.lowlevel.checkpoint()
    assert server.bytes_sent < PART_SIZE
    server.heal()
    assert len(await fetcher.have(blob, range(100, 101))) == 1


async def test_it_ends_with_the_daemon():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        running = process._started(theirs)
    with ours:
        ours.settimeout(20)
        assert ours.recv(100)  # It listens.
    assert running.wait(timeout=20) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_what_is_sent_to_all_of_a_service_does_not_end_it(transfers, fetcher, blob, number):
    of(transfers).send_signal(number)
    await fetcher.bring(blob, BLOCKS)
    assert transfers.is_ready()


async def test_it_has_nothing_of_the_daemons_but_its_end_of_the_line(transfers):
    pid = of(transfers).pid
    links = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
    assert sum(link.startswith("socket:") for link in links) == 1
    assert not [link for link in links if "/cache" in link]


async def test_one_processor_has_no_use_for_two_processes(nursery, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    made = Transfers()
    made.attend(nursery)
    assert not made.is_ready()
    assert made._worker is None


async def test_for_what_somebody_waits_none_is_started(nursery, server, store, blob):
    made = Transfers()
    made.attend(nursery)
    bucket = S3ObjectStore(settings_for(server.url), carrier=made)
    fetcher = Fetcher(nursery, store, bucket, 4)
    await fetcher.have(blob, BLOCKS, priority=Priority.CHASE)
    assert made._worker is None
    bucket.close()


@pytest.mark.parametrize("program", ["", "/usr/local/MATLAB/R2026b/bin/matlab"])
async def test_where_python_is_embedded_nobody_elses_program_is_started(
    nursery, monkeypatch, program
):
    monkeypatch.setattr(sys, "executable", program)
    made = Transfers()
    made.attend(nursery)
    assert not made.is_ready()
    assert made._worker is None


async def test_where_none_can_be_started_the_daemon_goes_on(
    nursery, monkeypatch, expects_log, server, store, blob
):
    expects_log("no process for transfers")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    made = Transfers()
    made.attend(nursery)
    bucket = S3ObjectStore(settings_for(server.url), carrier=made)
    fetcher = Fetcher(nursery, store, bucket, 4)
    await fetcher.bring(blob, BLOCKS)
    assert kept(store, blob) == CONTENT
    bucket.close()


class TestLanding:
    #: What is poured next.
    at = BLOCK_SIZE

    @pytest.fixture
    def told(self):
        return []

    @pytest.fixture
    def landing(self, ground, told):
        made = Landing(Extent(BLOCK_SIZE, SIZE), ground.places(), told.append)
        yield made
        made.close()

    def pour(self, landing, nbytes, most=SIZE):
        while nbytes:
            room = landing.get_buffer()
            step = min(len(room), nbytes, most)
            room[:step] = CONTENT[self.at : self.at + step]
            landing.buffer_updated(step)
            self.at, nbytes = self.at + step, nbytes - step

    def test_the_first_byte_is_told(self, landing, told):
        landing.get_buffer()
        assert told == [BLOCK_SIZE]

    def test_data_and_marks_are_where_they_belong(self, landing, ground):
        self.pour(landing, SIZE - BLOCK_SIZE)
        assert landing.kept == SIZE
        assert ground.data.read() == bytes(BLOCK_SIZE) + CONTENT[BLOCK_SIZE:]
        marks = ground.marks.read()
        last = mark_of(memoryview(CONTENT[BLOCKS[-1] * BLOCK_SIZE :]))
        assert marks[-8:] == last.to_bytes(8, "little")
        assert len(marks) == 64 + 8 * len(BLOCKS)

    def test_no_part_of_a_block_is_kept(self, landing, told):
        landing.ask(2 * BLOCK_SIZE)
        self.pour(landing, BLOCK_SIZE - 1)
        assert landing.kept == BLOCK_SIZE
        self.pour(landing, 1)
        assert landing.kept == 2 * BLOCK_SIZE
        assert told[1:] == [2 * BLOCK_SIZE]

    def test_who_asks_for_what_is_kept_is_told_at_once(self, landing, told):
        landing.ask(BLOCK_SIZE)
        assert told == [BLOCK_SIZE]

    def test_nobody_is_told_what_nobody_asked_for(self, landing, told):
        self.pour(landing, SIZE - BLOCK_SIZE)
        assert told == [BLOCK_SIZE]

    def test_two_who_ask_are_told_each(self, landing, told):
        landing.ask(3 * BLOCK_SIZE)
        landing.ask(9 * BLOCK_SIZE)
        self.pour(landing, 12 * BLOCK_SIZE, BLOCK_SIZE)
        assert told[1:] == [3 * BLOCK_SIZE, 9 * BLOCK_SIZE]

    def test_a_block_does_not_lie_about(self, landing, monkeypatch):
        moments = iter([10.0, 10.01, 10.5])
        monkeypatch.setattr("time.monotonic", lambda: next(moments))
        self.pour(landing, BLOCK_SIZE)
        assert landing.kept == BLOCK_SIZE
        self.pour(landing, 1)
        assert landing.kept == BLOCK_SIZE
        self.pour(landing, 1)
        assert landing.kept == 2 * BLOCK_SIZE

    def test_what_is_cancelled_takes_no_more(self, landing):
        landing.cancel()
        with pytest.raises(RemoteError):
            landing.get_buffer()

    def test_a_full_disk_is_no_error_of_the_remote(self, ground, full, told):
        ground.data, self.at = full, 0
        landing = Landing(Extent(0, SIZE), ground.places(), told.append)
        with pytest.raises(DiskRefuses) as caught:
            self.pour(landing, SIZE)
        assert caught.value.error.errno == errno.ENOSPC
        assert not ground.marks.read()
        landing.close()


def test_started_by_hand_it_says_what_it_is():
    done = subprocess.run(
        [sys.executable, "-m", "vbofs.transfer"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "vbofs.transfer is started by the daemon, and of no use to anybody else\n"
