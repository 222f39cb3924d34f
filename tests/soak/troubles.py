"""What goes wrong in a soak: on the network, in the cache, with the daemon.

Each trouble begins, lasts a moment and is over when its method returns; what it excuses it tells
the ledger. Flipped bits in bodies of the right length are not among them: until a file is complete
nothing vouches for its bytes but TLS (see vbofs/blocks/verifier.py). They have tests of their own,
tests/mount/test_faults_hash.py.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from tests.mount.family import children
from tests.mount.machine import Machine, Mounted
from tests.mount.waiting import eventually
from tests.soak.ledger import Ledger
from tests.soak.origin import Origin
from tests.soak.watch import Watch

#: Seconds for which the daemon tries again, and after which it calls it a stall.
TIMEOUT, STALL = 10, 3

#: Lies and accidents that a second attempt outlives: fields of tests.s3.Fault.
PASSING: list[dict[str, object]] = [
    {"close_at": 1000},
    {"close_at": 0},
    {"close_at": -1},
    {"reset_at": 70_000},
    {"reset_at": 400_000},
    {"truncate_body": 5},
    {"status": 500},
    {"status": 503, "delay": 0.1},
    {"code": "SlowDown"},
    {"status": 429},
    {"html": True},
    {"whole": True},
    {"gzip": True},
    {"long_body": 1000},
    {"trickle": [20_000, 0.01]},
    {"trickle": [50, 0.1]},
    {"stall_at": 0},
    {"stall_at": 100_000},
    {"delay": 1.0},
    {"content_length_lie": -7},
    {"content_length_lie": 7},
    {"content_range_shift": 131_072},
    {"headers": {"x-amz-version-id": "another"}},
    {"headers": {"ETag": '"another"'}},
    {"headers": {"Content-Range": None}},
]
#: Refusals that no second attempt changes.
LASTING: list[dict[str, object]] = [
    {"status": 403},
    {"status": 404},
    {"status": 412},
    {"status": 416},
    {"status": 301},
    {"code": "NoSuchVersion"},
]
WAYS_TO_END = [("kill -9", signal.SIGKILL), ("SIGSTOP", signal.SIGSTOP)]


class Troubles:
    """Everything that can be broken, and by whom."""

    def __init__(
        self, machine: Machine, origin: Origin, ledger: Ledger, watch: Watch, seed: int
    ) -> None:
        self.machine, self.origin, self.ledger, self.watch = machine, origin, ledger, watch
        self.chance = random.Random(seed)
        self.ended = threading.Event()
        self.options: tuple[str, ...] = ()
        self.mounted: Mounted | None = None

    def of_the_network(self) -> list[Callable[[], None]]:
        return [*[self.passing] * 8, self.refusal, self.away_for_a_moment, self.away_for_long]

    def of_the_machine(self) -> list[Callable[[], None]]:
        daemons = [self.kill, self.kill, self.terminate, self.hang, self.second]
        return [*[self.damage] * 16, *[self.fetching] * 3, *daemons]

    def _last(self, least: float, most: float) -> None:
        self.ended.wait(self.chance.uniform(least, most))

    # --- the network

    def passing(self) -> None:
        """Every third answer or so is a lie or an accident."""
        deeds = self.chance.choice(PASSING)
        self.ledger.troubles["passing fault"] += 1
        every = self.chance.choice((3, 4, 7))
        self.origin.command("fault", operation="GET", key=r"\.(nwb|csv|bin)$", every=every, **deeds)
        self._last(0.3, 2)
        self.origin.command("heal")

    def refusal(self) -> None:
        """Some objects are refused."""
        self.ledger.troubles["refusal for good"] += 1
        deeds, key = self.chance.choice(LASTING), self.chance.choice(("[02468].nwb", "session"))
        with self.ledger.broken("refusal for good"):
            self.origin.command("fault", operation="GET", key=key, **deeds)
            self._last(0.3, 2)
            self.origin.command("heal")

    def away_for_a_moment(self) -> None:
        """Shorter than the daemon's patience: nobody is to notice."""
        self.ledger.troubles["server down for a moment"] += 1
        self.origin.command("down")
        self._last(0.5, TIMEOUT / 3)
        self.origin.command("up")

    def away_for_long(self) -> None:
        """Longer than the daemon's patience."""
        self.ledger.troubles["server down for long"] += 1
        with self.ledger.broken("server down"):
            self.origin.command("down")
            self._last(TIMEOUT * 1.1, TIMEOUT * 1.5)
            self.origin.command("up")
            # Time to find it back, or what comes next is to the daemon still the same outage.
            self._last(1, 1)

    # --- the cache

    def damage(self) -> None:
        """Something happens to a file of the cache."""
        files = [p for p in self.machine.cache.glob("*/**/*") if p.is_file()]
        if files:
            path, deed = self.chance.choice(files), self.chance.choice(DEEDS)
            self.ledger.troubles[f"cache file: {deed.__name__.strip('_')}"] += 1
            with contextlib.suppress(OSError, ValueError):  # The daemon may have been faster.
                deed(path, self.chance)
        if self.chance.random() < 0.3:
            clear(self.machine.cache)

    # --- the daemon

    def fetching(self) -> None:
        """Its second process is killed, or stopped; nobody is to notice."""
        mounted, (name, number) = self.mounted, self.chance.choice(WAYS_TO_END)
        for pid in children(mounted.pid) if mounted else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
                self.ledger.troubles[f"second process: {name}"] += 1
        self._last(0.1, 1)

    def kill(self) -> None:
        """kill -9, and mount again."""
        self.ledger.troubles["kill -9"] += 1
        with self.ledger.broken("daemon killed"):
            mounted = self._let_go()
            mounted.kill()
            self.mount()

    def terminate(self) -> None:
        """SIGTERM under load, and mount again while the old daemon still has its readers."""
        self.ledger.troubles["SIGTERM"] += 1
        with self.ledger.broken("daemon terminated"):
            mounted = self._let_go()
            os.kill(mounted.pid, signal.SIGTERM)
            eventually(lambda: mounted.path not in self.machine.mounts())
            self.mount()

    def _let_go(self) -> Mounted:
        mounted = self.mounted
        assert mounted is not None
        self.watch.follow(None)
        return mounted

    def mount(self) -> None:
        """As systemd would: again and again, should the server be away."""

        def mounted() -> bool:
            return self.machine.run("mount", *self.options).status == 0

        eventually(mounted, within=60, what="a mount")
        self.mounted = Mounted(self.machine, self.machine.home / "vbo")
        self.watch.follow(self.mounted)

    def hang(self) -> None:
        """The daemon is stopped, and goes on."""
        self.ledger.troubles["SIGSTOP"] += 1
        assert self.mounted is not None
        os.kill(self.mounted.pid, signal.SIGSTOP)
        self._last(0.1, 0.7)
        os.kill(self.mounted.pid, signal.SIGCONT)

    def second(self) -> None:
        """Another daemon works in the same cache for a while, and is killed."""
        place = self.machine.home / "second"
        if self.machine.run("mount", str(place), *self.options).status:
            return  # The server is away.
        self.ledger.troubles["second daemon"] += 1
        other = Mounted(self.machine, place)
        readers = [
            self.machine.start("tar", "-cf", "/dev/null", "-C", str(root), ".", stderr=-3)
            for root in sorted(place.glob("v*"))[-2:]
        ]
        self._last(1, 3)
        other.kill()
        for reader in readers:
            reader.wait(30)
        self.machine.run("umount", str(place))


# --- deeds to a file of the cache


def _flip(path: Path, chance: random.Random) -> None:
    with path.open("r+b") as file:
        at = chance.randrange(path.stat().st_size)
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << chance.randrange(8)]))


def _overwrite(path: Path, chance: random.Random) -> None:
    with path.open("r+b") as file:
        file.seek(chance.randrange(path.stat().st_size))
        file.write(chance.randbytes(100_000))


def _zero(path: Path, chance: random.Random) -> None:
    size = path.stat().st_size
    os.truncate(path, chance.randrange(size))
    os.truncate(path, size)


def _truncate(path: Path, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(path.stat().st_size + 1))


def _delete(path: Path, chance: random.Random) -> None:
    path.unlink()


def _directory(path: Path, chance: random.Random) -> None:
    path.unlink()
    (path / "full").mkdir(parents=True)


DEEDS = (_flip, _overwrite, _zero, _truncate, _delete, _directory)


def clear(cache: Path) -> None:
    """Remove the directories that were put in the place of files: vbofs leaves them alone."""
    for path in list(cache.rglob("full")):
        shutil.rmtree(path.parent, ignore_errors=True)
