"""One phone's way to one cloud over one network: how long a request and its reply take, or how they fail. Pure.

A leg is half a round trip plus the time its bytes take at the rate of the moment. TCP's slow start is counted: a
connection that was quiet begins with ten segments and doubles them every round trip (RFC 6928; RFC 5681, 4.1), so a
strip of a few kilobytes leaves at once, and a picture of 200 kB waits for some round trips even on a fast network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import Final

from phone.cascade.inputs import NetworkKind
from shared.errors import InputError
from simulations.energy.radio import RadioKind
from simulations.networks.onoff import TwoStates
from simulations.networks.profile import Access, NetworkProfile
from simulations.radio.draws import uniform

INITIAL_WINDOW_BYTES: Final = 14_600
"""Ten segments of 1,460 bytes (RFC 6928)."""
SETUP_ROUND_TRIPS: Final = 2
"""TCP (RFC 9293) and TLS 1.3 (RFC 8446) before the first byte of a new connection."""
NOTICE_S: Final = 2.0
"""How long a phone shows bars after its coverage is gone; an assumption."""
NO_ROUTE_S: Final = 0.001
"""Until the phone's own kernel says that there is no network."""
MAX_LEG_S: Final = 3600.0
"""A leg that takes longer is never done."""

_NORMAL: Final = NormalDist()


class Failure(StrEnum):
    """Why there is no answer."""

    NO_NETWORK = "no network"
    """Known at once."""
    CAPTIVE = "captive portal"
    """A stranger answers; known after the handshake."""
    RESET = "connection reset"
    """Breaks off on the way."""
    TIMEOUT = "timeout"
    """The caller gave up; known when it does."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One direction of a call.

    Attributes:
        seconds: from its begin until the last byte has arrived, or until the failure is noticed.
        air_start_s: when the radio begins to carry it.
        air_seconds: how long the radio is busy with it.
        bytes: that were on the air.
        failure: None when it arrived.
    """

    seconds: float
    air_start_s: float
    air_seconds: float
    bytes: int
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """A whole call.

    Attributes:
        seconds: from its begin until the answer, or until the failure is noticed.
        request: the way there.
        reply: the way back; None when it came to none.
        failure: None when there is an answer.
    """

    seconds: float
    request: Leg
    reply: Leg | None
    failure: Failure | None

    @property
    def bytes_up(self) -> int:
        """Sent, whether or not they arrived."""
        return self.request.bytes

    @property
    def bytes_down(self) -> int:
        """Received."""
        return 0 if self.reply is None else self.reply.bytes


class NetworkPath:
    """A network over a run. The same profile, seed and order of calls give the same times.

    Coverage and fades depend on the time alone; a call's round trip, rate and fate on its number.

    Args:
        profile: of the network.
        seed: of the run; the profile's own seed is mixed in.

    Attributes:
        fade, coverage: when it is faded, and when nothing crosses: their bad states.
    """

    def __init__(self, profile: NetworkProfile, seed: int = 0) -> None:
        self.profile = profile
        # Mixed, so that Wi-Fi and LTE of one run are not gone at the same times.
        access = list(Access).index(profile.access)
        mixed = int(uniform(seed, "path", profile.seed, access) * 2**53)
        self._seed = mixed
        self.fade = TwoStates(profile.fade, mixed, "fade")
        self.coverage = TwoStates(profile.coverage, mixed, "coverage")
        self._calls = 0

    @property
    def radio(self) -> RadioKind | None:
        """Which radio carries it; None offline."""
        return self.profile.access.radio

    def kind(self, at_s: float) -> NetworkKind:
        """What the phone takes the network for: lost coverage is noticed after `NOTICE_S`."""
        if self.coverage.bad(at_s) and at_s - self.coverage.began_s(at_s) >= NOTICE_S:
            return NetworkKind.NONE
        return self.profile.access.kind

    def covered(self, at_s: float) -> bool:
        """Whether anything reaches the cloud; behind a captive portal nothing does."""
        return self.profile.access not in (Access.OFFLINE, Access.CAPTIVE) and not self.coverage.bad(at_s)

    def next_call(self) -> int:
        """Number of a new call, for `request` and `reply`."""
        self._calls += 1
        return self._calls

    def round_trip_s(self, call: int) -> float:
        """Of one call, without its bytes."""
        return self.profile.rtt_s * math.exp(self.profile.rtt_sigma * self._normal("rtt", call))

    def request(self, at_s: float, count: int, call: int, *, fresh: bool = False) -> Leg:
        """The way to the cloud.

        Args:
            at_s: when it begins; the radio is awake.
            count: bytes.
            call: from `next_call`.
            fresh: whether a connection must be set up first.

        Raises:
            InputError: the time is not finite, or the count negative.
        """
        _check(at_s, count)
        if self.kind(at_s) is NetworkKind.NONE:
            return Leg(NO_ROUTE_S, at_s, 0.0, 0, Failure.NO_NETWORK)
        round_trip = self.round_trip_s(call)
        if self.profile.access is Access.CAPTIVE:
            # Its certificate is not the cloud's, so nothing but the handshake is ever sent.
            seconds = SETUP_ROUND_TRIPS * round_trip
            return Leg(seconds, at_s, seconds, 0, Failure.CAPTIVE)
        setup = SETUP_ROUND_TRIPS * round_trip if fresh else 0.0
        return self._leg(at_s, count, call, round_trip, setup, self.profile.up_bytes_per_s)

    def reply(self, at_s: float, count: int, call: int) -> Leg:
        """The way back, of a call whose request arrived.

        Args:
            at_s: when the cloud sends it.
            count: bytes.
            call: the request's.

        Raises:
            InputError: as `request`.
        """
        _check(at_s, count)
        round_trip = self.round_trip_s(call)
        return self._leg(at_s, count, call, round_trip, 0.0, self.profile.down_bytes_per_s, down=True)

    def call(
        self,
        at_s: float,
        bytes_up: int,
        server_s: float,
        bytes_down: int,
        *,
        timeout_s: float = math.inf,
        fresh: bool = False,
    ) -> Exchange:
        """A whole call, with the cloud's time known beforehand.

        Raises:
            InputError: a number is negative or not finite.
        """
        if not 0 <= server_s < math.inf or not timeout_s > 0:
            raise InputError(f"no call takes the cloud {server_s} s with a deadline of {timeout_s} s")
        number = self.next_call()
        request = self.request(at_s, bytes_up, number, fresh=fresh)
        if request.failure is not None or request.seconds >= timeout_s:
            return _failed(request, None, request.seconds, request.failure, timeout_s)
        answered = request.seconds + server_s
        if answered >= timeout_s:
            return Exchange(timeout_s, request, None, Failure.TIMEOUT)
        reply = self.reply(at_s + answered, bytes_down, number)
        total = answered + reply.seconds
        if reply.failure is not None or total >= timeout_s:
            return _failed(request, reply, total, reply.failure, timeout_s)
        return Exchange(total, request, reply, None)

    def _leg(
        self, at_s: float, count: int, call: int, round_trip: float, setup: float, median: float, *, down: bool = False
    ) -> Leg:
        rate = median * math.exp(self.profile.rate_sigma * self._normal("down" if down else "up", call))
        waits = setup + _slow_start_s(count, rate, round_trip)
        # Half of the failures befall the way back.
        fails = uniform(self._seed, "fail", call, int(down)) < 1 - math.sqrt(1 - self.profile.fail)
        share = uniform(self._seed, "break", call, int(down)) if fails else 1.0
        begin = self._covered_from(at_s)
        crossed = self._crossed_s(begin + waits, count * share, rate)
        arrived = crossed + round_trip / 2
        if arrived - at_s > MAX_LEG_S:
            return Leg(MAX_LEG_S, begin, 0.0, 0, Failure.TIMEOUT)
        failure = Failure.RESET if fails else None
        # What comes down is on this phone's air at the end of its way. Waits for acknowledgements count as on the air:
        # they are shorter than the time for which a radio goes on receiving behind a packet.
        start = begin + (round_trip / 2 if down else 0.0)
        return Leg(arrived - at_s, start, crossed - begin, round(count * share), failure)

    def _covered_from(self, at_s: float) -> float:
        return self.coverage.next_change_s(at_s) if self.coverage.bad(at_s) else at_s

    def _crossed_s(self, at_s: float, count: float, rate: float) -> float:
        """When `count` bytes have crossed, through fades and dead spots."""
        limit = at_s + MAX_LEG_S
        while count > 0 and at_s <= limit:
            change = min(self.coverage.next_change_s(at_s), self.fade.next_change_s(at_s))
            if self.coverage.bad(at_s):
                at_s = self.coverage.next_change_s(at_s)
                continue
            now = rate * (self.profile.faded_share if self.fade.bad(at_s) else 1.0)
            needed = count / now
            if at_s + needed <= change:
                return at_s + needed
            count -= (change - at_s) * now
            at_s = change
        return at_s if count <= 0 else math.inf

    def _normal(self, subject: str, call: int) -> float:
        # The open interval: a quantile of 0 has no end.
        share = min(max(uniform(self._seed, subject, call), 1e-12), 1 - 1e-12)
        return _NORMAL.inv_cdf(share)


def _slow_start_s(count: int, rate: float, round_trip: float) -> float:
    """Time spent waiting for acknowledgements before the rate is reached."""
    waits, window, left = 0.0, float(INITIAL_WINDOW_BYTES), float(count)
    while left > window and window < rate * round_trip:
        waits += round_trip - window / rate
        left -= window
        window *= 2
    return waits


def _failed(request: Leg, reply: Leg | None, seconds: float, failure: Failure | None, timeout_s: float) -> Exchange:
    if failure is None or seconds >= timeout_s:
        return Exchange(timeout_s, request, reply, Failure.TIMEOUT)
    return Exchange(seconds, request, reply, failure)


def _check(at_s: float, count: int) -> None:
    if not math.isfinite(at_s) or at_s < 0 or count < 0:
        raise InputError(f"no {count} bytes can leave at {at_s} s")
