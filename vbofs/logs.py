"""The daemon's log: one event per line, as text or JSON, to a file, to stderr or to the journal.

What repeats itself is said once, and then how often: a network that is away for an hour must fill
no disk, and must not bury the one line that is different.  In text a bug's traceback follows on
lines that begin with blanks; in JSON and in the journal it belongs to its event.
"""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import os
import re
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

#: Bytes of log kept in each of two files.
LOG_SIZE = 8 << 20
#: Seconds for which the same event is counted instead of said.
WINDOW = 60.0
#: Different events remembered at once; what comes beyond them is said each time.
MOST_EVENTS = 1000
#: Seconds that the journal may keep the daemon waiting; then the line is lost.
JOURNAL_PATIENCE = 1.0
#: syslog(3)'s priorities.
_PRIORITY = {10: 7, 20: 6, 30: 4, 40: 3, 50: 2}
#: Which bytes of a file were asked for makes no other event, nor does a measurement.
_RANGE = re.compile(r"bytes \d+-\d+")


def log_to(path: Path | None, verbose: int, form: str = "text", **fields: str) -> None:
    """Log to *path*, or else to the journal if stderr leads there, or to stderr.

    *verbose*: 1 says every repeat, 2 every event.  *fields* go with each event, where there are
    fields.
    """
    target = _file(path) if path else _journal(fields) or logging.StreamHandler()
    target.setFormatter(_formatter(target, form, fields))
    if not verbose:
        target.addFilter(Repeats(target.handle))
    logging.basicConfig(level=logging.WARNING, handlers=[target], force=True)
    logging.getLogger("vbofs").setLevel(logging.DEBUG if verbose > 1 else logging.INFO)


def _formatter(target: logging.Handler, form: str, fields: dict[str, str]) -> logging.Formatter:
    if form == "json":
        return JsonFormatter(fields)
    # In the journal everything but the message has a field of its own.
    return logging.Formatter() if isinstance(target, JournalHandler) else TextFormatter()


def _file(path: Path) -> logging.Handler:
    return logging.handlers.RotatingFileHandler(
        path, maxBytes=LOG_SIZE, backupCount=1, encoding="utf-8", errors="backslashreplace"
    )


class TextFormatter(logging.Formatter):
    """``2026-01-31 12:00:00,123 WARNING vbofs.blocks.store: …``"""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        # A name from outside must not begin a line that looks like one of ours.
        return "\\n".join(super().formatMessage(record).splitlines())

    def formatException(self, ei: Any) -> str:
        return "    " + super().formatException(ei).replace("\n", "\n    ")


class JsonFormatter(logging.Formatter):
    """An object per line: time, level, logger, message, the *fields*, and a bug's traceback."""

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__()
        self._fields = fields

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
            **self._fields,
        }
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        if repeated := getattr(record, "repeated", 0):
            event["repeated"] = repeated
        return json.dumps(event)


# --- the journal


def _journal(fields: dict[str, str]) -> JournalHandler | None:
    """The journal by its own protocol, if stderr is connected to it (systemd.exec(5))."""
    if os.environ.get("JOURNAL_STREAM") != _identity(2):
        return None
    from logging_journald import JournaldTransport

    # Unconnected: it addresses each event anew, and so survives a journald that is restarted.
    transport = JournaldTransport(connected=False)
    transport.socket.settimeout(JOURNAL_PATIENCE)
    return JournalHandler(transport, fields)


def _identity(descriptor: int) -> str:
    with contextlib.suppress(OSError):
        facts = os.fstat(descriptor)
        if stat.S_ISSOCK(facts.st_mode):
            return f"{facts.st_dev}:{facts.st_ino}"
    return "none"


class JournalHandler(logging.Handler):
    """Sends events with fields: ``journalctl VBOFS_MOUNTPOINT=/mnt/vbo PRIORITY=4``.

    Who asks for JSON gets JSON for a message, and the fields besides.
    """

    def __init__(self, transport: Any, fields: dict[str, str]) -> None:
        super().__init__()
        self._transport = transport
        self._fields = {f"VBOFS_{name.upper()}": value for name, value in fields.items()}

    def emit(self, record: logging.LogRecord) -> None:
        fields = {
            "MESSAGE": self.format(record),
            "PRIORITY": str(_PRIORITY.get(record.levelno, 6)),
            "SYSLOG_IDENTIFIER": "vbofs",
            "LOGGER": record.name,
            "CODE_FILE": record.pathname,
            "CODE_LINE": str(record.lineno),
            "CODE_FUNC": record.funcName,
            **self._fields,
        }
        # As bytes, with their length before them: a path may be no text, and hold line breaks.
        pairs = [(name, os.fsencode(value)) for name, value in fields.items()]
        with contextlib.suppress(OSError):  # A journal that is away or stuck costs lines only.
            self._transport.send(pairs)

    def close(self) -> None:
        self._transport.socket.close()
        super().close()


# --- what repeats itself


@dataclass
class _Event:
    began: float
    record: logging.LogRecord  # Without arguments.
    repeated: int = 0


class Repeats(logging.Filter):
    """Lets an event through once in WINDOW; those like it are counted, and *emit* gets one that
    says how many there were.

    Alike are those of one logger, level and message; floats in it are measurements, and which
    bytes of a file were asked for is no difference.  An event with a traceback is never held back.
    """

    def __init__(
        self,
        emit: Callable[[logging.LogRecord], object],
        clock: Callable[[], float] = time.monotonic,
        timer: Callable[..., Any] = threading.Timer,
    ) -> None:
        super().__init__()
        self._emit = emit
        self._clock = clock
        self._timer = timer
        self._lock = threading.Lock()
        self._events: dict[object, _Event] = {}
        self._is_due = False

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info or hasattr(record, "repeated"):
            return True
        key = _key(record)
        with self._lock:
            event = self._events.get(key)
            if event is None or (self._is_past(event) and not event.repeated):
                self._remember(key, _Event(self._clock(), _said(record)))
                return True
            event.record, event.repeated = _said(record), event.repeated + 1
            self._await_end()
            return False

    def _remember(self, key: object, event: _Event) -> None:
        if len(self._events) >= MOST_EVENTS:
            for old in [k for k, e in self._events.items() if self._is_past(e) and not e.repeated]:
                del self._events[old]
        if len(self._events) < MOST_EVENTS:
            self._events[key] = event

    def _await_end(self) -> None:
        """A timer runs only while something is counted: an idle mount never wakes."""
        if not self._is_due:
            self._is_due = True
            timer = self._timer(WINDOW, self.flush)
            timer.daemon = True
            timer.start()

    def flush(self, *, everything: bool = False) -> None:
        """Say how often those came that were counted, once their window has passed."""
        with self._lock:
            counted = {key: event for key, event in self._events.items() if event.repeated}
            past = {k: e for k, e in counted.items() if everything or self._is_past(e)}
            for key in past:
                del self._events[key]
            self._is_due = False
            if len(past) < len(counted):
                self._await_end()
        for event in past.values():
            self._emit(_summary(event, self._clock() - event.began))

    def _is_past(self, event: _Event) -> bool:
        return self._clock() - event.began >= WINDOW


def end() -> None:
    """Say what is still counted, and close the log."""
    for handler in logging.getLogger().handlers:
        for one in handler.filters:
            if isinstance(one, Repeats):
                one.flush(everything=True)
    logging.shutdown()


def _key(record: logging.LogRecord) -> object:
    if event := getattr(record, "event", None):  # Who logs it knows better.
        return record.name, record.levelno, event
    args = record.args if isinstance(record.args, tuple) else (record.args,)
    kept = [_RANGE.sub("bytes", str(arg)) for arg in args if not isinstance(arg, float)]
    return record.name, record.levelno, _RANGE.sub("bytes", str(record.msg)), *kept


def _said(record: logging.LogRecord) -> logging.LogRecord:
    """*record* in words alone: an exception among its arguments would keep alive whatever the
    frames hold that it came through, a request's buffers among it."""
    try:
        said = record.getMessage()
    except Exception:  # Whoever writes it out says so, too; the caller is not to hear of it.
        said = str(record.msg)
    return _record(record, said)


def _summary(event: _Event, seconds: float) -> logging.LogRecord:
    said = event.record.getMessage()
    summary = _record(event.record, f"{event.repeated} more like it in {seconds:.0f} s: {said}")
    summary.repeated = event.repeated
    return summary


def _record(like: logging.LogRecord, said: str) -> logging.LogRecord:
    return logging.LogRecord(like.name, like.levelno, like.pathname, like.lineno, said, None, None)


def last_lines(path: Path, size: int) -> str:
    """The end of a log, *size* bytes at the most, in whole lines; "" if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            start = max(0, file.tell() - size)
            file.seek(start)
            said = file.read(size)
    except OSError:
        return ""
    if start:
        said = said.partition(b"\n")[2]  # Most likely the second half of a line.
    return said.decode(errors="replace")
