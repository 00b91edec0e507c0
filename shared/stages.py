"""How long each stage of the reading of one sign took."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shared.clock import Clock


class StageTimes:
    """Adds up the time spent in named stages, in the order they first ran.

    Args:
        clock: measures.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.milliseconds: dict[str, float] = {}

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time the block takes to a stage."""
        started = self._clock.monotonic()
        try:
            yield
        finally:
            spent = (self._clock.monotonic() - started) * 1e3
            self.milliseconds[stage] = self.milliseconds.get(stage, 0.0) + spent
