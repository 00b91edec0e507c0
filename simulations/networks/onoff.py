"""A two-state process in continuous time, by the seconds since it began: pure, addressed by its own periods."""

from __future__ import annotations

import bisect
from typing import Final

from simulations.networks.profile import OnOff
from simulations.radio.draws import exponential

MAX_PERIODS: Final = 100_000
"""Changes remembered: a day of changes every second."""


class TwoStates:
    """Good and bad in turn, beginning good at time 0 (Gilbert 1960, in continuous time).

    Args:
        periods: mean times; None: always good.
        seed: of the draws.
        subject: tells this process from others of the seed; at most 10 ASCII characters.
    """

    def __init__(self, periods: OnOff | None, seed: int, subject: str) -> None:
        self._periods = periods
        self._seed = seed
        self._subject = subject
        self._changes: list[float] = []  # odd ones end a bad time

    def bad(self, at_s: float) -> bool:
        """Which state it is in."""
        return self._passed(at_s) % 2 == 1

    def next_change_s(self, at_s: float) -> float:
        """The first time after `at_s` at which the state changes; infinity: never."""
        passed = self._passed(at_s)
        return self._changes[passed] if passed < len(self._changes) else float("inf")

    def began_s(self, at_s: float) -> float:
        """When the state of `at_s` began."""
        passed = self._passed(at_s)
        return self._changes[passed - 1] if passed else 0.0

    def _passed(self, at_s: float) -> int:
        """How many changes there were by `at_s`."""
        if self._periods is None:
            return 0
        while (not self._changes or self._changes[-1] <= at_s) and len(self._changes) < MAX_PERIODS:
            number = len(self._changes)
            mean = self._periods.good_s if number % 2 == 0 else self._periods.bad_s
            last = self._changes[-1] if self._changes else 0.0
            self._changes.append(last + exponential(mean, self._seed, self._subject, number))
        return bisect.bisect_right(self._changes, at_s)
