"""How long the cloud takes, from its last calls, and when a second attempt may go out because the first is slow.

Hedging follows Dean & Barroso, "The Tail at Scale" (CACM 56(2), 2013): the same call goes out once more when the first
has taken longer than about the 95th percentile, and the first good answer wins. It helps against a slow replica or a
lost packet of the answer, not against a slow network; so it is capped to a share of the calls.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from shared.clock import Clock

MAX_CALLS: Final = 32
"""Calls remembered: enough for a 95th percentile that is not always the slowest, few enough to follow a change."""
MAX_AGE_S: Final = 300.0
"""Calls older than this say little of the network the wearer is in now. It also lets a cloud that was slow be tried
again: what is not asked because it is slow would else be slow for ever."""


@dataclass(frozen=True, slots=True)
class Guess:
    """What calls are taken to last before any was made.

    Attributes:
        expected: half of them are quicker, in seconds.
        late: nine in ten are quicker, in seconds.
    """

    expected: float
    late: float

    @property
    def calls(self) -> tuple[float, ...]:
        """As durations of made-up calls, which stand in until there are as many real ones."""
        return (self.expected, self.expected, self.expected, self.late)


class Latencies:
    """Durations of the last calls, failed ones included: a bounded window.

    Args:
        clock: ages them.
        guess: stands in while there are few.
    """

    def __init__(self, *, clock: Clock, guess: Guess) -> None:
        self._clock = clock
        self._guess = guess
        self._calls: deque[tuple[float, float]] = deque(maxlen=MAX_CALLS)

    def add(self, seconds: float) -> None:
        """A call took so long; one that was never answered counts as long as anybody would have waited."""
        self._calls.append((self._clock.monotonic(), seconds))

    def quantile(self, share: float) -> float:
        """Seconds within which this share of the calls is answered (nearest rank).

        Args:
            share: 0..1.
        """
        oldest = self._clock.monotonic() - MAX_AGE_S
        recent = [seconds for at, seconds in self._calls if at >= oldest]
        durations = sorted((*recent, *self._guess.calls[len(recent) :]))
        return durations[max(math.ceil(share * len(durations)) - 1, 0)]


class HedgeBudget:
    """A token bucket: hedges are at most a share of the calls, and `burst` more.

    Args:
        share: of the calls, 0..1; 0 for no hedges at all.
        burst: hedges that may be saved up.
    """

    def __init__(self, *, share: float, burst: int = 1) -> None:
        self._share = share
        self._burst = float(burst)
        self._tokens = self._burst if share > 0 else 0.0

    def earn(self) -> None:
        """A call was made."""
        self._tokens = min(self._tokens + self._share, self._burst)

    def take(self) -> bool:
        """Use up one hedge; False when there is none left."""
        # A hair less than one: ten times a tenth is less than one in floating point.
        if self._tokens < 1.0 - 1e-9:
            return False
        self._tokens -= 1.0
        return True
