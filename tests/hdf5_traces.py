"""What HDF5 readers read of a file, and how often they would wait for it over a network.

``reads_of`` records the reads of a job; ``serve`` replays them against blocks that arrive in
waves.  A wave is one round trip: it brings the block that the reader stands before and all that
the chase had asked for until then.  So waves are counts, the same on every machine.
"""

from __future__ import annotations

import contextlib
import mmap
from dataclasses import dataclass, field

import h5py
from pynwb import NWBHDF5IO

from vbofs.blocks.extents import BLOCK_SIZE, covering, span
from vbofs.model import Extent


class RecordedFile:
    """A file for h5py's fileobj driver that remembers which extents were read."""

    def __init__(self, path):
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by close().
        self.seek, self.tell, self.close = self._file.seek, self._file.tell, self._file.close
        self.reads = []

    def read(self, size):
        self.reads.append(Extent(self.tell(), self.tell() + size))
        return self._file.read(size)

    def readinto(self, buffer):
        self.reads.append(Extent(self.tell(), self.tell() + len(buffer)))
        return self._file.readinto(buffer)


def open_only(file):
    """Nothing but h5py.File()."""


def list_all(file):
    """``visititems``, ``h5ls -r``."""
    file.visititems(lambda name, found: None)


def list_attributes(file):
    """All attributes and scalars too: MATLAB's ``h5info``, ``ncdump -h``."""

    def look(name, found):
        for key in found.attrs:
            with contextlib.suppress(OSError):
                found.attrs[key]
        if isinstance(found, h5py.Dataset):
            assert found.dtype is not None
            if found.shape == ():
                found[()]

    file.visititems(look)


def list_values(file):
    """The first value of each dataset besides."""

    def look(name, found):
        if isinstance(found, h5py.Dataset) and found.shape:
            found[(0,) * found.ndim]

    list_attributes(file)
    file.visititems(look)


def read_nwb(file):
    """pynwb.read."""
    with NWBHDF5IO(file=file, mode="r", load_namespaces=True) as reader:
        reader.read()


def reads_of(path, job):
    """The extents that *job* reads of the file at *path*, in order; from h5py.File() on."""
    recorded = RecordedFile(path)
    with h5py.File(recorded, "r") as file:
        job(file)
    recorded.close()
    return recorded.reads


@dataclass
class Served:
    """What it took: *waves* of blocks, each a list of block numbers."""

    waves: list[list[int]] = field(default_factory=list)
    demanded: int = 0

    @property
    def waits(self):
        return len(self.waves)

    @property
    def megabytes(self):
        return sum(map(len, self.waves)) * BLOCK_SIZE / 1e6

    def __str__(self):
        sizes = " ".join(str(len(wave)) for wave in self.waves[:12])
        return f"{self.waits} waits, {self.megabytes:.1f} MB, {self.demanded} demanded ({sizes})"


class Network:
    """A file whose blocks come in waves, with or without a *chase* beside the reader."""

    def __init__(self, path, chase=None):
        with open(path, "rb") as file:
            self._content = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        self._view = memoryview(self._content)
        self._chase = chase
        self._here, self._asked = set(), []
        self.served = Served()
        if chase:
            self._ask(chase.opening())

    def read(self, extent):
        within = Extent(extent.start, min(extent.stop, len(self._content)))
        missing = [block for block in covering(within) if block not in self._here]
        if missing:
            self.served.demanded += len(set(missing).difference(self._asked))
            if self._chase:
                self._ask(self._chase.missed(within))
            self._wave(missing)
        if self._chase:
            self._ask(self._chase.saw(within))

    def rest(self):
        """The reader thinks until nothing is on its way any more."""
        self._ask(self._chase.rested())
        while self._asked:
            self._wave([])

    def _wave(self, demand):
        arrived = list(dict.fromkeys([*demand, *self._asked]))
        self._asked = []
        self.served.waves.append(arrived)
        self._here.update(arrived)
        for block in arrived:
            self._learn(block)

    def _learn(self, block):
        if self._chase and not self._chase.finished:
            extent = span(range(block, block + 1), len(self._content))
            self._ask(self._chase.learn(extent.start, self._view[extent.start : extent.stop]))

    def _ask(self, extents):
        for extent in extents:
            for block in covering(extent):
                if block in self._here:
                    self._learn(block)
                elif block not in self._asked:
                    self._asked.append(block)


def serve(path, reads, chase=None):
    """Replay *reads* of the file at *path*; see the paragraph above."""
    network = Network(path, chase)
    for read in reads:
        network.read(read)
    return network.served
