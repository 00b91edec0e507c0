"""How much bulk the Bluetooth controller is given ahead of each connection event. Pure; times are seconds.

A controller sends in the order it was given, so a control value waits behind all the bulk given before it; yet an event
that finds too little to send is wasted. Data leaves only at connection events, `interval` apart, so the queue needs to
be full only just before each. Hence:

1. The *target* is what should be pending when an event comes: it grows after an event that emptied the queue although
   more bulk waited, and shrinks when more than a packet or two is left behind.
2. After an event bulk is given only up to the target less a *reserve*; the rest follows a *guard* before the next one
   is expected. A control value handed in between finds the reserve free and leaves with the next event. The guard
   widens when an event came before the queue was topped up, and narrows while that does not happen.
3. Completions are reported late by whatever the machine was busy with, never early: the events' times follow the
   earliest reports. Without a known interval the whole target is given at once.

Packets are those of the link layer, 251 bytes at most.
"""

from __future__ import annotations

import math
from typing import Final

FIRST_GUARD: Final = 0.3
"""Guard at first, as a share of the interval; `MIN_GUARD`..1 later."""
MIN_GUARD: Final = 0.2
MIN_GUARD_S: Final = 0.004
"""Nor less than this: a timer, and two tasks that wake one another."""
RESERVE_PACKETS: Final = 3
"""Room for a fragment that straddles the limit, and a control value."""
FIRST_TARGET: Final = 4
MAX_TARGET: Final = 64
_FRAGMENT_PACKETS: Final = 2
_SLACK_PACKETS: Final = 3  # a fragment is two packets: less left behind than that is no sign of too much
_WIDEN: Final = 0.1
_NARROW: Final = 0.001  # so about one event in a hundred is missed for want of a guard
_DRIFT: Final = 0.05  # share of a late report that is believed to be the clocks' drift
_FORGET_INTERVALS: Final = 100.0  # clocks drift: after so many events unseen their time is no longer known


class EventPacer:
    """Decides when the next bulk value may be given to the controller.

    Args:
        interval: connection interval; None where it is unknown.
    """

    def __init__(self, interval: float | None) -> None:
        self._interval = interval
        self._target = float(FIRST_TARGET)
        self._event_at: float | None = None
        self._guard = FIRST_GUARD
        self._full = False  # the target was reached since the last event
        self._reserved = False  # bulk waits for the guard

    @property
    def target(self) -> int:
        """Packets that should be pending when an event comes."""
        return int(self._target)

    def set_interval(self, interval: float | None) -> None:
        """The connection interval changed."""
        if interval != self._interval:
            self._interval = interval
            self._event_at = None

    def completed(self, now: float, *, pending: int) -> None:
        """The controller reported packets as sent; `pending` are left."""
        expected = self._next_event(now)
        if expected is not None and self._interval is not None and self._event_at is not None:
            before = expected - self._interval  # the last event that should have happened
            if before <= self._event_at and now - self._event_at < self._interval / 2:
                return  # more of the same event
            early = expected - now < self._interval / 4
            self._event_at = now if early else before + _DRIFT * (now - before)
        else:
            self._event_at = now
        if pending == 0:
            if self._full:
                self._target += max(1.0, self._target / 4)
            elif self._reserved:
                self._guard = min(1.0, self._guard + _WIDEN)
        else:
            if pending > _SLACK_PACKETS:
                self._target -= (pending - _SLACK_PACKETS) / 2
            self._guard = max(MIN_GUARD, self._guard - _NARROW)
        self._target = min(float(MAX_TARGET), max(1.0, self._target))
        self._full = self._reserved = False

    def bulk_at(self, now: float, *, pending: int) -> float:
        """When the next bulk value may be written; `now` for at once, infinity for after the next completion.

        Args:
            now: current time.
            pending: packets the controller has not reported as sent.
        """
        if pending >= self.target:
            self._full = True
            return math.inf
        next_event = self._next_event(now)
        # A fragment is always given at once: an event that carries little must not depend on a timer for all of it.
        early = max(_FRAGMENT_PACKETS, self.target - RESERVE_PACKETS)
        if next_event is None or self._interval is None or pending < early:
            return now
        turn = next_event - max(MIN_GUARD_S, self._guard * self._interval)
        self._reserved = self._reserved or turn > now
        return max(now, turn)

    def _next_event(self, now: float) -> float | None:
        if self._interval is None or self._event_at is None:
            return None
        passed = (now - self._event_at) / self._interval
        if passed > _FORGET_INTERVALS:
            return None
        return self._event_at + (math.floor(passed) + 1) * self._interval
