"""What happens at each connection event of one connection: pure, and addressed by event number.

The air asks as time passes, a virtual-time simulator as its own clock says; both get the same answers.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Final, Self

from simulations.radio.draws import uniform
from simulations.radio.profile import LinkProfile

_ROUNDING: Final = 1e-6  # of an interval: an event whose time has come up to a rounding error has passed


class Direction(enum.Enum):
    """Which way data crosses; the value is its index among the random draws."""

    TO_PERIPHERAL = 0
    TO_CENTRAL = 1


@dataclass(frozen=True, slots=True)
class Decision:
    """What one connection event does for one direction.

    Attributes:
        grant_bytes: bytes of ACL payload that may cross; infinity on an unshaped link.
        missed: whether the event is lost to interference; then nothing crosses, either way.
        delay_s: seconds from the event until the receiving host has what crossed.
    """

    grant_bytes: float
    missed: bool
    delay_s: float


class Conditions:
    """The conditions of one connection under a profile.

    Misses follow a Gilbert-Elliott chain (E. N. Gilbert, Capacity of a burst-noise channel, 1960) whose bad state loses
    every event: it is left with probability 1 / burst and entered so that the share of bad events is `miss`. The state
    at an event depends on that of the one before only where the event's own draw allows either; so it is found by
    looking back to the last event whose draw did not, on average at most one burst away, and events that nobody asked
    about change nothing.

    Args:
        profile: rate, interval, misses, delays and seed.
        connection: number of the connection, so that each sees draws of its own.
        interval_s: connection interval in force; None: the profile's.
    """

    def __init__(self, profile: LinkProfile, *, connection: int = 0, interval_s: float | None = None) -> None:
        self.profile = profile
        self._connection = connection
        interval = profile.interval_s if interval_s is None else interval_s
        rate = profile.rate_bytes_per_s
        self._grant = math.inf if rate is None or interval is None else rate * interval
        self._enter = profile.miss / (profile.mean_burst * (1 - profile.miss))
        self._stay = 1 - 1 / profile.mean_burst
        self._known: tuple[int, bool] = (0, False)  # the latest event asked about, which the next question is near

    @property
    def shaped(self) -> bool:
        """Whether data waits for connection events."""
        return not math.isinf(self._grant)

    def missed(self, event: int) -> bool:
        """Whether connection event number `event` (1, 2, ...) is lost to interference."""
        if not self.profile.miss:
            return False
        number = event
        while True:
            draw = uniform(self.profile.seed, "miss", self._connection, number)
            if number <= 1:
                bad = draw < self.profile.miss
            elif draw < self._enter:  # bad, whatever came before
                bad = True
            elif draw >= self._stay:  # good, whatever came before
                bad = False
            else:
                number -= 1
                if number != self._known[0]:
                    continue
                bad = self._known[1]
            self._known = (event, bad)
            return bad

    def grant_bytes(self, event: int) -> float:
        """Bytes of ACL payload that may cross at `event`, in each direction."""
        return 0.0 if self.missed(event) else self._grant

    def delay_s(self, event: int, direction: Direction) -> float:
        """Seconds between `event` and the receiving host; whoever delivers keeps the order (`DelayLine`)."""
        delay = self.profile.latency_s
        if self.profile.jitter_s:
            draw = uniform(self.profile.seed, "jitter", self._connection, event, direction.value)
            delay += draw * self.profile.jitter_s
        return delay

    def at(self, event: int, direction: Direction) -> Decision:
        """All about `event` for one direction."""
        missed = self.missed(event)
        return Decision(0.0 if missed else self._grant, missed, self.delay_s(event, direction))


@dataclass(frozen=True, slots=True)
class EventClock:
    """When the connection events of one connection are.

    The grid is absolute: an event that is served late does not make the next ones late.

    Attributes:
        anchor_s: time of event number `first`.
        interval_s: seconds between events; None on an unshaped link, whose events have no times.
        first: number of the event at the anchor.
    """

    anchor_s: float
    interval_s: float | None
    first: int = 0

    def passed(self, now_s: float) -> int:
        """Number of the last event that has passed."""
        if self.interval_s is None:
            return self.first
        return self.first + math.floor((now_s - self.anchor_s) / self.interval_s + _ROUNDING)

    def time_s(self, event: int) -> float:
        """When `event` is; at once on an unshaped link."""
        return self.anchor_s + (event - self.first) * (self.interval_s or 0.0)

    def changed(self, now_s: float, interval_s: float | None) -> Self:
        """The same events up to now, and the next ones `interval_s` apart."""
        return type(self)(now_s, interval_s, self.passed(now_s))
