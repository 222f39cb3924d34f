"""The benchmark still runs: one tiny job, vbofs beside the local file, every figure taken."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.benchmarks.bench import Bench
from tests.benchmarks.contestants import CONTESTANTS
from tests.benchmarks.goals import goals
from tests.benchmarks.jobs import all_jobs, chosen
from tests.benchmarks.origin import waits_in_a_row
from tests.benchmarks.processes import Failed, Reader
from tests.benchmarks.report import document, markdown, summed
from tests.s3 import Request


def _can_mount():
    return os.access("/dev/fuse", os.R_OK | os.W_OK) and shutil.which("fusermount3") is not None


@pytest.mark.skipif(not _can_mount(), reason="nothing can be mounted here")
def test_a_tiny_run_of_vbofs_and_the_local_file_gives_figures_and_the_right_bytes(tmp_path):
    bench = Bench(tmp_path, size="tiny", repeat=1, say=lambda line: None, drops=False)
    ours = [one for one in CONTESTANTS if one.name in ("vbofs", "local")]

    outcome = bench.run(chosen(["sequential"], 0), ours)

    figures = {(one.row, one.contestant): one for one in summed(outcome.samples)}
    cold = figures["sequential, cold", "vbofs"]
    assert (cold.sent, cold.needed) == (4 << 20, 4 << 20)
    assert cold.seconds > 0
    assert cold.peak > 10
    assert cold.requests >= 1
    assert figures["sequential, remounted", "vbofs"].sent == 0
    assert figures["sequential, page cache", "local"].seconds > 0
    assert (outcome.mismatches, [one.note for one in outcome.samples if one.note]) == ([], [])
    assert "sequential, cold" in markdown(outcome, {}, goals(summed(outcome.samples)))
    assert '"mismatches": []' in document(outcome, {})
    assert not (tmp_path / "scratch").exists()


def test_names_of_jobs_are_unique_and_can_be_chosen_by_pattern():
    names = [job.name for job in all_jobs()]
    assert len(set(names)) == len(names)
    assert [job.name for job in chosen(["ls/*"], 0)] == [n for n in names if n.startswith("ls/")]
    with pytest.raises(LookupError):
        chosen(["no such job"], 0)


def test_requests_under_way_at_once_are_one_wait():
    def asked(arrived, finished):
        return Request(0, 0, arrived, "GET", "/", finished=finished)

    assert waits_in_a_row([asked(0, 5), asked(1, 6), asked(2, 3)]) == 1
    assert waits_in_a_row([asked(0, 5), asked(1, 6), asked(6, 7), asked(7.5, None)]) == 2


def test_a_reader_that_is_killed_for_being_slow_is_replaced(tmp_path):
    import sys

    os.mkfifo(tmp_path / "silent")
    (tmp_path / "file").write_bytes(b"x")
    reader = Reader(sys.executable)
    try:
        with pytest.raises(Failed, match="not done in"):
            reader.ask({"operation": "first_byte", "path": str(tmp_path / "silent")}, 0.3)
        said = reader.ask({"operation": "stat", "paths": [str(tmp_path / "file")]}, 10)
        assert said["found"] == [1]
    finally:
        reader.stop()
