"""The part of an NWB file that every session has: running, licking, rewards, trials, pictures.

Each function adds to the file it is given, always in the same order, which the seed needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from hdmf.common import VectorData
from pynwb import TimeSeries
from pynwb.epoch import TimeIntervals
from pynwb.image import ImageSeries

from .signals import CHANGE_EVERY, RUNNING_HZ

if TYPE_CHECKING:
    from pynwb import NWBFile
    from pynwb.base import ProcessingModule

    from .signals import Signals


def add_behavior(nwb: NWBFile, signals: Signals) -> None:
    _add_running(nwb, signals)
    _add_licks_and_rewards(nwb, signals)
    trials = signals.flashes()[::CHANGE_EVERY]
    nwb.trials = _intervals("trials", _trial_columns(signals, trials))


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
    licking.add(series("licks", np.ones(len(licks)), "lick", times=licks))
    water = module(nwb, "rewards", "Water given")
    volume = series("volume", np.full(len(rewards), 0.007), "mL", times=rewards)
    water.add(volume)
    automatic = signals.flags(0.1, len(rewards)).astype(np.uint8)
    water.add(series("autorewarded", automatic, "flag", times=volume))


def _trial_columns(signals: Signals, starts: Any) -> dict[str, Any]:
    go = signals.flags(0.85, len(starts))
    lick = signals.flags(0.5, len(starts))
    return {
        "start_time": starts,
        "stop_time": starts + 7.25,
        "go": go,
        "catch": ~go,
        "hit": go & lick,
        "miss": go & ~lick,
        "false_alarm": ~go & lick,
        "correct_reject": ~go & ~lick,
        "change_time": starts + 2.25,
        "reward_volume": np.where(go & lick, 0.007, 0.0),
    }


def _intervals(name: str, columns: dict[str, Any]) -> TimeIntervals:
    return TimeIntervals(name=name, description=name, columns=columns_of(columns))


def add_stimulus(nwb: NWBFile, signals: Signals, *, image_set: str) -> None:
    stimulus = module(nwb, "stimulus", "When the monitor changed")
    frames = signals.clock(signals.shape.samples, RUNNING_HZ)
    stimulus.add(series("timestamps", frames, "s", times=frames))
    name = f"Natural_Images_Lum_Matched_set_{image_set}"
    nwb.add_stimulus_template(_template(name, signals))
    columns = _presentation_columns(signals, name)
    nwb.add_time_intervals(_intervals(f"{name}_presentations", columns))


def _template(name: str, signals: Signals) -> ImageSeries:
    pictures = signals.template()
    return ImageSeries(
        name=name,
        data=pictures,
        unit="NA",
        format="raw",
        rate=1.0,
        description="The pictures shown, warped for the monitor",
    )


def _presentation_columns(signals: Signals, name: str) -> dict[str, Any]:
    starts = signals.flashes()
    count = len(starts)
    pictures = signals.choices(signals.shape.images[0], count)
    return {
        "start_time": starts,
        "stop_time": starts + 0.25,
        "stimulus_name": [name] * count,
        "image_name": [f"im{picture:03d}" for picture in pictures],
        "image_index": pictures,
        "omitted": signals.flags(0.05, count),
        "is_change": np.arange(count) % CHANGE_EVERY == 0,
        "start_frame": (starts * RUNNING_HZ).astype(np.int64),
    }


# --- what every part is made of


def module(nwb: NWBFile, name: str, description: str) -> ProcessingModule:
    return nwb.create_processing_module(name, description)


def series(name: str, values: Any, unit: str, *, times: Any) -> TimeSeries:
    """One time series; *times* may be another series, whose clock is then linked, not copied."""
    return TimeSeries(name=name, data=values, unit=unit, timestamps=times, description=name)


def columns_of(columns: dict[str, Any]) -> list[VectorData]:
    return [VectorData(name=key, description=key, data=values) for key, values in columns.items()]
