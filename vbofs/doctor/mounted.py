"""What is mounted, whether it lives, and whether something could be mounted where it is wanted."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from .. import control, mounts
from .._version import __version__
from ..errors import DaemonSilent, NotMounted, VbofsError
from ..health import ailments
from .finding import Patient, Said, ok, problem, warning

#: KiB, FUSE's largest request.
READ_AHEAD = 1024


def mountpoint(patient: Patient) -> Iterator[Said]:
    """Whether the settings' mountpoint can be mounted on, or is."""
    path = patient.settings.mountpoint
    there = mounts.mounted_at(path)
    if there is not None:
        said = f"{there.source} ({there.fstype}) is mounted on {path}"
        yield ok(said) if there.is_ours else problem(f"{said} already", "name another mountpoint")
        return
    mounts.check_directory(path)
    yield ok(f"{path} can be mounted on")


def living(patient: Patient) -> Iterator[Said]:
    """Each vbofs that is mounted, and what ails it."""
    ours = [mount.path for mount in mounts.mounts() if mount.is_ours]
    if not ours:
        yield ok("none of vbofs")
    for path in ours:
        yield from _one(path)


def _one(path: Path) -> Iterator[Said]:
    try:
        if mounts.is_dead(path):
            yield problem(f"{path}: its daemon has died", f"vbofs umount {path}")
            return
        state = control.ask(path, "status")
    except NotMounted:
        yield ok(f"{path} is another user's")
        return
    except DaemonSilent as error:
        yield problem(str(error), f"vbofs umount {path}")
        return
    except VbofsError as error:
        yield warning(f"{path}: {error}")
        return
    if state["version"] != __version__:
        yield warning(
            f"{path} runs vbofs {state['version']}, and {__version__} is installed",
            f"vbofs umount {path} && vbofs mount {path}",
        )
    found = list(ailments(state, time.time()))
    for ailment in found:
        said = problem if ailment.grave else warning
        yield said(f"{path}: {ailment.text}", ailment.cure)
    if not found:
        yield ok(f"{path} answers")


def read_ahead(patient: Patient) -> Iterator[Said]:
    """How much the kernel asks of each mount at once; 1 MiB doubles the throughput."""
    for mount in mounts.mounts():
        if mount.is_ours and (tunable := _tunable(mount.path)):
            size = int(tunable.read_text())
            if size < READ_AHEAD:
                yield warning(
                    f"{mount.path}: the kernel reads ahead {size} KiB, and 1024 is twice as fast",
                    f"echo {READ_AHEAD} | sudo tee {tunable}",
                )
            else:
                yield ok(f"{mount.path}: {size} KiB")


def _tunable(path: Path) -> Path | None:
    try:
        if mounts.is_dead(path):
            return None
        device = os.stat(path).st_dev
    except (OSError, DaemonSilent):
        return None  # Another user's, or it has been said.
    tunable = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
    return tunable if tunable.exists() else None
