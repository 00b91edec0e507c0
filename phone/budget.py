"""The time by which the day's budget is counted: it passes evenly, whatever is done to the wall clock.

The budget is what may leave in any 24 hours. By the wall clock alone it would be filled anew by whoever sets the clock
forward, a network's wrong time included. So rows carry a *budget time* of their own:

- while the daemon runs it advances with the time since boot, which nobody sets; wall-clock jumps do nothing;
- at a start it goes on from the wall clock, or from the newest row where that is later: a clock that was set back, or
  that knows no date before the network tells, makes time stand still for the budget until it has caught up.

What is left: a clock that is wrong by a day *at a start* fills the budget once, for nothing tells it from a phone that
was off for a day.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

DAY_S: Final = 86_400.0


def seconds_since_boot() -> float:
    """Seconds since the machine started, those asleep included where the system counts them."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class BudgetTime:
    """Seconds on a scale that resembles the wall clock's, and never goes back or leaps.

    Args:
        wall: the wall clock now.
        newest: budget time of the newest row; None where there is none.
        elapsed: seconds since some start, such as `seconds_since_boot`.
    """

    def __init__(self, *, wall: float, newest: float | None, elapsed: Callable[[], float]) -> None:
        self._elapsed = elapsed
        self._start = (wall if newest is None else max(wall, newest)) - elapsed()

    def now(self) -> float:
        """The budget time now."""
        return self._start + self._elapsed()
