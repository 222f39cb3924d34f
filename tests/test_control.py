"""The control socket: one question, one answer; whoever asks nonsense, the mount goes on."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
import trio

from vbofs import control
from vbofs.control import server
from vbofs.errors import DaemonSilent, NoReleases, NotMounted, Refused

MOUNTPOINT = Path("/a/mountpoint")
UNKNOWN = {"error": "the daemon does not know that request"}


async def status():
    return {"releases": ["1.0.0"], "odd": "a\udcffb"}


async def refuse():
    raise NoReleases("there are none")


async def fail():
    raise RuntimeError("nonsense")


async def miss():
    return {}["missing"]


async def unspeakable():
    return object()


async def sleep():
    await trio.sleep_forever()


async def echo(word, *, loud=False):
    return word.upper() if loud else word


VERBS = {
    "echo": echo,
    "status": status,
    "refuse": refuse,
    "fail": fail,
    "miss": miss,
    "unspeakable": unspeakable,
    "sleep": sleep,
}


@pytest.fixture
async def daemon(nursery):
    """A daemon that answers VERBS."""
    await nursery.start(server.serve, MOUNTPOINT, VERBS)


async def ask(verb, mountpoint=MOUNTPOINT, **args):
    return await trio.to_thread.run_sync(lambda: control.ask(mountpoint, verb, **args))


async def say(line):
    """What the daemon answers to any bytes at all."""
    with control.address(MOUNTPOINT) as where:
        stream = await trio.open_unix_socket(where)
    async with stream:
        await stream.send_all(line)
        await stream.send_eof()
        answer = b""
        async for piece in stream:
            answer += piece
    return json.loads(answer)


async def test_a_question_is_answered(daemon):
    assert await ask("status") == await status()


async def test_a_question_may_have_arguments(daemon):
    assert await ask("echo", word="there", loud=True) == "THERE"


@pytest.mark.parametrize("args", [{}, {"word": "a", "more": 1}, [], "a", None, 1])
async def test_arguments_that_a_verb_does_not_take_are_refused(daemon, args):
    line = json.dumps({"vbofs": control.PROTOCOL, "verb": "echo", "args": args}).encode()
    assert await say(line + b"\n") == UNKNOWN


async def test_many_may_ask_at_once(daemon):
    answers = []

    async def one():
        answers.append(await ask("status"))

    async with trio.open_nursery() as askers:
        for _ in range(20):
            askers.start_soon(one)
    assert len(answers) == 20


async def test_an_error_of_ours_keeps_its_words_and_its_exit_status(daemon):
    with pytest.raises(Refused, match="there are none") as caught:
        await ask("refuse")
    assert caught.value.status == NoReleases.exit_status


@pytest.mark.parametrize("verb", ["fail", "miss", "unspeakable"])
async def test_a_bug_is_loud_once_and_the_next_question_is_answered(daemon, expects_log, verb):
    expects_log("control: a bug", times=1)
    with pytest.raises(Refused, match="a bug in the daemon"):
        await ask(verb)
    assert await ask("status")


async def test_a_verb_that_nobody_knows_is_said(daemon):
    with pytest.raises(Refused, match="does not know that request"):
        await ask("nonsense")


NONSENSE = [
    b"",
    b"\n",
    b"nonsense\n",
    b"\xff\xfe\n",
    b"5\n",
    b"[]\n",
    b"{}\n",
    b'{"vbofs": 1}\n',
    b'{"vbofs": 1, "verb": ["status"]}\n',
    b'{"vbofs": 1, "verb": null}\n',
    b"[" * 100_000 + b"\n",
]


@pytest.mark.parametrize("line", NONSENSE, ids=range(len(NONSENSE)))
async def test_nonsense_is_answered_and_harms_nobody(daemon, line):
    assert await say(line) == UNKNOWN
    assert await ask("status")


async def test_another_protocol_is_told_so(daemon):
    assert "speaks protocol 1" in (await say(b'{"vbofs": 2, "verb": "status"}\n'))["error"]


async def test_an_endless_question_is_cut_off(daemon):
    with control.address(MOUNTPOINT) as where:
        stream = await trio.open_unix_socket(where)
    async with stream:
        with pytest.raises(trio.BrokenResourceError):
            for _ in range(100):
                await stream.send_all(b"x" * (1 << 20))
    assert await ask("status")


async def test_a_client_that_goes_away_harms_nobody(daemon):
    for line in (b'{"vbofs": 1', b'{"vbofs": 1, "verb": "status"}\n', b""):
        with control.address(MOUNTPOINT) as where:
            stream = await trio.open_unix_socket(where)
        if line:
            await stream.send_all(line)
        await stream.aclose()
    assert await ask("status")


async def test_a_client_that_says_nothing_is_let_go(daemon, autojump_clock):
    with control.address(MOUNTPOINT) as where:
        stream = await trio.open_unix_socket(where)
    async with stream:
        assert await stream.receive_some() == b""
    assert trio.current_time() <= control.PATIENCE + 1


# --- nobody there


async def test_nobody_mounted_is_said(daemon):
    with pytest.raises(NotMounted, match="/elsewhere"):
        await ask("status", Path("/elsewhere"))


async def test_a_daemon_that_has_died_is_no_mount():
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, MOUNTPOINT, VERBS)
        path = control.runtime_dir() / control.socket_name(MOUNTPOINT)
        assert path.stat().st_mode & 0o170000 == 0o140000
        nursery.cancel_scope.cancel()
    assert not path.exists()
    with socket.socket(socket.AF_UNIX) as corpse:
        corpse.bind(str(path))
    with pytest.raises(NotMounted):
        control.ask(MOUNTPOINT, "status")


async def test_a_socket_that_a_dead_daemon_left_is_replaced(nursery):
    path = control.runtime_dir() / control.socket_name(MOUNTPOINT)
    with socket.socket(socket.AF_UNIX) as corpse:
        corpse.bind(str(path))
    await nursery.start(server.serve, MOUNTPOINT, VERBS)
    assert await ask("status")


async def test_the_socket_of_the_next_daemon_is_left_alone(nursery):
    async with trio.open_nursery() as first:
        await first.start(server.serve, MOUNTPOINT, VERBS)
        await nursery.start(server.serve, MOUNTPOINT, VERBS)
        first.cancel_scope.cancel()
    assert await ask("status")


@pytest.mark.parametrize("answer", [b"", b"nonsense\n", b"5\n", b"[]\n", b"{}\n"])
async def test_a_daemon_that_talks_nonsense_is_silent(nursery, answer):
    async def talk(stream):
        async with stream:
            await stream.receive_some()
            await stream.send_all(answer)

    with control.address(MOUNTPOINT) as where, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(where)
        listening.listen()
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening.dup()))
        nursery.start_soon(trio.serve_listeners, talk, [listener])
        with pytest.raises(DaemonSilent, match="does not answer"):
            await ask("status")
        nursery.cancel_scope.cancel()


# --- where the socket lies


def test_the_directory_is_for_its_owner_only():
    assert control.runtime_dir().stat().st_mode & 0o777 == 0o700


def test_a_directory_that_others_may_enter_is_not_trusted():
    control.runtime_dir().chmod(0o755)
    with pytest.raises(DaemonSilent, match="remove it"):
        control.runtime_dir()


def test_a_link_that_somebody_left_is_not_followed(home, tmp_path):
    (home / "run" / "vbofs").symlink_to(tmp_path)
    with pytest.raises(DaemonSilent, match="not a directory that only you"):
        control.runtime_dir()


async def test_a_mount_that_cannot_have_a_socket_does_without(nursery, home, expects_log):
    expects_log("no control socket, so vbofs status will not see this mount")
    (home / "run" / "vbofs").write_text("in the way")
    await nursery.start(server.serve, MOUNTPOINT, VERBS)
    with pytest.raises(DaemonSilent):
        control.ask(MOUNTPOINT, "status")


async def test_a_path_of_any_length_has_a_socket(nursery, home, monkeypatch):
    deep = home / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    mountpoint = Path("/" + "m" * 200)
    await nursery.start(server.serve, mountpoint, VERBS)
    assert await ask("status", mountpoint)
    assert len(os.listdir(deep / "vbofs")) == 1


# --- the system's own mounts


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may ask others' daemons")
async def test_root_asks_the_daemon_of_a_mount_of_the_systems(nursery, tmp_path, monkeypatch):
    system = tmp_path / "system"
    system.mkdir(mode=0o700)
    monkeypatch.setattr(control, "SYSTEM_RUNTIME_DIR", system)
    with monkeypatch.context() as daemons:
        daemons.setenv("XDG_RUNTIME_DIR", str(system))
        await nursery.start(server.serve, MOUNTPOINT, VERBS)
    assert await ask("echo", word="hello") == "hello"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may ask others' daemons")
async def test_roots_own_daemon_is_asked_first_and_has_a_socket_of_its_own(
    nursery, daemon, tmp_path, monkeypatch
):
    system = tmp_path / "vbofs"
    system.mkdir(mode=0o700)
    (system / control.socket_name(MOUNTPOINT)).touch()  # Left by a daemon that was killed.
    monkeypatch.setattr(control, "SYSTEM_RUNTIME_DIR", tmp_path)
    assert control.folder_of(MOUNTPOINT) == control.runtime_dir()
    assert await ask("echo", word="hello") == "hello"
