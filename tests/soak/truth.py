"""What is published in a soak, as files on this machine: the sample, and a few larger ones."""

from __future__ import annotations

from pathlib import Path

from tests.s3 import content
from vbofs.demo import Sample, build

MIB = 1 << 20
#: Bytes of made-up files, beside the sample's real ones.
LARGE = {"behavior_sessions/large.bin": 40 * MIB + 17, "behavior_sessions/middle.bin": 9 * MIB + 5}


def make(folder: Path, sample: Sample | None = None, *, large: bool = True) -> Path:
    """`<folder>/truth/v<release>/<path>`: links to the sample's files, and the large ones.

    *sample*: the small one, if it was made before.
    """
    sample, truth = sample or build(folder / "sample", small=True), folder / "truth"
    for release in sample.releases:
        for path, local in release.paths.items():
            _link(truth / f"v{release.version}" / path, local)
    for path, size in LARGE.items() if large else ():
        made = folder / "made" / path
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_bytes(content(path, "1", 0, size))
        for release in sample.releases[-2:]:
            _link(truth / f"v{release.version}" / path, made)
    return truth


def _link(place: Path, local: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(local)
