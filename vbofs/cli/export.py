"""``vbofs export``"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from .. import mounts
from ..catalog import layouts
from ..config import Settings
from ..errors import ExportIncomplete
from .chosen import Chosen
from .local import local_floors
from .meter import meter
from .selection import Asked, selection_options
from .words import counted, size

if TYPE_CHECKING:
    from ..blocks.exporting import Outcome
    from ..daemon import Floors

#: Files that could not be exported and are named.
SHOWN = 5


@click.command()
@selection_options()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--layout",
    type=click.Choice(["plain", "allensdk"]),
    default="plain",
    help="As on a mount (v1.0.1/…), or a cache directory of AllenSDK.  [plain]",
)
def command(asked: Asked, settings: Settings, directory: Path, layout: str) -> None:
    """Make ordinary files in DIRECTORY of files that are cached whole: all of them, or PATHs, what
    a query finds, or a --release.

    Each is compared with its release's hash on its way out.  Nothing is fetched: see vbofs
    prefetch.  Where the disk can share bytes between files (Btrfs, XFS) this takes no room;
    elsewhere they are copied, never hard-linked, for the cache changes its own files.
    """
    import trio

    target = Path(os.path.realpath(directory.expanduser()))
    if target.is_relative_to(settings.cache_dir):
        raise ExportIncomplete(f"{target} is in the cache itself; name another directory")
    for mount in mounts.mounts():
        if mount.is_ours and target.is_relative_to(mount.path):
            raise ExportIncomplete(f"{target} is on a mount of vbofs, which cannot be written")
    trio.run(_work, settings, asked, target, layout)


async def _work(settings: Settings, asked: Asked, target: Path, layout: str) -> None:
    whole_cache = not asked
    wanted = asked or Asked((), asked.query, "", everything=True)
    async with local_floors(settings, wanted) as (floors, files):
        if layout == "allensdk":
            files = await _with_tables(floors, files)
        from ..blocks.coverage import look

        whole = [
            f for f in files if f.blob.digest and look(floors.store.folder, f.blob).is_complete
        ]
        partly = [] if whole_cache else [f for f in files if f not in set(whole)]
        place = layouts.LAYOUTS[layout](settings.project)
        try:
            outcomes = _export(floors, whole, {f: target / place.path(*f[:2]) for f in whole})
            if layout == "allensdk":
                made = [f for f, outcome in outcomes.items() if outcome.is_there]
                await _complete_sdk(floors, made, target, place)
        except BlockingIOError as error:
            raise ExportIncomplete(
                f"another export is writing {error.filename or target}"
            ) from error
        except OSError as error:
            raise ExportIncomplete(f"{target} cannot be written: {error.strerror}") from error
    _tell(outcomes, partly, target)


async def _with_tables(floors: Floors, files: list[Chosen]) -> list[Chosen]:
    """*files*, and the metadata tables of their releases: AllenSDK opens no cache without them."""
    releases = dict.fromkeys(file.release for file in files)
    found = dict.fromkeys(files)
    for release in releases:
        contents = await floors.dataset.contents(release)
        tables = set(contents.tables.values())
        found |= {Chosen(release, p, b): None for p, b in contents.files if p in tables}
    return list(found)


def _export(
    floors: Floors, files: list[Chosen], targets: dict[Chosen, Path]
) -> dict[Chosen, Outcome]:
    from ..blocks.exporting import export

    done = 0
    outcomes = {}

    def step(more: int) -> None:
        nonlocal done
        done += more
        shown.show(done, file.name)

    with meter("export", sum(file.blob.size for file in files)) as shown:
        for file in files:
            outcomes[file] = export(floors.store.folder, file.blob, targets[file], step)
    return outcomes


async def _complete_sdk(
    floors: Floors, made: list[Chosen], target: Path, place: layouts.Layout
) -> None:
    """What AllenSDK keeps beside the files: the manifests, and which file has which hash."""
    for release in dict.fromkeys(file.release for file in made):
        body = await floors.dataset.manifest_bytes(release)
        _replace(target / place.manifest(release), body)
    known = _downloaded(target / layouts.DOWNLOADED)
    known |= {str(target / place.path(*file[:2])): file.blob.digest for file in made}
    _replace(target / layouts.DOWNLOADED, msgspec.json.format(msgspec.json.encode(known)))


def _downloaded(path: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except FileNotFoundError:
        return {}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ExportIncomplete(f"{path} is not what AllenSDK writes there: {error}") from error


def _replace(path: Path, body: bytes) -> None:
    draft = path.with_name(f".{path.name}.vbofs-part")
    draft.unlink(missing_ok=True)
    with draft.open("xb") as file:
        file.write(body)
        os.fsync(file.fileno())
    os.replace(draft, path)


def _tell(outcomes: dict[Chosen, Outcome], partly: list[Chosen], target: Path) -> None:
    kinds = Counter(outcome.value for outcome in outcomes.values())
    made = [file for file, outcome in outcomes.items() if outcome.is_there]
    total = sum(file.blob.size for file in made)
    how = ", ".join(f"{number:,} {kind}" for kind, number in sorted(kinds.items()))
    click.echo(
        f"{counted(len(made), 'file')}, {size(total)}, verified in {target}"
        + (f" ({how})" if how else "")
    )
    left = [f"{f.name}: {o.value}" for f, o in outcomes.items() if not o.is_there]
    left += [f"{file.name}: not all of it is cached" for file in partly]
    for line in left[:SHOWN]:
        click.echo(f"  {line}", err=True)
    if left or not outcomes:
        raise ExportIncomplete(
            f"{counted(len(left), 'file')} not exported; fetch what is missing with: vbofs prefetch"
            if left
            else "nothing to export: no file is cached whole"
        )
