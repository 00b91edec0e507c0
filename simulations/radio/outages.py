"""When nothing crosses the air, by plan and by chance: pure."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from simulations.radio.draws import exponential
from simulations.radio.profile import LinkProfile

_NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """From `start_s` until, but not including, `end_s`, in seconds since the schedule began."""

    start_s: float
    end_s: float


def periods(profile: LinkProfile) -> Iterator[Period]:
    """Times out of range in order, those that touch joined; endless when the profile loses range at random."""
    planned = sorted(Period(outage.start_s, outage.start_s + outage.duration_s) for outage in profile.outages)
    current: Period | None = None
    for period in heapq.merge(planned, _random_periods(profile)):
        if current is None or period.start_s > current.end_s:
            if current is not None:
                yield current
            current = period
        else:
            current = Period(current.start_s, max(current.end_s, period.end_s))
    if current is not None:
        yield current


def _random_periods(profile: LinkProfile) -> Iterator[Period]:
    if (loss := profile.range_loss) is None:
        return
    end = 0.0
    for number in itertools.count():
        start = end + exponential(loss.mean_in_s, profile.seed, "in range", number)
        end = start + exponential(loss.mean_out_s, profile.seed, "out of range", number)
        yield Period(start, end)


class OutageSchedule:
    """Whether a link is out of range, by the seconds since its schedule began.

    Cheapest when asked in the order of time; asked about an earlier time it starts over.
    """

    def __init__(self, profile: LinkProfile) -> None:
        self._profile = profile
        self._periods = periods(profile)
        self._earlier_end = 0.0
        self._current = self._next()

    def _next(self) -> Period:
        return next(self._periods, Period(_NEVER, _NEVER))

    def _seek(self, at_s: float) -> Period:
        """The first period that ends after `at_s`."""
        if at_s < self._earlier_end:
            self._periods = periods(self._profile)
            self._earlier_end = 0.0
            self._current = self._next()
        while self._current.end_s <= at_s:
            self._earlier_end = self._current.end_s
            self._current = self._next()
        return self._current

    def out(self, at_s: float) -> bool:
        """Whether nothing crosses at this time."""
        return self._seek(at_s).start_s <= at_s

    def next_change_s(self, at_s: float) -> float | None:
        """The first time after `at_s` at which `out` changes; None: never."""
        period = self._seek(at_s)
        change = period.start_s if at_s < period.start_s else period.end_s
        return None if change == _NEVER else change
