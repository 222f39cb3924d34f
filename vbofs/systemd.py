"""What systemd wants to hear: READY=1, STATUS=…, STOPPING=1 (sd_notify(3)).  Silent elsewhere."""

from __future__ import annotations

import os
import socket


def notify(*lines: str) -> None:
    """Tell the service manager; nobody listening, or one that does not answer, is no error."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # An abstract socket.
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
            # A mountpoint's name may be bytes that are no text.
            manager.sendto(os.fsencode("\n".join(lines)), address)
    except OSError:
        return
