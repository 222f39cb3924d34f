"""A look into a file of a mount, as a visitor would take it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

TRACES = "processing/ophys/dff/traces/data"


class Trace(NamedTuple):
    """One cell's dF/F: *samples* values, their mean, and how long it took to open and read."""

    samples: int
    cells: int
    mean: float
    seconds: float


def read_trace(path: Path, cell: int = 0) -> Trace:
    """Open an NWB file of an imaging experiment with h5py and read one cell's trace."""
    import h5py

    began = time.perf_counter()
    with h5py.File(path, "r") as file:
        traces = file[TRACES]
        trace = traces[:, cell]
        cells = traces.shape[1]
    return Trace(len(trace), cells, float(trace.mean()), time.perf_counter() - began)
