"""The log: one event per line, repeats counted, nothing that is different hidden."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import socket
import struct
import weakref

import logging_journald
import pytest

from vbofs import logs

FIELDS = {"mountpoint": "/mnt/vbo", "dataset": "visual-behavior-ophys"}


@pytest.fixture
def quiet():
    """Leave logging as it was found."""
    root, ours = logging.getLogger(), logging.getLogger("vbofs")
    kept = root.handlers[:], root.level, ours.level
    yield
    for handler in root.handlers:
        if handler not in kept[0]:
            handler.close()
    root.handlers[:], root.level = kept[0], kept[1]
    ours.setLevel(kept[2])


@pytest.fixture
def written(quiet, tmp_path):
    """``written(…)`` begins a log; calling what it returns gives its lines so far."""

    def begin(verbose=0, form="text"):
        path = tmp_path / "log"
        logs.log_to(path, verbose, form, **FIELDS)
        return lambda: path.read_text().splitlines()

    return begin


def record(message, *args, level=logging.INFO, name="vbofs.a"):
    return logging.LogRecord(name, level, __file__, 1, message, args, None)


log = logging.getLogger("vbofs.test")


# --- one event per line


def test_text_has_time_level_logger_and_message(written):
    lines = written()
    log.info("read %s", "a")
    (line,) = lines()
    assert line.endswith(" INFO vbofs.test: read a")
    assert line[:4].isdigit()


def test_what_others_chat_about_is_not_logged_and_what_they_warn_of_is(written, allows_log):
    allows_log("beware")
    lines = written()
    logging.getLogger("urllib3").info("chat")
    logging.getLogger("urllib3").warning("beware")
    log.debug("detail")
    assert [line.rpartition(": ")[2] for line in lines()] == ["beware"]


def test_twice_verbose_logs_every_event(written):
    lines = written(verbose=2)
    for _ in range(3):
        log.debug("detail")
    assert len(lines()) == 3


def test_a_name_from_outside_cannot_begin_a_line_of_its_own(written):
    lines = written()
    log.info("read %s", "a\n2026-01-01 00:00:00,000 CRITICAL vbofs: all is lost")
    assert len(lines()) == 1


def test_a_path_that_is_no_text_is_logged(written):
    lines = written()
    log.info("read %s", "a\udcff")
    assert lines()[0].endswith("read a\\udcff")


def test_a_traceback_follows_on_lines_that_begin_with_blanks(written, allows_log):
    allows_log("a bug")
    lines = written()
    try:
        raise ValueError("nonsense\nin two lines")
    except ValueError:
        log.exception("a bug")
    head, *rest = lines()
    assert head.endswith("ERROR vbofs.test: a bug")
    assert all(line.startswith("    ") for line in rest)
    assert "ValueError: nonsense" in rest[-2]


def test_json_has_an_object_per_line_tracebacks_and_all(written, allows_log):
    allows_log("a bug")
    lines = written(form="json")
    log.info("read %s", "a\n\udcff")
    try:
        raise ValueError("nonsense")
    except ValueError:
        log.exception("a bug")
    first, second = map(json.loads, lines())
    assert first["message"] == "read a\n\udcff"
    assert first["level"] == "INFO"
    assert first["logger"] == "vbofs.test"
    assert first["mountpoint"] == "/mnt/vbo"
    assert first["pid"] == os.getpid()
    assert second["traceback"].endswith("ValueError: nonsense")


# --- repeats


class Timers:
    """A clock, and timers that go off when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.started: list[Timers.One] = []

    class One:
        def __init__(self, seconds, function):
            self.seconds, self.function = seconds, function

        def start(self):
            pass

    def make(self, seconds, function):
        one = self.One(seconds, function)
        self.started.append(one)
        return one

    def go_off(self):
        due, self.started = self.started, []
        self.now += logs.WINDOW
        for one in due:
            one.function()


@pytest.fixture
def timers():
    return Timers()


@pytest.fixture
def said():
    return []


@pytest.fixture
def repeats(timers, said):
    return logs.Repeats(said.append, lambda: timers.now, timers.make)


def passed(repeats, *records):
    return [one.getMessage() for one in records if repeats.filter(one)]


def test_what_repeats_itself_is_said_once_and_then_how_often(repeats, timers, said):
    again = [record("away: %s", "x") for _ in range(40)]
    assert passed(repeats, *again) == ["away: x"]
    timers.go_off()
    (summary,) = said
    assert summary.getMessage() == "39 more like it in 60 s: away: x"
    assert summary.repeated == 39
    assert repeats.filter(summary)


def test_after_that_it_is_said_again(repeats, timers, said):
    passed(repeats, *[record("away") for _ in range(3)])
    timers.go_off()
    assert passed(repeats, record("away"), record("away")) == ["away"]
    timers.go_off()
    assert [one.repeated for one in said] == [2, 1]


def test_what_comes_back_after_a_while_is_said_at_once(repeats, timers):
    assert passed(repeats, record("away")) == ["away"]
    timers.now += logs.WINDOW + 1
    assert passed(repeats, record("away")) == ["away"]


@pytest.mark.parametrize(
    "other",
    [
        record("away: %s", "y"),
        record("away: %s", "x", level=logging.WARNING),
        record("away: %s", "x", name="vbofs.b"),
        record("gone: %s", "x"),
    ],
)
def test_what_is_different_is_never_held_back(repeats, other):
    assert len(passed(repeats, record("away: %s", "x"), other)) == 2


def test_a_measurement_or_another_range_of_a_file_makes_no_other_event(repeats):
    events = [
        record("again in %.1f s: %s", n / 7, f"503 for f bytes {n}-{n + 9}") for n in range(9)
    ]
    assert len(passed(repeats, *events)) == 1
    assert len(passed(repeats, record("again in %.1f s: %s", 1.0, "503 for g bytes 0-9"))) == 1


def test_who_logs_an_event_may_say_which_it_is(repeats):
    events = [record("slow: %s", f"{n} attempts") for n in range(9)]
    for event in events:
        event.event = "slow read of f"
    assert len(passed(repeats, *events)) == 1


def test_a_bug_is_never_held_back(repeats):
    bugs = [record("a bug") for _ in range(3)]
    for bug in bugs:
        bug.exc_info = (ValueError, ValueError("nonsense"), None)
    assert len(passed(repeats, *bugs)) == 3


def test_while_nothing_repeats_itself_no_timer_runs(repeats, timers):
    passed(repeats, *[record(f"event {n}") for n in range(10)])
    assert timers.started == []


def test_an_endless_row_of_different_events_takes_bounded_memory(repeats, timers):
    many = [record(f"event {n}") for n in range(logs.MOST_EVENTS + 50)]
    assert len(passed(repeats, *many)) == len(many)
    assert len(repeats._events) == logs.MOST_EVENTS
    timers.now += logs.WINDOW
    passed(repeats, record("new"), record("new"))
    assert len(repeats._events) == 1


def test_what_is_counted_keeps_nothing_of_an_error_alive(repeats):
    class Held:
        pass

    def fail() -> Exception:
        held = Held()
        alive.append(weakref.ref(held))
        try:
            raise OSError("gone")
        except OSError as error:
            return error

    alive: list[weakref.ref[Held]] = []
    passed(repeats, *[record("read: %s", fail()) for _ in range(3)])
    gc.collect()
    assert [one() for one in alive] == [None] * 3


def test_what_cannot_be_said_is_no_error_of_who_logs_it(repeats):
    assert repeats.filter(record("%d of %d", 1))


def test_what_is_still_counted_is_said_at_the_end(written):
    lines = written()
    for _ in range(5):
        log.info("away")
    logs.end()
    assert [line.rpartition("vbofs.test: ")[2] for line in lines()] == [
        "away",
        "4 more like it in 0 s: away",
    ]


# --- the journal


def parsed(datagram):
    """The fields of an event in the journal's own protocol."""
    fields = {}
    while datagram:
        line, _, datagram = datagram.partition(b"\n")
        if b"=" in line:
            name, _, value = line.partition(b"=")
        else:
            name, (size,) = line, struct.unpack("<Q", datagram[:8])
            value, datagram = datagram[8 : 8 + size], datagram[9 + size :]
        fields[name.decode()] = value
    return fields


@pytest.fixture
def journal(quiet, tmp_path, monkeypatch):
    """A journal's socket."""
    path = tmp_path / "journal"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
        listening.settimeout(5)
        monkeypatch.setattr(logging_journald.JournaldTransport, "SOCKET_PATH", path)
        yield listening


@contextlib.contextmanager
def stderr_to_journal(monkeypatch, identity=None):
    """Within a test, for pytest changes stderr before and after it."""
    here, there = socket.socketpair()
    kept = os.dup(2)
    os.dup2(there.fileno(), 2)
    facts = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", identity or f"{facts.st_dev}:{facts.st_ino}")
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        here.close()
        there.close()


def test_the_journal_gets_fields(journal, monkeypatch, allows_log):
    allows_log("beware")
    with stderr_to_journal(monkeypatch):
        logs.log_to(None, 0, **FIELDS)
        log.warning("beware of %s", "a\n\udcff")
    fields = parsed(journal.recv(65536))
    assert fields["MESSAGE"] == b"beware of a\n\xff"
    assert fields["PRIORITY"] == b"4"
    assert fields["SYSLOG_IDENTIFIER"] == b"vbofs"
    assert fields["LOGGER"] == b"vbofs.test"
    assert fields["VBOFS_MOUNTPOINT"] == b"/mnt/vbo"


def test_a_traceback_is_one_event_of_the_journal(journal, monkeypatch, allows_log):
    allows_log("a bug")
    with stderr_to_journal(monkeypatch):
        logs.log_to(None, 0, **FIELDS)
        try:
            raise ValueError("nonsense")
        except ValueError:
            log.exception("a bug")
    assert parsed(journal.recv(65536))["MESSAGE"].endswith(b"\nValueError: nonsense")


def test_a_journal_that_goes_away_costs_lines_and_nothing_else(journal, monkeypatch):
    with stderr_to_journal(monkeypatch):
        logs.log_to(None, 0, **FIELDS)
        journal.close()
        log.info("nobody hears")


def test_json_goes_to_the_journal_as_json_and_with_its_priority(journal, monkeypatch, allows_log):
    allows_log("beware")
    with stderr_to_journal(monkeypatch):
        logs.log_to(None, 0, "json", **FIELDS)
        log.warning("beware")
    fields = parsed(journal.recv(65536))
    event = json.loads(fields["MESSAGE"])
    assert (event["message"], event["level"]) == ("beware", "WARNING")
    assert fields["PRIORITY"] == b"4"
    assert fields["VBOFS_MOUNTPOINT"] == b"/mnt/vbo"


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_stderr_that_leads_elsewhere_is_written_to(journal, monkeypatch, form):
    with stderr_to_journal(monkeypatch, "1:2"):
        logs.log_to(None, 0, form, **FIELDS)
    assert not any(isinstance(h, logs.JournalHandler) for h in logging.getLogger().handlers)


# --- its end


def test_the_end_of_a_log_begins_with_a_whole_line(tmp_path):
    path = tmp_path / "log"
    path.write_text("first\nsecond\nthird\n")
    assert logs.last_lines(path, 1000) == "first\nsecond\nthird\n"
    assert logs.last_lines(path, 9) == "third\n"
    assert logs.last_lines(tmp_path / "none", 9) == ""
