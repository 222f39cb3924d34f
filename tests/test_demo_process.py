"""The server as a process: started and stopped once, found again, never mistaken for another."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from vbofs.demo import DemoFailed, DemoServer


@pytest.fixture
def server(tmp_path):
    made = DemoServer(tmp_path / "state")
    yield made
    made.stop()


def pid_of(server):
    return json.loads(server._state_file.read_text())["pid"]


def test_starting_twice_is_starting_once(server):
    url = server.start()
    pid = pid_of(server)
    assert server.start() == url
    assert DemoServer(server._folder).url() == url
    assert pid_of(server) == pid
    assert os.getsid(pid) == pid


def test_stopping_twice_is_stopping_once(server):
    server.start()
    pid = pid_of(server)
    assert server.stop() is True
    assert server.stop() is False
    assert server.url() is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_server_that_never_was_can_be_stopped_and_asked(server):
    assert server.url() is None
    assert server.stop() is False


def test_a_server_outlives_its_starter_and_is_found_by_another_process(server):
    code = (
        "import sys; from pathlib import Path; from vbofs.demo import DemoServer\n"
        "print(DemoServer(Path(sys.argv[1])).start())"
    )
    command = [sys.executable, "-c", code, str(server._folder)]
    started = subprocess.run(command, capture_output=True, text=True, check=True)
    assert server.url() == started.stdout.strip()
    assert server.stop() is True


def test_a_killed_server_is_noticed_and_started_again(server):
    server.start()
    pid = pid_of(server)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert server.url() is None
    assert server.start()
    assert pid_of(server) != pid


def test_a_server_that_hangs_is_killed(server):
    server.start()
    pid = pid_of(server)
    os.kill(pid, signal.SIGSTOP)  # SIGTERM waits until it goes on; SIGKILL does not
    assert server.stop() is True
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_stale_state_file_harms_nobody_who_has_its_pid_now(server):
    server._folder.mkdir()
    claim = {"pid": os.getpid(), "url": "http://127.0.0.1:1"}
    server._state_file.write_text(json.dumps(claim))
    assert server.url() is None
    assert server.stop() is False  # and this process is still here to say so


def test_a_taken_port_is_a_clear_failure(server):
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(DemoFailed, match=r"server\.log"),
    ):
        server.start(taken.getsockname()[1])
    assert server.url() is None
