"""The part of an NWB file that every session has: running, licking, rewards, trials, pictures.

Each function adds to the file it is given, always in the same order, which the seed needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from hdmf.common import VectorData, VectorIndex
from pynwb import TimeSeries
from pynwb.epoch import TimeIntervals

from . import allen
from .signals import CHANGE_EVERY, RUNNING_HZ

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pynwb import NWBFile
    from pynwb.base import ProcessingModule

    from .signals import Signals


def add_behavior(nwb: NWBFile, signals: Signals) -> None:
    _add_running(nwb, signals)
    _add_licks_and_rewards(nwb, signals)
    trials = signals.flashes()[::CHANGE_EVERY]
    columns = _trial_columns(signals, trials)
    licks = _lists("lick_times", [[] if np.isnan(t) else [t] for t in columns["response_time"]])
    nwb.trials = _intervals("trials", columns, licks)


def _add_running(nwb: NWBFile, signals: Signals) -> None:
    count = signals.shape.samples
    running = module(nwb, "running", "Running speed of the mouse")
    speed = signals.running_speed()
    first = series("speed", speed, "cm/s", times=signals.clock(count, RUNNING_HZ))
    running.add(first)
    unfiltered = speed + signals.noise(count, 4.0)
    running.add(series("speed_unfiltered", unfiltered, "cm/s", times=first))
    running.add(series("dx", speed / RUNNING_HZ, "cm", times=first))
    nwb.add_acquisition(series("v_in", 5 + signals.noise(count, 0.01), "V", times=first))
    nwb.add_acquisition(series("v_sig", 2.5 + signals.noise(count, 0.7), "V", times=first))


def _add_licks_and_rewards(nwb: NWBFile, signals: Signals) -> None:
    licks, rewards = signals.events(1.5), signals.events(20.0)
    licking = module(nwb, "licking", "Contacts with the lick spout")
    frames = (licks * RUNNING_HZ).astype(np.int64)
    licking.add(series("licks", frames, "frame", times=licks))
    water = module(nwb, "rewards", "Water given")
    volume = series("volume", np.full(len(rewards), 0.007), "mL", times=rewards)
    water.add(volume)
    automatic = signals.flags(0.1, len(rewards)).astype(np.uint8)
    water.add(series("autorewarded", automatic, "flag", times=volume))


def _trial_columns(signals: Signals, starts: Any) -> dict[str, Any]:
    go = signals.flags(0.85, len(starts))
    lick = signals.flags(0.5, len(starts))
    change = starts + 2.25
    latency = np.where(lick, 0.4, np.nan)
    never = np.zeros(len(starts), bool)
    return {
        "start_time": starts,
        "stop_time": starts + 7.25,
        "initial_image_name": ["im000"] * len(starts),
        "change_image_name": ["im001" if changed else "im000" for changed in go],
        "stimulus_change": go,
        "go": go,
        "catch": ~go,
        "hit": go & lick,
        "miss": go & ~lick,
        "false_alarm": ~go & lick,
        "correct_reject": ~go & ~lick,
        "aborted": never,
        "auto_rewarded": never,
        "change_time": change,
        "change_frame": (change * RUNNING_HZ).astype(np.int64),
        "response_time": change + latency,
        "response_latency": latency,
        "reward_time": np.where(go & lick, change + latency, np.nan),
        "reward_volume": np.where(go & lick, 0.007, 0.0),
        "trial_length": np.full(len(starts), 7.25),
    }


def _intervals(name: str, columns: dict[str, Any], more: Sequence[Any] = ()) -> TimeIntervals:
    return TimeIntervals(name=name, description=name, columns=[*columns_of(columns), *more])


def _lists(name: str, rows: list[list[float]]) -> list[VectorData]:
    """A column that has a list in each row: all their items, and where each row's end."""
    items = VectorData(name=name, description=name, data=np.array([t for row in rows for t in row]))
    ends = np.cumsum([len(row) for row in rows])
    return [items, VectorIndex(name=f"{name}_index", data=ends, target=items)]


def add_stimulus(nwb: NWBFile, signals: Signals, *, image_set: str) -> None:
    stimulus = module(nwb, "stimulus", "When the monitor changed")
    frames = signals.clock(signals.shape.samples, RUNNING_HZ)
    stimulus.add(series("timestamps", frames, "s", times=frames))
    name = f"Natural_Images_Lum_Matched_set_{image_set}"
    nwb.add_stimulus_template(_template(name, signals))
    columns = _presentation_columns(signals, name)
    nwb.add_time_intervals(_intervals(f"{name}_presentations", columns))


def _template(name: str, signals: Signals) -> Any:
    """The pictures, as the monitor showed them and as they are without its warp."""
    pictures = signals.template()
    count = len(pictures)
    return allen.new(
        allen.TEMPLATES,
        "StimulusTemplate",
        name=name,
        data=pictures.astype(np.uint8),
        unwarped=pictures,
        unit="NA",
        format="raw",
        control=np.arange(count, dtype=np.uint8),
        control_description=[f"im{picture:03d}" for picture in range(count)],
        timestamps=np.full(count, np.nan),
        description="The pictures shown, warped for the monitor",
    )


def _presentation_columns(signals: Signals, name: str) -> dict[str, Any]:
    starts = signals.flashes()
    count = len(starts)
    pictures = signals.choices(signals.shape.images[0], count)
    omitted = signals.flags(0.05, count)
    names = [f"im{picture:03d}" for picture in pictures]
    frames = (starts * RUNNING_HZ).astype(np.int64)
    return {
        "start_time": starts,
        "stop_time": starts + 0.25,
        "duration": np.full(count, 0.25),
        "stimulus_block": np.zeros(count, np.int64),
        "stimulus_name": [name] * count,
        "image_name": np.where(omitted, "omitted", names).tolist(),
        "image_index": pictures,
        "omitted": omitted,
        "is_change": np.arange(count) % CHANGE_EVERY == 0,
        "start_frame": frames,
        "end_frame": frames + int(0.25 * RUNNING_HZ),
    }


# --- what every part is made of


def module(nwb: NWBFile, name: str, description: str) -> ProcessingModule:
    return nwb.create_processing_module(name, description)


def series(name: str, values: Any, unit: str, *, times: Any) -> TimeSeries:
    """One time series; *times* may be another series, whose clock is then linked, not copied."""
    return TimeSeries(name=name, data=values, unit=unit, timestamps=times, description=name)


def columns_of(columns: dict[str, Any]) -> list[VectorData]:
    return [VectorData(name=key, description=key, data=values) for key, values in columns.items()]
