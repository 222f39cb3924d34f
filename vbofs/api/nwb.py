"""The door to pynwb, which is loaded when somebody opens a file with it."""

from __future__ import annotations

import io
from pathlib import PurePath
from typing import Any

from ..errors import ExtraMissing


def read(file: io.BufferedReader | PurePath) -> Any:
    """The ``NWBFile`` in *file*.  ExtraMissing if pynwb is not installed."""
    try:
        import h5py
        from pynwb import NWBHDF5IO
    except ImportError as error:
        raise ExtraMissing(
            f"open_nwb needs {error.name}, which is not installed: pip install pynwb"
        ) from error
    return NWBHDF5IO(file=h5py.File(file, "r"), mode="r", load_namespaces=True).read()
