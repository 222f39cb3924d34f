"""`python -m tests.soak.chaos`: a release is copied while network, cache and daemon are broken.

Each thing that is broken is a line. A copy that fails is begun again, as a person would: by the
same command. At the end every file is compared with what was published.
"""

from __future__ import annotations

import argparse
import contextlib
import filecmp
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.mount.machine import Machine, Mounted
from tests.soak import truth
from tests.soak.origin import Origin
from tests.soak.soak import FOREIGN, SITE
from tests.soak.troubles import DEEDS, LASTING, PASSING, clear

RELEASE = "v1.1.0"
#: Bytes a second, so that there is something to break for half a minute; seconds after which to
#: stop breaking.
RATE, ENOUGH = 2 << 20, 60


class Chaos:
    """One release, one copy, and whoever breaks things meanwhile."""

    def __init__(self, folder: Path, origin: Origin, truths: Path, seed: int) -> None:
        self.folder, self.origin, self.truths = folder, origin, truths / RELEASE
        self.chance = random.Random(seed)
        self.begun = time.monotonic()
        self.ended = threading.Event()
        self.broken = 0
        self.machine = Machine(folder / "machine", origin.url)
        (self.machine.root / "sitecustomize.py").write_text(SITE)
        self.machine.env |= {"PYTHONPATH": str(self.machine.root), "VBOFS_TIMEOUT": "4"}
        self.machine.expect(r" (WARNING|ERROR) ")

    def run(self) -> bool:
        """Copy while things break; whether every file is right."""
        self.say(f"mounting; {RELEASE} will be copied by cp -r")
        self.mounted = self.mount()
        breaking = threading.Thread(target=self._keep_breaking)
        breaking.start()
        try:
            attempts = self._copy_until_it_ends_well()
        finally:
            self.ended.set()
            breaking.join()
            self.machine.clean()
        self.say(f"the copy is complete, at attempt {attempts}; comparing every file")
        return self._compare()

    def say(self, what: str) -> None:
        print(f"{time.monotonic() - self.begun:6.1f} s  {what}", flush=True)

    def mount(self) -> Mounted:
        while self.machine.run("mount", "--cache-size", "40M").status:
            self.say("         vbofs mount finds no server yet, and is run again")
        return Mounted(self.machine, self.machine.home / "vbo")

    # --- the copy

    def _copy_until_it_ends_well(self) -> int:
        """How many attempts it took."""
        for attempt in range(1, 1000):
            source = self.machine.home / "vbo" / RELEASE
            # -u: as a person would, who does not copy again what is there and whole.
            words = ["cp", "-r", "--preserve=timestamps", "-u", f"{source}/.", str(self.copy)]
            copying = subprocess.run(words, capture_output=True, text=True, check=False)
            if copying.returncode == 0:
                return attempt
            lines = copying.stderr.strip().splitlines() or [f"status {copying.returncode}"]
            self.say(f"cp      fails: {lines[-1].rpartition(': ')[2]} ({len(lines)} lines); again")
            self._drop_halves()
            self.ended.wait(0.5)
        raise AssertionError("there is no end to it")

    @property
    def copy(self) -> Path:
        place = self.folder / "copy"
        place.mkdir(exist_ok=True)
        return place

    def _drop_halves(self) -> None:
        """What cp left unfinished has the time of the copy, which cp -u takes for newer."""
        for path in self.copy.rglob("*"):
            if "by-" in str(path.relative_to(self.copy)):
                continue  # The release's views: links to the files.
            size = (self.truths / path.relative_to(self.copy)).stat().st_size
            if path.is_file() and path.stat().st_size != size:
                path.unlink()

    def _compare(self) -> bool:
        """Whether the copy has the release's files, all of them, and no other byte."""
        wrong = differences(self.truths, self.copy)
        for line in wrong:
            self.say(line)
        if not wrong:
            sizes = [path.stat().st_size for path in _files(self.truths).values()]
            self.say(
                f"every one of {len(sizes)} files is equal to what was published: {sum(sizes)}"
                f" bytes, {self.broken} things broken meanwhile"
            )
        return not wrong

    # --- what is broken

    def _keep_breaking(self) -> None:
        kinds = [self._fault, self._kill, self._away, self._rot, self._refuse, self._stop]
        queue: list[Callable[[], None]] = []
        while not self.ended.wait(self.chance.uniform(0.2, 1)):
            if time.monotonic() - self.begun > ENOUGH:
                self.say("enough; nothing more is broken")
                return
            if not queue:
                queue = self.chance.sample([*kinds, self._fault, self._rot], len(kinds) + 2)
            self.broken += 1
            queue.pop()()

    def _fault(self) -> None:
        deeds = self.chance.choice(PASSING)
        said = " ".join(f"{name}={value}" for name, value in deeds.items())
        self.say(f"network every third answer: {said}")
        self.origin.command("fault", operation="GET", every=3, **deeds)
        self.ended.wait(1.5)
        self.origin.command("heal")

    def _refuse(self) -> None:
        deeds = self.chance.choice(LASTING)
        said = " ".join(str(value) for value in deeds.values())
        self.say(f"network the bucket refuses everything: {said}")
        self.origin.command("fault", operation="GET", **deeds)
        self.ended.wait(1)
        self.origin.command("heal")

    def _away(self) -> None:
        seconds = self.chance.choice((2, 6))
        self.say(f"network gone for {seconds} s")
        self.origin.command("down")
        self.ended.wait(seconds)
        self.origin.command("up")

    def _kill(self) -> None:
        self.say("daemon  kill -9, and vbofs mount")
        self.mounted.kill()
        self.mounted = self.mount()

    def _stop(self) -> None:
        self.say("daemon  stopped for a second")
        os.kill(self.mounted.pid, signal.SIGSTOP)
        self.ended.wait(1)
        os.kill(self.mounted.pid, signal.SIGCONT)

    def _rot(self) -> None:
        deed = self.chance.choice(DEEDS)
        cache = self.machine.cache
        files = [p for p in cache.glob("*/**/*") if p.is_file()]
        self.say(f"cache   {deed.__name__.strip('_')}: half of {len(files)} files")
        for path in self.chance.sample(files, len(files) // 2):
            with contextlib.suppress(OSError, ValueError):
                deed(path, self.chance)
        self.ended.wait(1)
        clear(cache)


def differences(truths: Path, copy: Path) -> list[str]:
    """What is wrong with *copy*, a line each; its links are the release's views."""
    true = _files(truths)
    got = {path: place for path, place in _files(copy).items() if not place.is_symlink()}
    return [
        *(f"MISSING: {path}" for path in sorted(true.keys() - got)),
        *(f"NOT PUBLISHED: {path}" for path in sorted(got.keys() - true)),
        *(
            f"DIFFERENT: {path}"
            for path in sorted(true.keys() & got)
            if not filecmp.cmp(true[path], got[path], shallow=False)
        ),
    ]


def _files(top: Path) -> dict[Path, Path]:
    """Where each of the files under *top* is; the truths are links to a sample's files."""
    return {path.relative_to(top): path for path in top.rglob("*") if path.is_file()}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    for name in [one for one in os.environ if one.upper().startswith(FOREIGN)]:
        del os.environ[name]
    folder = Path(tempfile.mkdtemp(prefix="vbofs-chaos-"))
    try:
        print(f"making a sample, seed {options.seed} …", flush=True)
        truths = truth.make(folder, large=False)
        with Origin(truths) as origin:
            origin.command("set", total_rate=RATE)
            sound = Chaos(folder, origin, truths, options.seed).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
