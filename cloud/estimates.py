"""How long work takes, learnt from what it took."""

from __future__ import annotations

from typing import Final

SMOOTHING: Final = 0.2
"""Weight of the newest measurement in the running estimates of seconds per unit of cost and of their deviation."""
DEVIATIONS: Final = 2.0
"""Mean absolute deviations above the mean that a job is expected to take: most take less, for whatever their spread."""


class WorkEstimate:
    """Seconds per unit of cost: a running mean with a margin, as in TCP's retransmission timeout (Jacobson, 1988).

    The mean alone would admit every second job of a full queue in vain: a line that needs a second look takes several
    times as long as one that does not. As jobs vary independently, the margin of many together grows with the square
    root of the sum of their squares.

    Args:
        seconds_per_unit: first estimate of the mean; nothing is known of the deviation then.
    """

    def __init__(self, seconds_per_unit: float) -> None:
        self._mean = seconds_per_unit
        self._deviation = 0.0

    def measured(self, seconds_per_unit: float) -> None:
        """One job took so long."""
        self._deviation += SMOOTHING * (abs(seconds_per_unit - self._mean) - self._deviation)
        self._mean += SMOOTHING * (seconds_per_unit - self._mean)

    def not_below(self, seconds_per_unit: float) -> None:
        """One job was stopped after so long: it tells something only if that is more than was thought."""
        if seconds_per_unit > self._mean:
            self.measured(seconds_per_unit)

    def mean(self, cost: float) -> float:
        """Seconds a job of this cost takes on average."""
        return cost * self._mean

    def left(self, cost: float, elapsed: float) -> float:
        """Seconds that a job of this cost is still expected to take: one that is overdue is not done just for that."""
        return max(self.mean(cost) - elapsed, cost * self._deviation)

    @property
    def expected(self) -> float:
        """What most jobs of cost 1 take no longer than, in seconds."""
        return self.mean(1.0) + self.spread(1.0)

    def spread(self, cost: float) -> float:
        """Seconds by which a job of this cost may well exceed its average."""
        return DEVIATIONS * self._deviation * cost
