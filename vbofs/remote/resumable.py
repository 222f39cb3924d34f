"""A sink with a count, so that the next attempt begins where the bytes stopped."""

from __future__ import annotations

from collections.abc import Callable

from ..model import Extent
from .carrying import Landing, Place
from .protocol import Sink


class Resumable:
    """Counts what goes into *sink*, which need not be a ``Landing``."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.poured = 0
        #: Others wait for what becomes of this attempt, whoever waits for its bytes.
        self.is_urgent = False
        self.get_buffer = sink.get_buffer

    @property
    def _landing(self) -> Landing | None:
        """Found out when it matters, for large requests: that takes a while."""
        return self._sink if isinstance(self._sink, Landing) else None

    def buffer_updated(self, nbytes: int) -> None:
        self._sink.buffer_updated(nbytes)
        self.poured += nbytes

    def rest_of(self, extent: Extent) -> Extent:
        """What is missing of the *extent* that the sink is for."""
        return Extent(extent.start + self.poured, extent.stop)

    def is_patient(self) -> bool:
        landing = self._landing
        return landing is not None and not self.is_urgent and landing.is_patient()

    def place(self, extent: Extent) -> Place | None:
        landing = self._landing
        return landing.place(extent) if landing else None

    def elsewhere(self, ask: Callable[[int], None] | None) -> None:
        if landing := self._landing:
            landing.elsewhere(ask)

    def kept(self, nbytes: int) -> None:
        if landing := self._landing:
            landing.kept(nbytes)
        self.poured += nbytes

    def refused(self, error: OSError) -> None:
        if landing := self._landing:
            landing.refused(error)
