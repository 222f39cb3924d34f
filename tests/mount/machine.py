"""One user's machine: a home of its own, vbofs run in it as a command, and what it leaves behind.

Every process that a test starts here has this HOME in its environment, the daemons too; that is
how they are found again, so that none outlives its test and no other is touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.mount.waiting import eventually
from vbofs import control

VBOFS = (sys.executable, "-m", "vbofs")
#: Seconds: no command takes that long.
PATIENCE = 60
# Commands that soon call a daemon silent: the constants are 5 and 10, and nobody has that time.
IMPATIENT = """
import vbofs.control
import vbofs.mounts

vbofs.control.STATUS_PATIENCE = 1
vbofs.mounts.PATIENCE = 2
"""
_ALARM = re.compile(r" (WARNING|ERROR|CRITICAL) |Traceback|Exception ignored|Error: ")


class Outcome(NamedTuple):
    """What a command came to."""

    status: int
    out: str
    err: str


class Mounted:
    """A mount that the test made; *path* is its root."""

    def __init__(self, machine: Machine, path: Path) -> None:
        self.machine = machine
        self.path = path
        self.pid: int = self.status()["pid"]

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def status(self) -> dict[str, Any]:
        """What the daemon says on its socket, where ``vbofs status`` asks too, but slower."""
        request = {"vbofs": control.PROTOCOL, "verb": "status"}
        with socket.socket(socket.AF_UNIX) as daemon:
            daemon.settimeout(PATIENCE)
            daemon.connect(str(self.machine.runtime / "vbofs" / control.socket_name(self.path)))
            daemon.sendall(json.dumps(request).encode() + b"\n")
            with daemon.makefile("rb") as answers:
                answer: dict[str, Any] = json.loads(answers.readline())["ok"]
        return answer

    def requests(self) -> dict[str, int]:
        """What the bucket has been asked, once nothing is under way any more."""

        def idle() -> dict[str, Any] | None:
            status = self.status()
            blocks = status["blocks"]
            return None if blocks["flying"] or blocks["queued"] else status

        answer: dict[str, int] = eventually(idle)["requests"]
        return answer

    def umount(self) -> None:
        outcome = self.machine.run("umount", str(self.path))
        assert outcome == (0, "", ""), outcome
        assert not is_mounted(self.path)

    def kill(self) -> None:
        """The daemon dies at once; the dead mount stays."""
        os.kill(self.pid, signal.SIGKILL)
        eventually(lambda: self.pid not in self.machine.processes())


class Machine:
    """A user with a home under *root*, whose vbofs asks *endpoint_url*."""

    def __init__(self, root: Path, endpoint_url: str | None = None) -> None:
        self.root = root
        self.home = root / "home"
        self.home.mkdir(parents=True)
        self.runtime = root / "run"
        self.runtime.mkdir(mode=0o700)
        self.expected: list[str] = []
        self.env = {
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PATH": os.environ["PATH"],
            "PYTHONWARNINGS": "error",
            "XDG_RUNTIME_DIR": str(self.runtime),
        }
        if endpoint_url:
            self.env["VBOFS_ENDPOINT_URL"] = endpoint_url

    @property
    def cache(self) -> Path:
        return self.home / ".cache" / "vbofs"

    def run(self, *words: str, **env: str) -> Outcome:
        """``vbofs`` with these words, and these variables besides the machine's own."""
        return self.execute(*VBOFS, *words, **env)

    def be_impatient(self) -> None:
        """From now on commands wait a second or two for a daemon that is silent."""
        (self.root / "sitecustomize.py").write_text(IMPATIENT)
        self.env["PYTHONPATH"] = str(self.root)

    def execute(self, *command: str, **env: str) -> Outcome:
        """Any command in this user's environment."""
        result = subprocess.run(
            command,
            env={**self.env, **env},
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Outcome(result.returncode, result.stdout, result.stderr)

    def start(self, *command: str, **more: Any) -> subprocess.Popen[bytes]:
        """A process that the test goes on beside, and ends."""
        env = {**self.env, **more.pop("env", {})}
        return subprocess.Popen(command, env=env, cwd=self.root, **more)

    def mount(self, *words: str, at: Path | None = None, **env: str) -> Mounted:
        """Mount, at ~/vbo or *at*; anything but success is a failure of the test."""
        place = [str(at)] if at else []
        outcome = self.run("mount", *place, *words, **env)
        assert (outcome.status, outcome.err) == (0, ""), outcome
        return Mounted(self, at or self.home / "vbo")

    def expect(self, pattern: str) -> None:
        """A line of the log that matches *pattern* is no failure."""
        self.expected.append(pattern)

    def log(self) -> str:
        """What the daemons wrote so far."""
        files = [*self.home.glob(".local/state/vbofs/log/*.log"), *self.root.glob("*.log")]
        return "".join(path.read_text() for path in files)

    def alarms(self) -> list[str]:
        """Lines of the log that no test expected."""
        return [
            line
            for line in self.log().splitlines()
            if _ALARM.search(line) and not any(re.search(one, line) for one in self.expected)
        ]

    # --- what is left

    def processes(self) -> list[int]:
        """Processes of this user that live; a zombie does not."""
        mine = f"HOME={self.home}".encode()
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if mine in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    found.append(int(pid))
        return found

    def mounts(self) -> list[Path]:
        return [path for path in mounted_paths() if path.is_relative_to(self.root)]

    def clean(self) -> None:
        """Take everything down, gently; then assert that gentleness was enough."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        for path in reversed(self.mounts()):
            self.run("umount", str(path))
        left = self.mounts()
        for path in reversed(left):
            subprocess.run(["fusermount3", "-u", "-z", str(path)], check=False)
        try:
            eventually(lambda: not self.processes(), what="the end of every daemon")
        finally:
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        assert not left, f"vbofs umount left {left}"
        assert not self.alarms(), "\n".join(self.alarms())


def mounted_paths() -> list[Path]:
    """Every mountpoint of this mount namespace."""
    lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    return [Path(line.split(" ")[4].replace("\\040", " ")) for line in lines]


def is_mounted(path: Path) -> bool:
    return path in mounted_paths()
