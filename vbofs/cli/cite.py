"""``vbofs cite``"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..config import Settings, release_name
from ..errors import RecordInvalid, SettingsInvalid
from ..presets import PRESETS
from .options import dataset_options, settings_at
from .words import counted, shown, size

if TYPE_CHECKING:
    from ..catalog.record import Record

#: Who publishes the datasets that we know by name.
PUBLISHER = "the Allen Institute for Brain Science"


@click.command()
@click.argument("release", default="latest")
@click.option(
    "--record",
    "record",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Cite what a record says was read, not a whole release.",
)
@dataset_options
def command(release: str, record: Path | None, **options: Any) -> None:
    """Print a sentence for the methods section: which data, exactly.

    Of RELEASE (default: the latest), or of what a record says was read.  The hash in it is that of
    the release's manifest, which pins each file by version and hash; or of the record, which does
    that too: b2sum -l 256 FILE computes it again.
    """
    if record is not None:
        click.echo(shown(_of_record(record)))
        return
    import trio

    try:
        name = release_name(release)
    except ValueError as error:
        raise SettingsInvalid(str(error)) from error
    click.echo(shown(trio.run(_of_release, settings_at(None, options), name)))


async def _of_release(settings: Settings, name: str) -> str:
    from ..daemon import catalogue

    async with catalogue(settings) as dataset:
        release = dataset.latest if name == "latest" else name
        contents = await dataset.contents(release)
        document = await dataset.manifest_bytes(release)
    manifest = f"{settings.project.rpartition('/')[2]}_project_manifest_v{release}.json"
    return (
        f"Data are release {release} of {_named(settings.dataset)},"
        f" published in s3://{settings.bucket}/{settings.project}/"
        f" ({counted(len(contents.files), 'file')}, {size(contents.bytes)}), of which the manifest,"
        f" {manifest}, pins each file by object version and BLAKE2b-512 hash,"
        f" and has itself the BLAKE2b-256 hash {_hash(document)}."
    )


def _of_record(path: Path) -> str:
    from ..catalog.record import parse

    try:
        content = path.read_bytes()
        record = parse(content)
    except OSError as error:
        raise RecordInvalid(f"{path} cannot be read: {error.strerror}") from error
    except RecordInvalid as error:
        raise RecordInvalid(f"{path}: {error}") from error
    if not record.files:
        raise RecordInvalid(f"{path}: nothing was read, so there is nothing to cite")
    return (
        f"Data are {counted(len(record.files), 'file')} of {_releases(record)}"
        f" {_named(record.dataset)}, published in s3://{record.bucket}/{record.project}/, of which"
        f" {size(record.bytes_read)} were read through vbofs {record.vbofs} {_when(record)};"
        f" {path.name}, of BLAKE2b-256 hash {_hash(content)}, lists their object versions,"
        f" BLAKE2b-512 hashes and the byte ranges that were read."
    )


def _releases(record: Record) -> str:
    """As few releases as hold all the files, of equal ones the later; and where they also are."""
    left = [set(file.releases) for file in record.files if file.releases]
    same = set.intersection(*left) if left else set()
    named: list[str] = []
    while left:
        # Of those that hold equally many the last, for they stand in their order.
        best = max(reversed(record.releases), key=lambda one: sum(one in has for has in left))
        named.append(best)
        left = [has for has in left if best not in has]
    if not named:
        return ""
    words = _listed([one for one in record.releases if one in named])
    others = [one for one in record.releases if one in same and one not in named]
    also = f" (the same in {_listed(others)})" if others else ""
    return f"release{'s' if len(named) > 1 else ''} {words}{also} of"


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def _when(record: Record) -> str:
    first, last = f"{record.began:%Y-%m-%d}", f"{record.ended:%Y-%m-%d}"
    return f"on {first}" if first == last else f"between {first} and {last}"


def _named(dataset: str) -> str:
    known = f" of {PUBLISHER}" if dataset in PRESETS else ""
    return f"the dataset {dataset}{known}"


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=32).hexdigest()
