"""Machines that lack something: scripts in a mount namespace of their own, as root or as nobody.

What a script mounts or covers is seen by nobody else, and is gone with its last process.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import vbofs
from tests.mount.machine import VBOFS, Machine, Outcome

NOBODY = 65534

# What a script finds: vbofs as a command, and $ROOT, the machine's own directory.
_COMMANDS = f"""
vbofs() {{ {shlex.join(VBOFS)} "$@"; }}
"""

#: Puts a /dev without fuse over the real one.
NO_DEVICE = """
mkdir "$ROOT/dev"
mount -t tmpfs none "$ROOT/dev"
for name in null urandom; do
    touch "$ROOT/dev/$name"
    mount --bind "/dev/$name" "$ROOT/dev/$name"
done
mount --move "$ROOT/dev" /dev 2>/dev/null || mount --rbind "$ROOT/dev" /dev
"""


def _open_to_all() -> str:
    """Makes Python and this checkout ones that nobody may read, where they lie in root's home."""
    wanted: dict[Path, set[Path]] = {}
    for place in (Path(sys.base_prefix), Path(sys.prefix), Path(vbofs.__file__).parents[1]):
        closed = next((p for p in reversed(place.parents) if not p.stat().st_mode & 0o005), None)
        if closed is not None:
            wanted.setdefault(closed, set()).add(place)
    return "".join(_opened(closed, sorted(places)) for closed, places in wanted.items())


def _opened(closed: Path, places: list[Path]) -> str:
    """Put an open directory over *closed*, with *places* in it and nothing else."""
    numbered = list(enumerate(places))
    aside = [
        f'mkdir "$ROOT/open{n}"; mount --bind {place} "$ROOT/open{n}"' for n, place in numbered
    ]
    back = [f'mkdir -p {place}; mount --bind "$ROOT/open{n}" {place}' for n, place in numbered]
    return "\n".join(["", *aside, f"mount -t tmpfs -o mode=755 none {closed}", *back, ""])


#: A /dev/fuse that everybody may open, as udev makes it.
_DEVICE_FOR_ALL = """
mknod -m 666 "$ROOT/fuse" c 10 229
mount --bind "$ROOT/fuse" /dev/fuse
"""


def run_apart(machine: Machine, script: str, *, network: bool = True, **env: str) -> Outcome:
    """Run *script*, of sh, as root among mounts, or without a network, of its own."""
    command = ["unshare", "--mount", *([] if network else ["--net"]), "sh", "-euc"]
    return machine.execute(*command, _COMMANDS + script, ROOT=str(machine.root), **env)


def run_as_nobody(
    machine: Machine, script: str, *, first: str = "", device: bool = True, **env: str
) -> Outcome:
    """Run *script* as an ordinary user whose home is the machine's; *first* is run as root."""
    for folder, _, names in os.walk(machine.root):
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            os.lchown(path, NOBODY, NOBODY)
    become = f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --"
    prepare = _open_to_all() + (_DEVICE_FOR_ALL if device else "") + first
    quoted = shlex.quote(_COMMANDS + "set -eu\n" + script)
    return run_apart(machine, f"{prepare}\nexec {become} sh -c {quoted}", **env)
