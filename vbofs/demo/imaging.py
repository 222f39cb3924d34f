"""The part of an NWB file that only an experiment has: the plane, its cells, their traces.

Each function adds to the file it is given, always in the same order, which the seed needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from hdmf.backends.hdf5.h5_utils import H5DataIO
from pynwb.base import Images
from pynwb.behavior import PupilTracking
from pynwb.image import GrayscaleImage
from pynwb.ophys import (
    DfOverF,
    Fluorescence,
    ImageSegmentation,
    OpticalChannel,
    PlaneSegmentation,
    RoiResponseSeries,
)

from . import allen
from .behavior import columns_of, module, series

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hdmf.common import DynamicTableRegion
    from pynwb import NWBFile
    from pynwb.base import ProcessingModule

    from .recording import Cell, Recording
    from .signals import Signals

PIXELS_PER_CM = 0.00078  # of the projections, as the publisher states it
FLUORESCENCE = {"corrected_fluorescence": 80.0, "demixed_trace": 90.0, "neuropil_trace": 60.0}


def add_ophys(nwb: NWBFile, signals: Signals, recording: Recording) -> None:
    ophys = module(nwb, "ophys", "Two-photon calcium imaging, processed")
    plane = _plane(nwb, recording.row, recording.shape.frame_rate)
    table = _cell_specimen_table(signals, recording.cells, plane)
    ophys.add(ImageSegmentation(name="image_segmentation", plane_segmentations=table))
    ophys.add(_projections(signals))
    _add_traces(ophys, signals, table)
    times = signals.clock(signals.shape.frames, signals.shape.frame_rate)
    for axis in "xy":
        shift = np.rint(signals.noise(signals.shape.frames, 2.0)).astype(np.int64)
        ophys.add(series(f"ophys_motion_correction_{axis}", shift, "pixels", times=times))
    area = signals.noise(signals.shape.frames, 40.0) + 900
    nwb.add_acquisition(PupilTracking(series("pupil_area", area, "pixels", times=times)))


def _plane(nwb: NWBFile, row: Mapping[str, str], rate: float) -> Any:
    device = nwb.create_device(row["equipment_name"], description="Allen Brain Observatory rig")
    channel = OpticalChannel(name="channel_1", description="green", emission_lambda=514.0)
    return nwb.create_imaging_plane(
        name="imaging_plane_1",
        optical_channel=channel,
        description=f"{row['targeted_structure']} at {row['imaging_depth']} um",
        device=device,
        excitation_lambda=910.0,
        indicator=row["indicator"],
        imaging_rate=rate,
        location=row["targeted_structure"],
    )


def _cell_specimen_table(signals: Signals, cells: Sequence[Cell], plane: Any) -> PlaneSegmentation:
    columns = {
        "cell_specimen_id": [cell.specimen_id for cell in cells],
        "valid_roi": np.ones(len(cells), bool),
        "image_mask": signals.masks(),
    }
    return PlaneSegmentation(
        name="cell_specimen_table",
        description="The cells that were found",
        imaging_plane=plane,
        id=[cell.roi_id for cell in cells],
        columns=columns_of(columns),
    )


def _projections(signals: Signals) -> Images:
    names = ("max_projection", "average_image", "segmentation_mask_image")
    pictures = [
        GrayscaleImage(name=name, data=signals.projection(), resolution=PIXELS_PER_CM)
        for name in names
    ]
    return Images(name="images", images=pictures, description="Projections over time")


def _add_traces(ophys: ProcessingModule, signals: Signals, table: PlaneSegmentation) -> None:
    # Each container joins the file before its traces do: pynwb warns of traces whose table is
    # not (yet) in the same file.
    times = signals.clock(signals.shape.frames, signals.shape.frame_rate)
    dff = _roi_series("traces", signals.traces(0.2), table, times=times)
    _join(ophys, DfOverF(name="dff"), dff)
    for name, scale in FLUORESCENCE.items():
        traces = _roi_series("traces", signals.traces(scale), table, times=dff)
        _join(ophys, Fluorescence(name=name), traces)
    squeezed = H5DataIO(signals.calcium_events(), compression="gzip")
    ophys.add(
        allen.new(
            allen.EVENTS,
            "OphysEventDetection",
            name="event_detection",
            data=squeezed,
            rois=_every_cell(table),
            unit="NA",
            timestamps=dff,
            lambdas=np.full(len(table), 0.1),
            noise_stds=np.full(len(table), 0.05),
        )
    )


def _join(ophys: ProcessingModule, container: Any, traces: Any) -> None:
    ophys.add(container)
    container.add_roi_response_series(traces)


def _roi_series(name: str, values: Any, table: PlaneSegmentation, *, times: Any) -> Any:
    rois = _every_cell(table)
    return RoiResponseSeries(name=name, data=values, rois=rois, unit="NA", timestamps=times)


def _every_cell(table: PlaneSegmentation) -> DynamicTableRegion:
    region: DynamicTableRegion = table.create_roi_table_region(
        description="every cell", region=list(range(len(table)))
    )
    return region
