"""What the link measures: round trip, retransmission timeout, bulk window and goodput. Pure; times are seconds."""

from __future__ import annotations

from typing import Final

from shared import limits

MIN_TIMEOUT_S: Final = 0.2
"""Shortest retransmission timeout: two connection intervals of the slowest link planned for, twice over."""
MAX_TIMEOUT_S: Final = 2.0
INITIAL_TIMEOUT_S: Final = 1.0
"""Before the first measurement (RFC 6298, 2.1)."""


class RoundTrip:
    """Smoothed round trip and retransmission timeout after RFC 6298, with Karn's rule left to the caller."""

    def __init__(self) -> None:
        self._smoothed: float | None = None
        self._variation = 0.0
        self._backoff = 1

    @property
    def smoothed(self) -> float | None:
        """Seconds; None before the first sample."""
        return self._smoothed

    @property
    def timeout(self) -> float:
        """Seconds without progress after which the sender goes back."""
        measured = None if self._smoothed is None else max(MIN_TIMEOUT_S, self._smoothed + 4 * self._variation)
        return min(MAX_TIMEOUT_S, (measured or INITIAL_TIMEOUT_S) * self._backoff)

    def sample(self, seconds: float) -> None:
        """A fragment that was sent once was acknowledged after `seconds`."""
        if self._smoothed is None:
            self._smoothed, self._variation = seconds, seconds / 2
        else:
            self._variation += 0.25 * (abs(seconds - self._smoothed) - self._variation)
            self._smoothed += 0.125 * (seconds - self._smoothed)
        self._backoff = 1

    def timed_out(self) -> None:
        """Double the timeout until the next sample."""
        self._backoff = min(self._backoff * 2, 16)

    def progressed(self) -> None:
        """The peer answers: no reason to wait longer than measured."""
        self._backoff = 1


class DelayWindow:
    """Bulk fragments in flight, held so that they queue for about a connection interval and no longer.

    A control frame waits behind the bulk that the radio has already been given. A fixed window that fills a fast link
    makes it wait five intervals on a slow one, so the window follows the queueing delay as in LEDBAT (RFC 6817): it
    grows while the round trip is near the shortest one seen lately and shrinks when it exceeds that by `TARGET_S`, or
    by a quarter of it (half an interval of the usual two) on a link with longer intervals. With less, the link is not
    filled: acknowledgements come once an interval.
    """

    TARGET_S: Final = 0.020
    MINIMUM: Final = 4
    """Fewer would leave the receiver waiting for its acknowledgement timer."""
    _START: Final = 6.0
    _HISTORY_S: Final = 5.0

    def __init__(self) -> None:
        self._window = self._START
        self._starting = True  # the window still doubles every round trip
        self._shortest: float | None = None
        self._recent: float | None = None
        self._turned_at = 0.0

    @property
    def fragments(self) -> int:
        """Fragments that may be in flight, `MINIMUM`..`limits.WINDOW_FRAGMENTS`."""
        return int(self._window)

    def sample(self, seconds: float, fragments: int, now: float) -> None:
        """`fragments` were acknowledged; the newest of them took `seconds`."""
        # The shortest of this and the previous history period: old minima fade as the radio's interval changes.
        if now - self._turned_at >= self._HISTORY_S:
            self._shortest, self._recent, self._turned_at = self._recent, None, now
        self._recent = seconds if self._recent is None else min(self._recent, seconds)
        base = self._recent if self._shortest is None else min(self._shortest, self._recent)
        target = max(self.TARGET_S, 0.25 * base)
        off_target = (target - (seconds - base)) / target
        # Until a queue is first felt the window grows by what was acknowledged, so doubles in a round trip.
        self._starting = self._starting and off_target > 0.5
        step = float(fragments) if self._starting else max(-1.0, min(1.0, off_target)) * fragments / self._window
        self._window = max(float(self.MINIMUM), min(float(limits.WINDOW_FRAGMENTS), self._window + step))


class Goodput:
    """Acknowledged payload bytes a second, counted only while something was in flight."""

    _PERIOD_S: Final = 0.2
    _WEIGHT: Final = 0.3

    def __init__(self) -> None:
        self._rate: float | None = None
        self._bytes = 0
        self._busy_s = 0.0
        self._since: float | None = None

    @property
    def bytes_per_s(self) -> float | None:
        """Exponentially smoothed; None until 0.2 s of sending have been seen."""
        return self._rate

    def update(self, acknowledged: int, *, busy: bool, now: float) -> None:
        """Account for the time since the last call, in which `acknowledged` bytes were acknowledged."""
        if self._since is not None:
            self._busy_s += now - self._since
            self._bytes += acknowledged
        self._since = now if busy else None
        if self._busy_s >= self._PERIOD_S:
            rate = self._bytes / self._busy_s
            self._rate = rate if self._rate is None else self._rate + self._WEIGHT * (rate - self._rate)
            self._bytes, self._busy_s = 0, 0.0

    def pause(self) -> None:
        """The connection is gone: its silence is not slowness."""
        self._since = None


class ClockOffset:
    """The peer's clock against ours, from HELLO and its answer as in NTP (RFC 5905, section 8).

    The answer's time lies between our sending and our receiving, so the middle of these is off by at most half of the
    exchange. The best sample of the last minute counts: clocks drift by less than 0.1 ms a second apart.
    """

    _LIFE_S: Final = 60.0
    _DRIFT: Final = 1e-4

    def __init__(self) -> None:
        self._offset: float | None = None
        self._error = 0.0
        self._measured_at = 0.0

    @property
    def seconds(self) -> float | None:
        """The peer's clock minus ours; None before a measurement."""
        return self._offset

    @property
    def error(self) -> float | None:
        """Largest error of `seconds` when it was measured."""
        return None if self._offset is None else self._error

    def sample(self, *, sent: float, peer: float, received: float) -> None:
        """The peer's clock said `peer` between our `sent` and `received`; anything else is ignored."""
        error = (received - sent) / 2
        if error < 0:
            return
        age = received - self._measured_at
        if self._offset is None or age >= self._LIFE_S or error <= self._error + self._DRIFT * age:
            self._offset = peer - (sent + received) / 2
            self._error = error
            self._measured_at = received
