"""What decides the bytes of one NWB file of the sample; plain values, so a process can be told.

Nothing is made here: ``releases`` chooses recordings, ``nwb`` writes them.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

# Any fixed UUID would do; this is the hash of a name that nobody else uses.
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://vbofs.invalid/demo")


@dataclass(frozen=True)
class Shape:
    """How much of everything a file holds; this alone decides its size.

    *images* is (how many, rows, columns) of the stimulus template.
    """

    samples: int
    cells: int = 0
    frames: int = 0
    frame_rate: float = 11.0
    images: tuple[int, int, int] = (2, 120, 192)


@dataclass(frozen=True)
class Cell:
    """One line of the cells table, and one column of every trace."""

    roi_id: int
    specimen_id: int


@dataclass(frozen=True)
class Recording:
    """One NWB file: the table row it is about, and the *revision* that gave it these bytes."""

    name: str
    revision: str
    created: datetime
    row: Mapping[str, str]
    shape: Shape
    cells: tuple[Cell, ...] = ()

    @property
    def identity(self) -> str:
        return f"{self.name}@{self.revision}"

    @property
    def seed(self) -> int:
        return uuid.uuid5(NAMESPACE, self.identity).int
