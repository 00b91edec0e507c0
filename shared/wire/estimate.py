"""When an object of n bytes would be delivered over the link as it is, and how sure that is. Pure; times are seconds.

The base guess is (backlog + n) / goodput + one round trip, plus what is left of a usual interruption while the
connection is down. Each delivered object tells by what factor the guess was off; the logarithms of these factors are
kept as an exponentially weighted mean and variance, so the estimate corrects its own bias and knows its own spread.
Times on a radio link are skewed (an outage adds, nothing subtracts), which a factor fits and a plus-or-minus does not.
"""

from __future__ import annotations

import math
from typing import Final

from shared.link import DeliveryModel

UNMEASURED_BYTES_PER_S: Final = 25_000.0
"""Goodput assumed before any was measured: the slow end of what the link is planned for."""
UNMEASURED_ROUND_TRIP_S: Final = 0.1
SMALLEST_BYTES_PER_S: Final = 100.0
SMALLEST_ROUND_TRIP_S: Final = 1e-3
"""Measurements beyond these are of a peer that answers nothing, or of a coarse clock."""
UNMEASURED_SPREAD: Final = 0.7
"""Spread (of the logarithm) before any delivery was seen: a factor of two and a half either way at nine in ten."""
UNMEASURED_INTERRUPTION_S: Final = 3.0
"""Length assumed of a first interruption: a supervision timeout, a scan and a connection."""

_WEIGHT: Final = 0.12
_LARGEST_LOG: Final = 2.5  # one lost connection must not make every later estimate worthless
_SMALLEST_SPREAD: Final = 0.08
_MAX_OPEN: Final = 256


class DeliveryEstimator:
    """Learns from deliveries how far the base guess is off.

    `began` and `ended` bracket every object; `interrupted` and `restored` every loss of the connection.
    """

    def __init__(self) -> None:
        self._mean = 0.0
        self._variance = UNMEASURED_SPREAD**2
        self._weight = 1.0  # of the next sample; falls to `_WEIGHT`, so that the first few count for more
        self._open: dict[int, float] = {}
        self._interruption: float | None = None
        self._lost_at: float | None = None

    def model(
        self, *, backlog_bytes: int, bytes_per_s: float | None, round_trip: float | None, now: float
    ) -> DeliveryModel:
        """The estimate as of now.

        Args:
            backlog_bytes: payload that is before a new object.
            bytes_per_s: measured goodput, None before any.
            round_trip: measured, None before any.
            now: current time.
        """
        wait = 0.0
        if self._lost_at is not None:
            usual = UNMEASURED_INTERRUPTION_S if self._interruption is None else self._interruption
            # The longer it has lasted, the longer it is likely to go on.
            elapsed = now - self._lost_at
            wait = max(usual - elapsed, 0.5 * elapsed)
        return DeliveryModel(
            backlog_bytes=backlog_bytes,
            bytes_per_s=max(SMALLEST_BYTES_PER_S, UNMEASURED_BYTES_PER_S if bytes_per_s is None else bytes_per_s),
            round_trip_s=max(SMALLEST_ROUND_TRIP_S, UNMEASURED_ROUND_TRIP_S if round_trip is None else round_trip),
            wait_s=wait,
            log_bias=self._mean,
            log_spread=max(_SMALLEST_SPREAD, math.sqrt(self._variance)),
        )

    def began(self, ticket: int, size: int, model: DeliveryModel) -> None:
        """An object of `size` bytes was handed in while `model` held."""
        while len(self._open) >= _MAX_OPEN:
            self._open.pop(next(iter(self._open)))
        self._open[ticket] = model.base_s(size)

    def ended(self, ticket: int, seconds: float | None) -> None:
        """It was delivered after `seconds`, or given up (None)."""
        base = self._open.pop(ticket, None)
        if base is None or seconds is None or seconds <= 0.0:
            return
        error = max(-_LARGEST_LOG, min(_LARGEST_LOG, math.log(seconds / base)))
        self._weight = max(_WEIGHT, self._weight / (1.0 + self._weight))
        off = error - self._mean
        self._mean += self._weight * off
        # West's update of a weighted variance (1979).
        self._variance = (1.0 - self._weight) * (self._variance + self._weight * off * off)

    def interrupted(self, now: float) -> None:
        """The connection ended."""
        if self._lost_at is None:
            self._lost_at = now

    def restored(self, now: float) -> None:
        """The connection is back."""
        if self._lost_at is not None:
            lasted = now - self._lost_at
            usual = lasted if self._interruption is None else self._interruption
            self._interruption = usual + 0.3 * (lasted - usual)
            self._lost_at = None

    def lost_for(self, now: float) -> float | None:
        """Seconds since the connection ended; None while it stands or before the first."""
        return None if self._lost_at is None else now - self._lost_at
