"""The datasets that vbofs knows by name."""

from __future__ import annotations

from typing import NamedTuple


class Preset(NamedTuple):
    """Where a dataset that we know by name is published."""

    bucket: str
    project: str
    region: str


PRESETS = {
    "visual-behavior-ophys": Preset(
        "visual-behavior-ophys-data", "visual-behavior-ophys", "us-west-2"
    ),
    "visual-behavior-neuropixels": Preset(
        "visual-behavior-neuropixels-data", "visual-behavior-neuropixels", "us-west-2"
    ),
}
