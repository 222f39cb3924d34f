"""A machine of its own with a real systemd as its first process, over a copy of this one.

Namespaces for processes, mounts, control groups, names and, if asked, the network; the root is a
throw-away overlay, so nothing that happens inside reaches the files outside.  ``/run`` and ``/tmp``
are fresh.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.mount.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
#: Seconds: no command takes that long.
PATIENCE = 40
CLONE_NEWNET = 0x40000000

_BOOT = r"""
set -eu
space=$1 first=$2; shift 2
mount -t tmpfs tmpfs "$space"
mkdir "$space"/upper "$space"/work "$space"/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$space/upper,workdir=$space/work" "$space/root"
cd "$space/root"
for place; do
    if mountpoint -q "$place"; then mount --rbind "$place" "./$place"; fi
    # Python and this checkout may lie in root's home, where the daemon's user finds neither.
    while [ "$place" != / ]; do place=$(dirname "$place"); chmod o+x "./$place"; done
done
mount --rbind /dev dev
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
# As udev makes it; the one outside stays as it is.
mknod -m 666 run/fuse c 10 229
mount --bind run/fuse dev/fuse
mount -t cgroup2 cgroup2 sys/fs/cgroup
mkdir -p .old
pivot_root . .old
: >etc/fstab
# None of this machine's own services; what a test enables is all there is.
rm -rf etc/init.d etc/systemd/system/*.wants/*
eval "$first"
umount -l .old
# As systemd has it on a real machine; in a container it leaves that to others.
mount --make-rshared /
export container=sandbox
exec /lib/systemd/systemd --system --unit=multi-user.target --log-target=journal --show-status=0
"""


class Outcome(NamedTuple):
    """What a command came to."""

    status: int
    out: str
    err: str


class Sandbox:
    """The machine, from ``boot`` to ``stop``; *folder* is new, and holds the console's log."""

    def __init__(self, folder: Path, *, own_network: bool = False) -> None:
        self._folder = folder
        self._own_network = own_network
        self._unshare: subprocess.Popen[bytes] | None = None
        self._since = ""
        self.init = 0

    def boot(self, first: str = "") -> None:
        """Return when systemd says that it is running.  *first* is a script that finds the machine
        before its systemd starts, and this one's files in /.old."""
        space = self._folder / "space"
        space.mkdir(parents=True)
        kinds = ["--pid", "--fork", "--mount", "--cgroup", "--uts", "--ipc"]
        kinds += ["--net"] if self._own_network else []
        # What is a mount of its own is not in an overlay of /.
        places = sorted({str(ROOT), sys.prefix, sys.base_prefix})
        with (self._folder / "log").open("wb") as console:
            self._unshare = subprocess.Popen(
                [
                    *("unshare", *kinds, "--propagation", "private"),
                    *("bash", "-c", _BOOT, "boot", str(space), first, *places),
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        eventually(self._find_init, 30, "systemd as the first process")
        eventually(self._is_running, 60, f"a running system; see {self._folder}/log")

    def _find_init(self) -> bool:
        assert self._unshare is not None
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children")
        with contextlib.suppress(OSError, IndexError):
            init = int(children.read_text().split()[0])
            if Path(f"/proc/{init}/comm").read_text().strip() == "systemd":
                self.init = init
        return bool(self.init)

    def _is_running(self) -> bool:
        return self.run("systemctl", "is-system-running").out.strip() in ("running", "degraded")

    def stop(self) -> None:
        """End every process in it; its mounts and files go with them."""
        if self._unshare is None or self._unshare.returncode is not None:
            return
        if self.init:
            os.kill(self.init, signal.SIGKILL)
        else:
            self._unshare.kill()
        self._unshare.wait(30)

    def run(self, *command: str) -> Outcome:
        """A command inside."""
        result = subprocess.run(
            ["nsenter", "-t", str(self.init), "-a", "-r", "-w", *command],
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": "/root"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Outcome(result.returncode, result.stdout, result.stderr)

    def sh(self, script: str) -> str:
        """What a script prints, without the last line break; failing is a failure of the test."""
        outcome = self.run("sh", "-euc", script)
        assert outcome.status == 0, f"{script}\n{outcome}\n{self.journal()}"
        return outcome.out.rstrip("\n")

    def beside(self, name: str, script: str) -> None:
        """A script that goes on beside the test, as the unit *name*; it ends with the machine."""
        self.sh(f"systemd-run -q --unit={name} sh -c {shlex.quote(script)}")

    def write(self, path: str, text: str) -> None:
        self.sh(f"mkdir -p {Path(path).parent}; printf %s {shlex.quote(text)} >{path}")

    def copy_out(self, path: str, target: Path) -> None:
        """A directory of this machine, to *target* outside."""
        target.mkdir()
        inside = ["nsenter", "-t", str(self.init), "-a", "-r", "-w"]
        packed = subprocess.run(
            [*inside, "tar", "-C", path, "-cf", "-", "."], check=True, stdout=-1
        )
        subprocess.run(["tar", "-C", target, "-xf", "-"], input=packed.stdout, check=True)

    def show(self, unit: str, field: str) -> str:
        """One property of a unit."""
        return self.sh(f"systemctl show --value -p {field} {unit}")

    def journal(self) -> str:
        """What the units of vbofs said, and systemd about them, since ``turn_page``."""
        since = ["--since", f"@{self._since}"] if self._since else []
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", "*vbo*", *since).out

    def turn_page(self) -> None:
        """What was said before is forgotten."""
        self.run("journalctl", "--sync")
        self._since = self.sh("date +%s.%N")

    # --- its network

    def in_network(self, work: Callable[[], None]) -> None:
        """Have *work* done by a thread that is in this machine's network."""
        failed: list[BaseException] = []

        def enter() -> None:
            try:
                with open(f"/proc/{self.init}/ns/net") as place:
                    libc = ctypes.CDLL(None, use_errno=True)
                    assert libc.setns(place.fileno(), CLONE_NEWNET) == 0, ctypes.get_errno()
                work()
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
