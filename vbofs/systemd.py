"""What systemd wants to hear: READY=1, STATUS=…, WATCHDOG=1 (sd_notify(3)).  Silent elsewhere."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence


def notify(*lines: str, descriptors: Sequence[int] = ()) -> None:
    """Tell the service manager; nobody listening, or one that does not answer, is no error.

    *descriptors* are handed to it with the message (``FDSTORE=1``).
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # An abstract socket.
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
            # A mountpoint's name may be bytes that are no text.
            manager.connect(address)
            socket.send_fds(manager, [os.fsencode("\n".join(lines))], list(descriptors))
    except OSError:
        return


def watchdog_period() -> float | None:
    """Seconds within which the manager wants ``WATCHDOG=1`` again and again; None: it does not."""
    try:
        period = int(os.environ.get("WATCHDOG_USEC", "")) / 1e6
        addressee = int(os.environ.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return None
    return period if period > 0 and addressee == os.getpid() else None
