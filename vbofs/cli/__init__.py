"""The command line: words in, words out, exit status.  One file per verb.

The only place that prints.  Every error of ours becomes one line on stderr and its exit status
(docs/exit-status.md); a bug becomes a traceback on request, and a line that says how to get it.
Verbs import what they need when they run: ``vbofs --help`` answers in a tenth of a second.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import click

from .._version import __version__
from ..errors import Refused, VbofsError

VERBS = (
    *("mount", "umount", "releases", "find", "status", "doctor", "completion", "demo"),
    *("diff", "urls", "record", "cite"),
    *("prefetch", "unpin", "evict", "cache", "verify", "export", "import"),
    *("install", "uninstall", "service"),
)
#: Modules that cannot have their verb's name.
MODULES = {"import": "import_"}


class Verbs(click.Group):
    """Finds a verb in the module of its name, when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        name = MODULES.get(cmd_name, cmd_name)
        module = __import__(f"vbofs.cli.{name}", fromlist=["command"])
        command: click.Command = module.command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] == "unmount":
            args = ["umount", *args[1:]]
        return super().resolve_command(ctx, args)


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vbofs")
def cli() -> None:
    """Mount every release of a versioned public S3 dataset as a read-only directory tree.

    vbofs mount ~/vbo makes all files of the Allen Institute's Visual Behavior Ophys release
    readable by any program; only what is read is fetched, and it is kept.
    """


def _usage(error: click.ClickException) -> str:
    said = error.format_message()
    if "\n" in said:
        return said  # Who gave no argument at all gets the help.
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"vbofs: {said}" + (f" See: {context.command_path} --help" if context else "")


def main() -> None:
    """The entry point of the ``vbofs`` command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")  # A path may be no text.
    try:
        cli.main(prog_name="vbofs", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except KeyboardInterrupt:
        sys.exit(130)
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is None:
            raise
        sys.exit(130)  # It came while several requests were under way.
    except click.ClickException as error:
        click.echo(_usage(error), err=True)
        sys.exit(error.exit_code)
    except VbofsError as error:
        click.echo(f"vbofs: {' '.join(str(error).split())}", err=True)
        sys.exit(error.status if isinstance(error, Refused) else error.exit_status)
    except BrokenPipeError:
        # The reader of a pipe has had enough: vbofs releases | head.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(141)
    except Exception as bug:
        if os.environ.get("PYTHONDEVMODE"):
            raise
        click.echo(
            f"vbofs: a bug: {bug!r}; PYTHONDEVMODE=1 shows where, please report it", err=True
        )
        sys.exit(1)
