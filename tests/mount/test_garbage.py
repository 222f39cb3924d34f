"""Python's garbage collector in a daemon: it works, and what was made at the start is not its."""

from __future__ import annotations

import json
import os
import signal

from tests.mount.waiting import eventually

#: Imported by the daemon's Python before anything else: on SIGUSR2 it tells of its collector.
TELLER = """
import gc, json, os, signal

def tell(*_):
    counts = gc.isenabled(), gc.get_freeze_count(), len(gc.get_objects())
    with open(os.environ["TOLD"] + ".new", "w") as file:
        json.dump(counts, file)
    os.rename(os.environ["TOLD"] + ".new", os.environ["TOLD"])

signal.signal(signal.SIGUSR2, tell)
"""


def test_what_is_made_at_the_start_is_never_looked_at_by_the_collector(at_s3, published):
    published.release("1.0.0", {f"behavior_sessions/{n}.nwb": 1000 for n in range(2000)})
    path = at_s3.root / "path"
    path.mkdir()
    (path / "sitecustomize.py").write_text(TELLER)
    told = at_s3.root / "told"
    mounted = at_s3.mount(PYTHONPATH=str(path), TOLD=str(told))
    os.kill(mounted.pid, signal.SIGUSR2)
    is_enabled, frozen, looked_at = json.loads(
        eventually(lambda: told.exists() and told.read_text())
    )
    assert is_enabled
    assert frozen > 20 * looked_at
