"""A log record of WARNING or worse that no test expected is a failure; so is one that never came.

The user reads the log: a warning that nobody can explain is a defect, and so is a missing one.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pytest


@dataclass
class Expected:
    """A text that must appear in the log; *times*: exactly so often.  Or one that merely may."""

    text: str
    times: int | None = None
    optional: bool = False
    seen: int = 0

    @property
    def is_met(self) -> bool:
        if self.optional:
            return True
        return self.seen > 0 if self.times is None else self.seen == self.times


class LogCheck(logging.Handler):
    """Sorts records into those that were expected and those that were not."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.expected: list[Expected] = []
        self.surprises: list[str] = []

    def expect(self, text: str, *, times: int | None = None) -> None:
        self.expected.append(Expected(text, times))

    def allow(self, text: str) -> None:
        self.expected.append(Expected(text, optional=True))

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        for expected in self.expected:
            if expected.text in message:
                expected.seen += 1
                return
        trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
        self.surprises.append(f"{record.levelname} {record.name}: {message}\n{trace}".rstrip())

    def verdict(self) -> str:
        """What is wrong with the log; "" if nothing is."""
        unmet = [f"expected in the log: {one}" for one in self.expected if not one.is_met]
        return "\n".join([*self.surprises, *unmet])


@pytest.fixture(autouse=True)
def log_check():
    """Watch every logger during one test."""
    check = LogCheck()
    root = logging.getLogger()
    root.addHandler(check)
    yield check
    root.removeHandler(check)
    if verdict := check.verdict():
        pytest.fail(verdict, pytrace=False)


@pytest.fixture
def expects_log(log_check):
    """``expects_log("text")``: a record with this text will come, and it is no failure."""
    return log_check.expect


@pytest.fixture
def allows_log(log_check):
    """``allows_log("text")``: a record with this text may come: chance decides."""
    return log_check.allow
