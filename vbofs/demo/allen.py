"""What AllenSDK looks for in an NWB file beyond the core: its publisher's types and metadata.

The published files use three extensions of NWB; the classes that read them name these types and
fields, and nothing else finds a session's id. They are stated here once more, as far as the sample
needs them, because the specification that a file embeds is how any other reader learns of them.
"""

from __future__ import annotations

import tempfile
import uuid
from ast import literal_eval
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pynwb import get_class, load_namespaces
from pynwb.spec import NWBAttributeSpec, NWBDatasetSpec, NWBGroupSpec, NWBNamespaceBuilder

from .recording import NAMESPACE
from .signals import FIELD, RUNNING_HZ

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pynwb import NWBFile
    from pynwb.file import Subject

    from .recording import Recording

BEHAVIOR_OPHYS = "ndx-aibs-behavior-ophys"
TEMPLATES = "ndx-aibs-stimulus-template"
EVENTS = "ndx-aibs-ophys-event-detection"

_TASK = {
    "stimulus_distribution": "text",
    "auto_reward_volume": "float",
    "stimulus_name": "text",
    "blank_duration_sec": ("text", (2,)),
    "omitted_flash_fraction": "float",
    "task": "text",
    "n_stimulus_frames": "int",
    "stimulus": "text",
    "session_type": "text",
    "reward_volume": "float",
    "response_window_sec": ("text", (2,)),
    "stimulus_duration_sec": "float",
}
_SUBJECT = {"driver_line": ("text", (None,)), "reporter_line": "text"}
_SESSION = {
    "project_code": "text",
    "behavior_session_id": "int",
    "stimulus_frame_rate": "float",
    "equipment_name": "text",
    "behavior_session_uuid": "text",
    "session_type": "text",
}
_EXPERIMENT = {
    "ophys_experiment_id": "int",
    "ophys_session_id": "int",
    "ophys_container_id": "int",
    "imaging_depth": "int",
    "targeted_imaging_depth": "int",
    "imaging_plane_group": "int",
    "imaging_plane_group_count": "int",
    "field_of_view_height": "int",
    "field_of_view_width": "int",
}


# --- the types


def new(namespace: str, name: str, /, **fields: Any) -> Any:
    """An object of the type *name* in the extension *namespace*."""
    _loaded()
    return get_class(name, namespace)(**fields)


@cache
def _loaded() -> None:
    """Make pynwb know the three extensions; it takes them from files only."""
    with tempfile.TemporaryDirectory() as folder:
        for namespace, version, types in _extensions():
            builder = NWBNamespaceBuilder(
                doc="Types of the Allen Institute's files, as far as the sample needs them",
                name=namespace,
                version=version,
                author="Allen Institute for Brain Science",
                contact="https://allenswdb.github.io",
            )
            builder.include_namespace("core")
            for kind in types:
                builder.add_spec(f"{namespace}.extensions.yaml", kind)
            builder.export(f"{namespace}.namespace.yaml", outdir=folder)
            load_namespaces(str(Path(folder, f"{namespace}.namespace.yaml")))


def _extensions() -> list[tuple[str, str, list[NWBGroupSpec]]]:
    return [
        (
            BEHAVIOR_OPHYS,
            "0.2.0",
            [
                _type("BehaviorTaskParameters", "LabMetaData", attributes=_TASK),
                _type("BehaviorSubject", "Subject", attributes=_SUBJECT),
                _type("BehaviorMetadata", "LabMetaData", attributes=_SESSION),
                _type("OphysBehaviorMetadata", "BehaviorMetadata", attributes=_EXPERIMENT),
            ],
        ),
        (TEMPLATES, "0.1.0", [_type("StimulusTemplate", "ImageSeries", arrays={"unwarped": 3})]),
        (
            EVENTS,
            "0.1.0",
            [
                _type(
                    "OphysEventDetection",
                    "RoiResponseSeries",
                    arrays={"lambdas": 1, "noise_stds": 1},
                )
            ],
        ),
    ]


def _type(
    name: str,
    above: str,
    *,
    attributes: Mapping[str, Any] | None = None,
    arrays: Mapping[str, int] | None = None,
) -> NWBGroupSpec:
    return NWBGroupSpec(
        neurodata_type_def=name,
        neurodata_type_inc=above,
        doc=name,
        attributes=[_attribute(key, kind) for key, kind in (attributes or {}).items()],
        datasets=[
            NWBDatasetSpec(name=key, doc=key, dtype="float", shape=(None,) * dimensions)
            for key, dimensions in (arrays or {}).items()
        ],
    )


def _attribute(name: str, kind: Any) -> NWBAttributeSpec:
    dtype, shape = kind if isinstance(kind, tuple) else (kind, None)
    # A mouse of no driver line has no list of them.
    return NWBAttributeSpec(
        name=name, doc=name, dtype=dtype, shape=shape, required=name != "driver_line"
    )


# --- what a recording says in them


def subject(row: Mapping[str, str]) -> Subject:
    """The mouse."""
    mouse: Subject = new(
        BEHAVIOR_OPHYS,
        "BehaviorSubject",
        subject_id=row["mouse_id"],
        age=f"P{row['age_in_days']}D",
        genotype=row["full_genotype"],
        sex=row["sex"],
        species="Mus musculus",
        description=f"{row['cre_line']}, {row['reporter_line']}, {row['indicator']}",
        driver_line=literal_eval(row["driver_line"]),
        reporter_line=row["reporter_line"],
    )
    return mouse


def add_metadata(nwb: NWBFile, recording: Recording) -> None:
    """What identifies the session, and what the mouse's task was."""
    row = recording.row
    kind, more = "BehaviorMetadata", {}
    if recording.cells:
        kind, more = "OphysBehaviorMetadata", _experiment(row)
    named = {"name": "metadata", **_session(recording), **more}
    nwb.add_lab_meta_data(new(BEHAVIOR_OPHYS, kind, **named))
    nwb.add_lab_meta_data(
        new(BEHAVIOR_OPHYS, "BehaviorTaskParameters", name="task_parameters", **_task(recording))
    )


def _session(recording: Recording) -> dict[str, Any]:
    row = recording.row
    return {
        "project_code": row["project_code"],
        "behavior_session_id": int(row["behavior_session_id"]),
        "behavior_session_uuid": str(uuid.uuid5(NAMESPACE, row["behavior_session_id"])),
        "stimulus_frame_rate": RUNNING_HZ,
        "equipment_name": row["equipment_name"],
        "session_type": row["session_type"],
    }


def _experiment(row: Mapping[str, str]) -> dict[str, Any]:
    """A rig that images one plane has no groups of them: -1, of 0."""
    group = row["imaging_plane_group"]
    return {
        "ophys_experiment_id": int(row["ophys_experiment_id"]),
        "ophys_session_id": int(row["ophys_session_id"]),
        "ophys_container_id": int(row["ophys_container_id"]),
        "imaging_depth": int(row["imaging_depth"]),
        "targeted_imaging_depth": int(row["targeted_imaging_depth"]),
        "imaging_plane_group": int(float(group)) if group else -1,
        "imaging_plane_group_count": 4 if group else 0,
        "field_of_view_height": FIELD,
        "field_of_view_width": FIELD,
    }


def _task(recording: Recording) -> dict[str, Any]:
    row = recording.row
    return {
        "stimulus_distribution": "geometric",
        "auto_reward_volume": 0.005,
        "stimulus_name": f"stimuli_{row['image_set'] or 'gratings'}",
        "blank_duration_sec": ["0.5", "0.5"],
        "omitted_flash_fraction": 0.05,
        "task": "change detection",
        "n_stimulus_frames": recording.shape.samples,
        "stimulus": "images" if row["image_set"] else "gratings",
        "session_type": row["session_type"],
        "reward_volume": 0.007,
        "response_window_sec": ["0.15", "0.75"],
        "stimulus_duration_sec": 0.25,
    }
