"""What every refusal has in common: one line, an exit status, and nothing left behind."""

from __future__ import annotations

import re

from tests.mount.machine import Machine, Outcome
from vbofs.errors import VbofsError


def assert_refused(
    machine: Machine, outcome: Outcome, error: type[VbofsError], *words: str, made: bool = False
) -> None:
    """*outcome* is the one line of *error*, with all *words* in it, and nothing was mounted.

    With *made*, the mountpoint was there before, and is still.
    """
    lines = outcome.err.splitlines()
    assert outcome.status == error.exit_status, outcome
    assert outcome.out == ""
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("vbofs: "), outcome.err
    assert not re.search(r"Traceback|\ba bug\b", outcome.err)
    for word in words:
        assert word in lines[0], outcome.err
    assert (machine.home / "vbo").exists() == made
    assert machine.mounts() == []
    assert machine.processes() == []
    machine.expect(" ERROR .*: " + re.escape(lines[0].removeprefix("vbofs: ")))
