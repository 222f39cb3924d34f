"""The manual page vbofs(1), made from the commands' own help, so that it says nothing else."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from .._version import __version__

_TAIL = r"""
.SH FILES
.TP
.I ~/.config/vbofs/config.toml
settings of this user's mounts
.TP
.I ~/.cache/vbofs
blocks, sizes and manifests; may be removed at any time
.TP
.I /etc/vbofs/NAME.toml
settings of the mount that systemd's unit vbofs@NAME makes
.SH MOUNT(8) AND /etc/fstab
.nf
mount \-t vbofs visual\-behavior\-ophys /mnt/vbo \-o cache_dir=/data/vbofs
visual\-behavior\-ophys  /mnt/vbo  vbofs  _netdev,nofail,x\-systemd.automount  0 0
.fi
.PP
Any key of the settings file is an option there.
.SH EXIT STATUS
0, or a number that docs/exit\-status.md explains; the line on stderr says what is wrong and what to
do about it.
.SH SEE ALSO
.BR mount (8),
.BR fusermount3 (1),
.BR systemctl (1)
"""


def manual() -> str:
    """The page's source, in man(7)'s language."""
    return "\n".join([*_head(), *_commands(), _TAIL.strip(), ""])


def _head() -> Iterator[str]:
    from . import cli

    yield f'.TH VBOFS 1 "" "vbofs {__version__}" "User Commands"'
    yield ".SH NAME"
    yield r"vbofs \- mount every release of a versioned public S3 dataset"
    yield ".SH SYNOPSIS"
    yield r".B vbofs"
    yield r"\fICOMMAND\fR [\fIOPTION\fR]... [\fIARGUMENT\fR]..."
    yield ".SH DESCRIPTION"
    yield from _prose(cli.help or "")


def _commands() -> Iterator[str]:
    from . import cli

    context = click.Context(cli, info_name="vbofs")
    yield ".SH COMMANDS"
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        if command is not None and not command.hidden:
            yield from _described(command, click.Context(command, context, name))


def _described(command: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    yield f".SS {_escaped(context.command_path)}"
    yield ".PP"
    yield rf"\fB{_escaped(context.command_path)}\fR {_escaped(usage)}"
    yield ".PP"
    yield from _prose(command.help or "")
    for option in command.get_params(context):
        record = option.get_help_record(context)
        if record is not None and record[1]:
            yield ".TP"
            yield rf"\fB{_escaped(record[0])}\fR"
            yield _escaped(record[1])
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None and not inner.hidden:
                yield from _described(inner, click.Context(inner, context, name))


def _prose(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(inspect.cleandoc(text).split("\n\n")):
        if number:
            yield ".PP"
        if paragraph.startswith("\b"):  # Click's mark of lines that stay as they are.
            yield from (".nf", *map(_escaped, paragraph.split("\n")[1:]), ".fi")
        else:
            yield _escaped(" ".join(paragraph.split()))


def _escaped(text: str) -> str:
    """No line of ours is a request of roff's, and no hyphen becomes a dash."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return re.sub(r"^([.'])", r"\\&\1", text)
