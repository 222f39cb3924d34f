"""What systemd hears: each word, on either kind of socket; and nothing where nobody listens."""

from __future__ import annotations

import socket

import pytest

from vbofs.systemd import notify


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path, monkeypatch):
    """A service manager's socket."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@vbofs-{tmp_path.name}"
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0", 1))
        listening.setblocking(False)
        yield listening


def test_lines_arrive_in_one_message(manager):
    notify("READY=1", "STATUS=mounted on /m")
    assert manager.recv(1000) == b"READY=1\nSTATUS=mounted on /m"


def test_a_path_that_is_not_utf8_is_no_bug(manager):
    notify("STATUS=mounted on /m\udcff")
    assert manager.recv(1000) == b"STATUS=mounted on /m\xff"


@pytest.mark.parametrize("address", ["", "/nobody/listens", "/" + "x" * 200, "relative"])
def test_nobody_listening_is_no_error(monkeypatch, address):
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")


def test_a_manager_that_does_not_read_does_not_stop_the_mount(manager):
    for _ in range(100):
        try:
            manager.recv(1)
        except BlockingIOError:
            break
    notify("READY=1")
