"""The numbers inside the sample's NWB files: seeded, plausible, cheap.

One ``Signals`` makes every array of one file from one generator, so the same shape and seed give
the same bytes on every machine that has the same numpy. Nothing here knows NWB, files or releases.

Noise that does not compress is wanted: a cache or a link that squeezes bytes would otherwise look
better on the sample than on real recordings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .recording import Shape

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Flags = NDArray[np.bool_]

RUNNING_HZ = 60.0  # the behavior stage is sampled once per monitor frame
FLASH_PERIOD = 0.75  # seconds: an image for 250 ms, then 500 ms of grey
CHANGE_EVERY = 10  # flashes between two image changes, about the task's mean
FIELD = 128  # pixels a side of one cell's mask; the real 512 would be most of the file
PROJECTION = 256  # pixels a side of the projections


class Signals:
    """Arrays for one file; the order of the calls is part of the seed."""

    def __init__(self, shape: Shape, seed: int) -> None:
        self.shape = shape
        self._random = np.random.default_rng(seed)

    def __repr__(self) -> str:
        return f"Signals({self.shape})"

    @property
    def seconds(self) -> float:
        return self.shape.samples / RUNNING_HZ

    def clock(self, count: int, rate: float) -> Floats:
        """*count* times at *rate*, with the jitter of a real clock and never going back."""
        ticks: Floats = np.arange(count) + self._random.uniform(0.3, 0.7, count)
        times: Floats = ticks / rate
        return times

    def noise(self, count: int, scale: float) -> Floats:
        return self._random.standard_normal(count) * scale

    def running_speed(self) -> Floats:
        """cm/s: bouts of running over a floor of noise."""
        count = self.shape.samples
        phase = self._random.uniform(0, 2 * np.pi)
        bouts = np.sin(np.arange(count) * (2 * np.pi / (45 * RUNNING_HZ)) + phase)
        speed: Floats = np.maximum(bouts, 0) * 30 + self.noise(count, 1.5)
        return speed

    def flashes(self) -> Floats:
        """When each image came on."""
        return np.arange(1.0, self.seconds - 1, FLASH_PERIOD) + self._random.uniform(0, 0.01)

    def events(self, mean_interval: float) -> Floats:
        """Times of licks or rewards, in order."""
        return np.sort(self._random.uniform(0, self.seconds, int(self.seconds / mean_interval)))

    def choices(self, below: int, count: int) -> Ints:
        return self._random.integers(0, below, count)

    def flags(self, probability: float, count: int) -> Flags:
        return self._random.random(count) < probability

    def traces(self, scale: float) -> Floats:
        """(time, cells), as the real files are laid out: one cell is a stride through all of it."""
        shape = (self.shape.frames, self.shape.cells)
        return self._random.standard_normal(shape) * scale

    def calcium_events(self) -> Floats:
        """(time, cells), nearly all zero: the one array the publisher compresses."""
        sizes = np.abs(self.traces(0.3))
        return np.where(self._random.random(sizes.shape) < 0.02, sizes, 0.0)

    def template(self) -> Floats:
        """(image, row, column): the pictures that were shown, one byte's worth of greys."""
        count, rows, columns = self.shape.images
        return self._random.integers(0, 256, (count, rows, columns)).astype(np.float64)

    def projection(self) -> Floats:
        return self._random.gamma(2.0, 200.0, (PROJECTION, PROJECTION))

    def masks(self) -> Flags:
        """One filled disc per cell."""
        rows, columns = np.mgrid[0:FIELD, 0:FIELD]
        centres = self._random.uniform(12, FIELD - 12, (self.shape.cells, 2))
        radii = self._random.uniform(4, 9, self.shape.cells)
        away = (rows - centres[:, 0, None, None]) ** 2 + (columns - centres[:, 1, None, None]) ** 2
        inside: Flags = away < radii[:, None, None] ** 2
        return inside
