"""A sink with a count, so that the next attempt begins where the bytes stopped."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

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

    @cached_property
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
        return self._landing is not None and not self.is_urgent and self._landing.is_patient()

    def place(self, extent: Extent) -> Place | None:
        return self._landing.place(extent) if self._landing else None

    def elsewhere(self, ask: Callable[[int], None] | None) -> None:
        if self._landing:
            self._landing.elsewhere(ask)

    def kept(self, nbytes: int) -> None:
        if self._landing:
            self._landing.kept(nbytes)
        self.poured += nbytes

    def refused(self, error: OSError) -> None:
        if self._landing:
            self._landing.refused(error)
