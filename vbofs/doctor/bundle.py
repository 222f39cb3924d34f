"""A report to send to whoever helps: an archive of text, with no secrets in it."""

from __future__ import annotations

import io
import json
import os
import platform
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from .. import control, mounts
from ..daemon.background import default_log
from ..errors import BundleUnwritable, VbofsError
from ..logs import last_lines
from .finding import Finding, Patient
from .redaction import redacted

#: Bytes of each log.
LOG_TAIL = 256 << 10
#: What of the environment changes what vbofs does; never all of it.
VARIABLES = ("VBOFS_", "XDG_", "LANG", "LC_", "AWS_CA_BUNDLE", "JOURNAL_STREAM")
README = """\
A report of vbofs doctor: what it found, what the daemons say of themselves, settings, versions, and
the ends of the logs.  Credentials and passwords have been taken out, the home directory is ~.
Look through it before you send it.
"""


def write(path: Path, patient: Patient, findings: Sequence[Finding]) -> None:
    """Write the archive *path*, which must not exist, for its owner's eyes.  BundleUnwritable."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise BundleUnwritable(f"--bundle: {path} exists already; name another file") from error
    except OSError as error:
        raise BundleUnwritable(f"--bundle: {path} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as tar:
            for name, text in _documents(patient, findings):
                _add(tar, name, redacted(text))
    except OSError as error:
        path.unlink(missing_ok=True)
        raise BundleUnwritable(f"--bundle: {path} cannot be written: {error.strerror}") from error


def _add(tar: tarfile.TarFile, name: str, text: str) -> None:
    body = text.encode(errors="backslashreplace")
    entry = tarfile.TarInfo(f"vbofs-doctor/{name}")
    entry.size, entry.mtime, entry.mode = len(body), int(time.time()), 0o600
    tar.addfile(entry, io.BytesIO(body))


def _documents(patient: Patient, findings: Sequence[Finding]) -> Iterator[tuple[str, str]]:
    yield "README", README
    yield "findings.json", _json([finding._asdict() for finding in findings])
    yield "settings.json", _json(_settings(patient))
    yield "versions.txt", "\n".join(_versions()) + "\n"
    lines = _text(Path("/proc/self/mountinfo")).splitlines(keepends=True)
    yield "mounts.txt", "".join(line for line in lines if " - fuse" in line)
    yield "limits.txt", _text(Path("/proc/self/limits"))
    settings = patient.settings
    logs = {settings.log_file or default_log(settings.mountpoint)}
    ours = [mount.path for mount in mounts.mounts() if mount.is_ours]
    for number, mountpoint in enumerate(ours, 1):
        state = _status(mountpoint)
        yield f"status-{number}.json", _json(state)
        logs.add(Path(state.get("log_file") or default_log(mountpoint)))
    said = {log: last_lines(log, LOG_TAIL) for log in sorted(logs)}
    for number, log in enumerate(filter(said.get, said), 1):
        yield f"log-{number}.txt", f"{log}\n\n{said[log]}"


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def _settings(patient: Patient) -> dict[str, Any]:
    return {
        "flaw": patient.flaw,
        "settings": msgspec.to_builtins(patient.settings, enc_hook=str),
        "environment": {
            name: value for name, value in os.environ.items() if name.startswith(VARIABLES)
        },
    }


def _versions() -> Iterator[str]:
    yield f"python {sys.version}"
    yield " ".join(platform.uname()[i] for i in (0, 2, 3, 4))
    for line in _text(Path("/etc/os-release")).splitlines():
        if line.startswith("PRETTY_NAME"):
            yield line
    yield from sorted(f"{d.name} {d.version}" for d in metadata.distributions())


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        return f"{path}: {error.strerror}\n"


def _status(mountpoint: Path) -> dict[str, Any]:
    try:
        return dict(control.ask(mountpoint, "status"))
    except VbofsError as error:
        return {"mountpoint": str(mountpoint), "error": str(error)}
