"""``vbofs completion``"""

from __future__ import annotations

import contextlib
import os

import click
from click.shell_completion import CompletionItem, get_completion_class

#: click's own: the variable by which a shell asks ``vbofs`` itself what may come next.
VARIABLE = "_VBOFS_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print what makes SHELL complete vbofs' commands, options and values.

    \b
    For this shell:         eval "$(vbofs completion bash)"
    For every new bash:     vbofs completion bash > ~/.local/share/bash-completion/completions/vbofs
    For every new zsh:      vbofs completion zsh > a directory of $fpath/_vbofs
    """
    kind = get_completion_class(shell)
    assert kind is not None, "click knows every shell of the choice"
    click.echo(kind(context.find_root().command, {}, "vbofs", VARIABLE).source())


def names_in(view: str, incomplete: str) -> list[CompletionItem]:
    """The directories of a view in the mount that there is: the values that its question has.

    Nothing, where nothing is mounted: a completion asks no network.
    """
    from ..api import place
    from ..config import load
    from ..errors import VbofsError

    with contextlib.suppress(OSError, VbofsError):
        settings = place.usual(load({}))
        if settings is not None:
            names = os.listdir(settings.mountpoint / "latest" / view)
            return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]
    return []
