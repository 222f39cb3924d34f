"""The sample's NWB files: what pynwb makes of one row of a table and some numbers.

Laid out as the real ones are: HDF5 superblock v0 and old-style groups (pynwb's default),
contiguous float64 arrays, (time, cells) traces, one compressed array (event_detection), metadata
strewn between the arrays because pynwb writes group after group. AllenSDK reads them: where it
looks for types of its own, they are there (``allen``), and each file embeds their specification.

Two runs give the same bytes. What pynwb would draw at random (object ids) or read off the clock
(file_create_date) is derived from the file's name and revision instead.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pynwb import NWBHDF5IO, NWBFile

from . import allen
from .behavior import add_behavior, add_stimulus
from .imaging import add_ophys
from .recording import NAMESPACE
from .signals import Signals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .recording import Recording


def write(recording: Recording, path: Path) -> None:
    """Write *recording* to *path*, replacing what is there."""
    signals = Signals(recording.shape, recording.seed)
    nwb = _file(recording)
    add_behavior(nwb, signals)
    add_stimulus(nwb, signals, image_set=recording.row["image_set"] or "gratings")
    if recording.cells:
        add_ophys(nwb, signals, recording)
    allen.add_metadata(nwb, recording)
    _settle_object_ids(nwb, recording.identity)
    with NWBHDF5IO(str(path), "w") as file:
        file.write(nwb, expandable=())


def _settle_object_ids(nwb: NWBFile, identity: str) -> None:
    """Replace the random object ids; pynwb has no public way to choose them.

    ``all_children`` walks in the order in which things were added, which is fixed.
    """
    for position, container in enumerate(nwb.all_children()):
        chosen = uuid.uuid5(NAMESPACE, f"{identity}#{position}")
        container._AbstractContainer__object_id = str(chosen)


def _file(recording: Recording) -> NWBFile:
    row = recording.row
    return NWBFile(
        session_description="Behavior, ophys" if recording.cells else "Behavior",
        identifier=_ident(row),
        session_id=_ident(row),
        session_start_time=_when(row["date_of_acquisition"]),
        file_create_date=recording.created,
        experiment_description=f"{row['session_type']} on {row['equipment_name']}; synthetic",
        institution="Allen Institute for Brain Science",
        keywords=["visual", "behavior", "task", "synthetic sample"],
        subject=allen.subject(row),
    )


def _ident(row: Mapping[str, str]) -> str:
    """An experiment's id; of a session that has none, the session's."""
    return row["ophys_experiment_id"] or row["behavior_session_id"]


def _when(text: str) -> datetime:
    """The tables write some times with a zone and some without; all are UTC."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# --- as a process: orders in, digests out


def main() -> None:
    """Make what stdin orders under the folder in argv; say the digests on stdout.

    Digests are taken here, where the bytes are still in the page cache and a core is ours.
    """
    root = Path(sys.argv[1])
    orders = pickle.load(sys.stdin.buffer)
    json.dump({target: _fulfil(root / target, product) for target, product in orders}, sys.stdout)


def _fulfil(target: Path, product: Recording | bytes) -> str:
    if isinstance(product, bytes):
        target.write_bytes(product)
    else:
        write(product, target)
    with target.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


if __name__ == "__main__":
    main()
