"""What ``vbofs install`` puts where, that it is right, and that ``uninstall`` takes it away."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from vbofs.cli import cli
from vbofs.cli.manpage import _prose, manual
from vbofs.errors import NeedsRoot

ENVIRONMENT = Path(sys.prefix)


def run(*words: str):
    """``vbofs`` with these words."""
    done = CliRunner().invoke(cli, words)
    return done


def files(folder: Path) -> set[str]:
    """All that is in *folder* but directories."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture
def stage(tmp_path):
    """A package's tree, installed into."""
    place = ["--system", "--root", str(tmp_path / "root"), "--prefix", "/usr"]
    done = run("install", *place, "--environment", str(ENVIRONMENT))
    assert (done.exit_code, done.output) == (0, "")
    yield tmp_path / "root"
    done = run("uninstall", *place, "--environment", str(ENVIRONMENT))
    assert (done.exit_code, done.output) == (0, "")
    assert files(tmp_path / "root") == set()


def test_a_system_gets_command_units_helper_manual_and_completions(stage):
    assert files(stage) == {
        "usr/bin/vbofs",
        "usr/sbin/mount.vbofs",
        "usr/lib/systemd/system/vbofs@.service",
        "usr/lib/systemd/user/vbofs.service",
        "usr/lib/sysusers.d/vbofs.conf",
        "usr/lib/tmpfiles.d/vbofs.conf",
        "usr/lib/udev/rules.d/60-vbofs-read-ahead.rules",
        "usr/lib/vbofs/read-ahead",
        "usr/share/bash-completion/completions/vbofs",
        "usr/share/doc/vbofs/example.toml",
        "usr/share/fish/vendor_completions.d/vbofs.fish",
        "usr/share/man/man1/vbofs.1",
        "usr/share/zsh/vendor-completions/_vbofs",
    }


def test_nothing_that_is_installed_still_has_a_placeholder(stage):
    for name in files(stage):
        if not (stage / name).is_symlink():
            assert not re.search(r"@[A-Z]+@", (stage / name).read_text()), name
    assert os.readlink(stage / "usr/bin/vbofs") == f"{ENVIRONMENT}/bin/vbofs"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", ["system/vbofs@.service", "user/vbofs.service"])
def test_systemd_finds_no_fault_in_the_units(stage, unit):
    mode = "--system" if unit.startswith("system") else "--user"
    done = subprocess.run(
        ["systemd-analyze", "verify", mode, "--man=no", stage / "usr/lib/systemd" / unit],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )
    assert "vbofs" not in done.stderr, done.stderr


def test_one_person_gets_it_under_home_and_loses_it_again(home, monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR")  # So that no systemd of this machine is told.
    done = run("install", "--user")
    assert done.exit_code == 0
    assert done.output.startswith(f"Installed {home}/.local/bin/vbofs.\n")
    assert files(home / ".local") == {
        "bin/vbofs",
        "share/bash-completion/completions/vbofs",
        "share/fish/vendor_completions.d/vbofs.fish",
        "share/man/man1/vbofs.1",
        "share/systemd/user/vbofs.service",
        "share/zsh/site-functions/_vbofs",
    }
    (home / "cache/vbofs").mkdir(parents=True)
    done = run("uninstall", "--user")
    assert done.output.endswith(f"vbofs is removed. Kept: {home}/cache/vbofs.\n")
    left = {str(path.relative_to(home / ".local")) for path in (home / ".local").rglob("*")}
    assert left <= {"bin", "lib", "share", "share/man"}


def test_installing_again_replaces_what_is_there(home, monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    run("install", "--user")
    page = home / ".local/share/man/man1/vbofs.1"
    page.write_text("old")
    assert run("install", "--user").exit_code == 0
    assert page.read_text() == manual()


def test_a_link_into_another_environment_is_left_alone(home, monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    run("install", "--user")
    link = home / ".local/bin/vbofs"
    link.unlink()
    link.symlink_to("/opt/another/bin/vbofs")
    assert run("uninstall", "--user").exit_code == 0
    assert files(home / ".local") == {"bin/vbofs"}


def test_for_the_system_it_takes_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NeedsRoot, match="use sudo, or --user"):
        cli.main(["install", "--system"], standalone_mode=False)


# --- the manual page


def commands(group: click.Group, context: click.Context):
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if not command.hidden:
            inner = click.Context(command, context, name)
            yield command, inner
            if isinstance(command, click.Group):
                yield from commands(command, inner)


def test_the_manual_has_every_command_and_every_option():
    page = manual().replace(r"\-", "-")
    for command, context in commands(cli, click.Context(cli, info_name="vbofs")):
        assert f".SS {context.command_path}\n" in page
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert option.opts[0] in page, (context.command_path, option.opts)
    assert "fuse-fd" not in page
    assert "service attach" not in page


def test_prose_is_filled_examples_stay_and_nothing_is_a_request_of_roffs():
    text = "One\n  paragraph.\n\n\b\n.vbofs mount\n  -v\n\n'quoted' \\ done"
    assert list(_prose(text)) == [
        "One paragraph.",
        *(".PP", ".nf", r"\&.vbofs mount", r"  \-v", ".fi"),
        *(".PP", r"\&'quoted' \e done"),
    ]


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
def test_man_shows_the_page_without_a_warning(tmp_path):
    (tmp_path / "vbofs.1").write_text(manual())
    done = subprocess.run(
        ["man", "--warnings", "-l", tmp_path / "vbofs.1"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LANG": "C.UTF-8", "MANWIDTH": "100", "PAGER": "cat"},
    )
    assert done.stderr == ""
    assert "--cache-dir DIR" in done.stdout


# --- completions


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_offers_commands_and_options(shell):
    env = {**os.environ, "_VBOFS_COMPLETE": f"{shell}_complete"}
    for typed, wanted in {"vbofs mou": "mount", "vbofs mount --cache-d": "--cache-dir"}.items():
        words = typed.split()
        asked = {"COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
        if shell == "fish":
            asked = {"COMP_WORDS": " ".join(words[:-1]), "COMP_CWORD": words[-1]}
        done = subprocess.run(
            [ENVIRONMENT / "bin/vbofs"],
            env={**env, **asked},
            capture_output=True,
            text=True,
            check=True,
        )
        assert wanted in done.stdout


# --- the read-ahead of ordinary users' mounts


def test_the_udev_rule_runs_what_is_installed(stage):
    rule = (stage / "usr/lib/udev/rules.d/60-vbofs-read-ahead.rules").read_text()
    assert re.search(r'RUN\+="(\S+) %k"', rule)[1] == "/usr/lib/vbofs/read-ahead"
    assert os.access(stage / "usr/lib/vbofs/read-ahead", os.X_OK)
