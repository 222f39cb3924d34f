"""Saying which files are meant by what people know of them, for every verb that takes a query.

``query_options`` gives a verb the options; it is called with ``query=Query(…)`` and ``release="…"``
in their place.  ``selected`` is what they come to.  With ``daemon.library``, the lower half of a
mount, that reads the tables through the block store:

    @click.command()
    @query_options
    @dataset_options
    def command(query: Query, release: str, **options: Any) -> None:
        trio.run(_work, settings_of(options), query, release)

    async def _work(settings: Settings, query: Query, release: str) -> None:
        async with library(settings) as floors:
            paths = await selected(floors.metadata, query, release)
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..catalog.query import Query
from ..catalog.views import VIEWS
from ..config import release_name
from ..errors import QueryInvalid, SettingsInvalid
from .completion import names_in

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from ..metadata import Metadata

F = TypeVar("F", bound=Callable[..., Any])

#: Options that may be given several times, with the field of ``Query`` of the same name.
_FACETS = {
    "mouse": ("ID", "Of this mouse: 457841."),
    "cre-line": ("NAME", "Of mice of this line: Sst-IRES-Cre."),
    "session-type": ("NAME", "Of this session type: OPHYS_1_images_A, or 'OPHYS_1*'."),
    "session-id": ("ID", "Of this behavior, ophys or ecephys session."),
    "experiment-id": ("ID", "Of this ophys experiment."),
    "structure": ("NAME", "Recorded in this structure: VISp."),
    "container": ("ID", "Of this ophys container."),
    "experience-level": ("NAME", "At this experience level: Familiar."),
}


_OTHERS = [
    click.option(
        "--depth", metavar="µM", help="Imaged at this depth, or from 100 to 200: 100:200."
    ),
    click.option(
        "--where",
        metavar="QUERY",
        help="Compare columns, as pandas does: \"age_in_days > 100 and sex == 'F'\".",
    ),
    click.option("--release", metavar="V", help="The release that is asked.  [latest]"),
]


def query_options(function: F) -> F:
    """The options that say which files; *function* gets them as ``query``, and the release, bare
    or ``latest``, as ``release``."""

    @functools.wraps(function)
    def asked(**options: Any) -> Any:
        words = {name.replace("-", "_"): options.pop(name.replace("-", "_")) for name in _FACETS}
        _refuse_blank(options)
        depth, where = options.pop("depth"), options.pop("where")
        query = Query(**words, depth=parse_depth(depth) if depth else None, where=where or "")
        return function(query=query, release=_release(options.pop("release")), **options)

    for option in reversed([*_of_facets(), *_OTHERS]):
        asked = option(asked)
    return asked  # type: ignore[return-value]  # functools.wraps keeps what click needs of it.


def _refuse_blank(options: dict[str, Any]) -> None:
    """QueryInvalid for a word that is empty: a script's unset variable would mean every file."""
    for name in ("depth", "where", "release"):
        word = options[name]
        if word is not None and not word.strip():
            raise QueryInvalid(f"--{name}: it is empty; leave it out to ask for every file")


def _of_facets() -> list[Callable[[Any], Any]]:
    return [
        click.option(
            f"--{name}", metavar=metavar, multiple=True, help=text, shell_complete=_completer(name)
        )
        for name, (metavar, text) in _FACETS.items()
    ]


def _completer(name: str) -> Callable[..., list[CompletionItem]] | None:
    """Values for the shell, from the view that asks the same question; a view is cheap to read."""
    question = name.replace("-", "_")
    view = next((view for view, asked in VIEWS.items() if asked == question), None)
    return (lambda context, parameter, word: names_in(view, word)) if view else None


def _release(word: str | None) -> str:
    try:
        return release_name(word) if word else "latest"
    except ValueError as error:
        raise SettingsInvalid(f"--release: {error}") from error


def parse_depth(text: str) -> tuple[float, float]:
    """``100:200``, ``100:``, ``:200`` or ``150``.  QueryInvalid for anything else."""
    low, colon, high = text.partition(":")
    try:
        first = float(low) if low.strip() or not colon else -math.inf
        last = float(high) if high.strip() else (math.inf if colon else first)
        if math.isnan(first) or math.isnan(last):
            raise ValueError
    except ValueError as error:
        raise QueryInvalid(f"--depth: {text!r} is not a depth; write 150 or 100:200") from error
    return first, last


async def selected(metadata: Metadata, query: Query, release: str = "latest") -> list[str]:
    """The paths, relative to *release* (bare, with a v, or ``latest``), of the files that match.

    In the order of the tables, each once; all files but the tables for an empty *query*.
    UnknownRelease, UnknownColumn, QueryInvalid, TableInvalid, or what reading tables raises.
    """
    if not query:
        contents = await metadata.contents(release)
        tables = set(contents.tables.values())
        return [path for path, _ in contents.files if path not in tables]
    paths: list[str] = (await metadata.files(release, query.table)).select(query).files
    return paths
