"""Other programs: started, asked, counted, and ended whatever state they are in.

Nothing here may hang: what does not answer in time is killed, a mount that does not let go is
aborted in the kernel. Only processes that were started here are ever signalled.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
#: Seconds that a daemon gets to end by itself once it is unmounted.
GRACE = 8.0
#: Seconds without a tick of CPU time after which it is idle, and for which that is waited for.
IDLE, PATIENCE = 0.15, 5.0
ROOT = Path(__file__).resolve().parents[2]


class Failed(Exception):
    """A contestant did not do what it was asked to; the run goes on without it."""


class TimedOut(Failed):
    """It did not do it in time."""


def in_our_care(words: Sequence[str], user: int | None = None) -> list[str]:
    """*words*, to be run as *user*, and told to end should this process die."""
    if shutil.which("setpriv") is None:
        if user is not None:
            raise Failed("setpriv is not installed")
        return list(words)
    switch = [f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user is not None else []
    return ["setpriv", *switch, "--pdeathsig=TERM", *words]


# --- a daemon


@dataclass(frozen=True)
class Costs:
    """CPU seconds so far and MB at the peak, of a process and all below it.

    *peak* is VmHWM, in which pages of mapped files count; *anonymous* is what is held now that
    is no file's.
    """

    cpu: float = 0.0
    peak: float = 0.0
    anonymous: float = 0.0


class Daemon:
    """A file system in the foreground, and its mountpoint."""

    def __init__(
        self, words: Sequence[str], mountpoint: Path, *, env: Mapping[str, str], log: Path
    ) -> None:
        self.mountpoint = mountpoint
        self._log = log
        self.began = time.monotonic()
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                words,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=mountpoint.parent,
                start_new_session=True,
            )

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1][-300:] if lines else "it said nothing"

    def costs(self) -> Costs:
        family = [_status(pid) for pid in _family(self._process.pid)]
        return Costs(
            sum(_cpu(pid) for pid in _family(self._process.pid)),
            sum(one.get("VmHWM", 0) for one in family) / 1000,
            sum(one.get("RssAnon", 0) + one.get("RssShmem", 0) for one in family) / 1000,
        )

    def await_idle(self) -> None:
        """Return when it has used no CPU time for a while, or when patience ends: what it does on
        its own after a job (it may hash what is complete) is part of that job, not of the next."""
        deadline = time.monotonic() + PATIENCE
        used, since = -1.0, time.monotonic()
        while (now := time.monotonic()) < min(deadline, since + IDLE):
            cpu = self.costs().cpu
            if cpu > used:
                used, since = cpu, now
            time.sleep(0.03)

    def stop(self) -> None:
        """Unmount and end it: by asking, and if that does not help, by force."""
        if _is_mounted(self.mountpoint):
            _unmount(self.mountpoint)
        elif not self.has_ended:
            self._process.terminate()
        if not self._has_ended_within(GRACE):
            _abort(self.mountpoint)
            _unmount(self.mountpoint, lazy=True)
            self._process.terminate()
        if not self._has_ended_within(GRACE):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(GRACE)
        while _is_mounted(self.mountpoint):
            _unmount(self.mountpoint, lazy=True)

    def _has_ended_within(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


def _family(pid: int) -> list[int]:
    """*pid* and all that descend from it, as far as they live."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def _cpu(pid: int) -> float:
    """Of the process and of its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) / TICKS


def _status(pid: int) -> dict[str, int]:
    """Fields of /proc/PID/status that are in kB."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    fields = [line.split() for line in lines if line.endswith(" kB")]
    return {name.rstrip(":"): int(size) for name, size, _ in fields}


def _is_mounted(path: Path) -> bool:
    lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    return any(line.split(" ")[4] == str(path) for line in lines)


def _unmount(path: Path, *, lazy: bool = False) -> None:
    """Try to; *lazy* cannot fail but for want of a mount."""
    command = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
    option = {"umount": "-l", "fusermount3": "-z"}[command[0]]
    with contextlib.suppress(subprocess.TimeoutExpired):
        words = [*command, *([option] if lazy else []), str(path)]
        subprocess.run(words, capture_output=True, check=False, timeout=GRACE)


def _abort(path: Path) -> None:
    """Have the kernel give up on the daemon of the mount at *path*."""
    for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
        fields = line.split(" ")
        if fields[4] == str(path):
            minor = fields[2].partition(":")[2]
            with contextlib.suppress(OSError):
                Path(f"/sys/fs/fuse/connections/{minor}/abort").write_text("1")


# --- a reader

_BARE = {"LANG": "C.UTF-8", "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}


class Reader:
    """A process of `readers` that stays; started when it is first asked, and after a failure."""

    def __init__(self, python: str, user: int | None = None) -> None:
        self._words = [python, "-m", "tests.benchmarks.readers"]
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""

    def ask(self, operation: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Have *operation* done, and return what it says.  Failed if it could not."""
        self.tell(operation)
        return self.answer(timeout)

    def tell(self, operation: Mapping[str, Any]) -> None:
        """Have it begin; `answer` waits for the end."""
        process = self._process or self._start()
        assert process.stdin is not None
        process.stdin.write(json.dumps(dict(operation)).encode() + b"\n")

    def answer(
        self, timeout: float, hopeless: Callable[[], bool] = lambda: False
    ) -> dict[str, Any]:
        """What it says of what it was told; it is not waited for once that is *hopeless*."""
        answer: dict[str, Any] = json.loads(self._line(timeout, hopeless))
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def stop(self) -> None:
        process, self._process, self._unread = self._process, None, b""
        if process is None:
            return
        process.kill()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()
        with contextlib.suppress(subprocess.TimeoutExpired):  # in a read that nobody answers
            process.wait(GRACE)

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            in_our_care(self._words, self._user),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            cwd="/",
            env={**_BARE, "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )
        return self._process

    def _line(self, timeout: float, hopeless: Callable[[], bool]) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        deadline = time.monotonic() + timeout
        pipe = self._process.stdout.fileno()
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0 or hopeless():
                self.stop()
                raise TimedOut(f"not done in {timeout:.0f} s" if left <= 0 else "it ended")
            if not select.select([pipe], [], [], min(left, 0.5))[0]:
                continue
            more = os.read(pipe, 1 << 16)
            if not more:
                self.stop()
                raise Failed("the reader died")
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        return line


# --- this machine


def drop_pages() -> bool:
    """Empty the page cache of all that is clean; False if that is not ours to do."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return False
    return True


def clear_leftovers(folder: Path) -> None:
    """Take down mounts below *folder* that a run before left, whoever served them."""
    for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
        path = Path(line.split(" ")[4])
        if path.is_relative_to(folder):
            _abort(path)
            _unmount(path, lazy=True)
