"""Which connection parameters the emulated link takes: pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

INTERVAL_UNIT_S: Final = 0.00125
TIMEOUT_UNIT_S: Final = 0.01
UNSHAPED_INTERVAL: Final = 6
"""Interval reported on an unshaped link, in units of 1.25 ms: the shortest legal one."""
DEFAULT_SUPERVISION_S: Final = 0.72
"""Supervision timeout of a connection whose central asked for none."""


@dataclass(frozen=True, slots=True)
class ParameterRequest:
    """Connection parameters as a device asks for them, in the units of HCI.

    Attributes:
        interval_min, interval_max: connection interval in units of 1.25 ms.
        latency: connection events that the peripheral may sleep through (reported, not emulated: it hears all).
        timeout: supervision timeout in units of 10 ms.
    """

    interval_min: int
    interval_max: int
    latency: int
    timeout: int

    @property
    def valid(self) -> bool:
        """Whether a controller may consider it (Core 5.4, Vol 4, Part E, 7.8.18)."""
        return (
            6 <= self.interval_min <= self.interval_max <= 3200
            and 0 <= self.latency <= 499
            and 10 <= self.timeout <= 3200
            and self.timeout * TIMEOUT_UNIT_S > 2 * (1 + self.latency) * self.interval_max * INTERVAL_UNIT_S
        )

    def choose(self, interval_s: float | None, *, fixed: bool) -> float | None:
        """The interval that a valid request gets, in seconds; None when it is refused.

        Args:
            interval_s: the profile's; None on an unshaped link, which has none and grants whatever is asked.
            fixed: whether only the profile's interval will do. Otherwise the nearest to it that was asked for.
        """
        low, high = self.interval_min * INTERVAL_UNIT_S, self.interval_max * INTERVAL_UNIT_S
        if interval_s is None:
            return high
        # Intervals are compared as HCI rounds them: a profile's need not be a multiple of 1.25 ms.
        if self.interval_min <= interval_units(interval_s) <= self.interval_max:
            return interval_s
        if fixed:
            return None
        return low if interval_s < low else high


def interval_units(interval_s: float | None) -> int:
    """An interval as HCI reports it, in units of 1.25 ms."""
    return UNSHAPED_INTERVAL if interval_s is None else round(interval_s / INTERVAL_UNIT_S)


def timeout_units(timeout_s: float) -> int:
    """A supervision timeout as HCI reports it, in units of 10 ms."""
    return round(timeout_s / TIMEOUT_UNIT_S)


def supervision_in_force(requested_s: float, interval_s: float | None, *, override_s: float | None) -> float:
    """Supervision timeout of a connection, in seconds.

    Args:
        requested_s: what the central asked for; 0: nothing.
        interval_s: connection interval in force.
        override_s: the profile's.
    """
    timeout = override_s or requested_s or DEFAULT_SUPERVISION_S
    if interval_s is not None:
        # The central could not know the emulation's interval; a timeout must be longer than two of them.
        timeout = max(timeout, 2 * interval_s + TIMEOUT_UNIT_S)
    return timeout
