"""All checks, in order, and how they are run: each by itself, for so long and no longer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping

from ..errors import VbofsError
from . import disk, machine, mounted, network
from .finding import Check, Finding, Patient, Said, Verdict, ok, problem, warning

__all__ = ["CHECKS", "Finding", "Patient", "Verdict", "examine"]

#: Seconds for one check: a disk or a mount that hangs must not hang who asks about it.
PATIENCE = 60.0


def settings(patient: Patient) -> Iterator[Said]:
    """Options, variables and file."""
    if patient.flaw:
        yield problem(
            f"{patient.flaw}; what follows was looked at with the default settings",
            "correct that value, or see docs/settings.md",
        )
    else:
        yield ok(f"{patient.settings.dataset}, to be mounted on {patient.settings.mountpoint}")


CHECKS: Mapping[str, Check] = {
    "settings": settings,
    "python": machine.python,
    "packages": machine.packages,
    "/dev/fuse": machine.device,  # Opening it loads the module.
    "kernel": machine.kernel,
    "fusermount3": machine.fusermount,
    "other users": machine.other_users,
    "descriptors": machine.descriptors,
    "memory": machine.memory,
    "mountpoint": mounted.mountpoint,
    "mounts": mounted.living,
    "read-ahead": mounted.read_ahead,
    "log": disk.log,
    "cache": disk.cache,
    "cache disk": disk.space,
    "disk kind": disk.kind,
    "disk speed": disk.speed,
    "proxies": network.proxies,
    "names": network.names,
    "endpoint": network.endpoint,
    "clock": network.clock,
    "bucket": network.bucket,
    "throughput": network.throughput,
}


def examine(
    patient: Patient, checks: Mapping[str, Check] = CHECKS, patience: float = PATIENCE
) -> Iterator[Finding]:
    """Every finding of *checks*, as soon as it is there; a check that fails is a finding too."""
    for name, check in checks.items():
        for said in _answers(check, patient, patience):
            yield Finding(name, *said)


def _answers(check: Check, patient: Patient, patience: float) -> Iterator[Said]:
    """What *check* says, in a thread: a system call into a dead server cannot be interrupted."""
    answers: queue.SimpleQueue[Said | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            for said in check(patient):
                answers.put(said)
        except VbofsError as error:
            answers.put(problem(str(error)))
        except Exception as bug:
            answers.put(warning(f"could not be looked at: {bug!r}"))
        answers.put(None)

    threading.Thread(target=run, daemon=True).start()
    while True:
        try:
            said = answers.get(timeout=patience)
        except queue.Empty:
            yield problem(f"no answer within {patience:g} s")
            return
        if said is None:
            return
        yield said
