"""What a check looks at, and what it says."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..config import Settings


class Verdict(enum.StrEnum):
    """A *warning* costs speed or will be a problem; a *problem* keeps vbofs from working."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Finding(NamedTuple):
    """*cure* is the command that mends it, or in words what does."""

    check: str
    verdict: Verdict
    text: str
    cure: str = ""


@dataclass
class Patient:
    """The machine, seen with *settings*; *flaw* says why those of the user could not be used.

    *cut_off* is said by the first check that finds no way to the bucket, so that one broken thing
    is one problem and not five.  *lives*: the settings are those of a daemon that answers.
    """

    settings: Settings
    flaw: str = ""
    lives: bool = False
    cut_off: bool = False


class Said(NamedTuple):
    """A finding that is still to learn the name of its check."""

    verdict: Verdict
    text: str
    cure: str = ""


Check = Callable[[Patient], Iterator[Said]]


def ok(text: str) -> Said:
    return Said(Verdict.OK, text)


def warning(text: str, cure: str = "") -> Said:
    return Said(Verdict.WARNING, text, cure)


def problem(text: str, cure: str = "") -> Said:
    return Said(Verdict.PROBLEM, text, cure)
