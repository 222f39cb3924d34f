"""A site in network namespaces: nodes and a cache on one switch, the origin behind it.

Everything hangs in the namespace of this process, which must be one of its own (``enter_apart``),
and is gone with it.  Only processes move between namespaces, with nsenter(1): ``ip netns exec``
would give each a mount namespace too, and nobody would see the others' mounts.
"""

from __future__ import annotations

import os
import subprocess
import sys

NET = "10.77"
ORIGIN = f"{NET}.0.1"
INSIDE = "VBOFS_TEST_SITE_INSIDE"


def enter_apart() -> None:
    """Become a process with network and mounts of its own, unless this is one."""
    if os.environ.pop(INSIDE, "") != "yes":
        command = ["unshare", "--net", "--mount", "--propagation", "private"]
        words = [*command, sys.executable, "-m", "tests.site", *sys.argv[1:]]
        os.execvpe(words[0], words, {**os.environ, INSIDE: "yes"})


class Site:
    """A switch with the origin's address on it; hosts are plugged in one by one."""

    def __init__(self) -> None:
        _ip("link", "set", "lo", "up")
        os.makedirs("/run/netns", exist_ok=True)
        _run("mount", "-t", "tmpfs", "none", "/run/netns")
        _ip("link", "add", "switch", "type", "bridge")
        _ip("addr", "add", f"{ORIGIN}/16", "dev", "switch")
        _ip("link", "set", "switch", "up")
        self._hosts = 1

    def plug(self, name: str) -> tuple[str, tuple[str, ...]]:
        """A new host: its address, and the command that runs others on it."""
        self._hosts += 1
        address = f"{NET}.{self._hosts // 200}.{self._hosts % 200 + 10}"
        _ip("netns", "add", name)
        _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", name, "master", "switch", "up")
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "addr", "add", f"{address}/16", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        return address, ("nsenter", f"--net=/run/netns/{name}", "--")

    def unplug(self, name: str) -> None:
        """The host is gone, once its processes are."""
        _ip("link", "del", name)
        _ip("netns", "del", name)


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*words: str) -> None:
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
