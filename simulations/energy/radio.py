"""What the phone's radio to the internet costs: waking, bytes, and the tail that follows every transfer. Pure.

A radio sleeps, wakes (`wake`), is on the air (`active`), stays awake for a while behind the last byte because more may
come (`tails`), and sleeps again. A short request costs mostly its wake and its tail, so a second one within the tail is
cheap: that is what batching saves. The shape is that of J. Huang et al., MobiSys 2012; the power of a transfer is
``active_watts`` plus energy per byte, which is their ``alpha * throughput + beta``.

Transfers may be told in any order within the last `MAX_OPEN` of them; the joules do not depend on the order, nor on how
a transfer is cut into adjoining pieces.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from shared.errors import InputError
from simulations.energy.constants import Constants

MAX_OPEN: Final = 256
"""Busy times kept apart; the oldest of more is settled, and nothing earlier may be told afterwards."""


class RadioKind(StrEnum):
    """Technologies."""

    WIFI = "wifi"
    LTE = "lte"
    LTE_WEAK = "lte-weak"
    """LTE at the edge of the cell: more joules a byte."""
    FIVE_G = "5g"
    """Non-standalone, low or middle band."""
    MMWAVE = "5g-mmwave"


class RadioState(StrEnum):
    """What the radio does."""

    IDLE = "idle"
    WAKE = "wake"
    ACTIVE = "active"
    TAIL = "tail"


@dataclass(frozen=True, slots=True)
class Tail:
    """A phase behind the last byte.

    Attributes:
        seconds: length.
        watts: power in it.
    """

    seconds: float
    watts: float


@dataclass(frozen=True, slots=True)
class RadioModel:
    """Powers of one technology.

    Attributes:
        kind: which.
        wake_seconds, wake_watts: from sleep to the first byte.
        active_watts: on the air, without the bytes.
        up_joules_per_byte, down_joules_per_byte: on top of it.
        tails: phases behind the last byte, in order.
        idle_watts: asleep.
    """

    kind: RadioKind
    wake_seconds: float
    wake_watts: float
    active_watts: float
    up_joules_per_byte: float
    down_joules_per_byte: float
    tails: tuple[Tail, ...]
    idle_watts: float

    @property
    def tail_seconds(self) -> float:
        """How long the radio stays awake behind the last byte."""
        return math.fsum(tail.seconds for tail in self.tails)

    def tail_joules(self, seconds: float) -> float:
        """Energy of the first `seconds` of the tail."""
        joules = 0.0
        for tail in self.tails:
            joules += min(max(seconds, 0.0), tail.seconds) * tail.watts
            seconds -= tail.seconds
        return joules

    def cold_joules(self, seconds: float, bytes_up: int, bytes_down: int) -> float:
        """Energy, above idle, of one transfer that wakes the radio and after which nothing follows."""
        awake = self.wake_seconds + seconds + self.tail_seconds
        return (
            self.wake_seconds * self.wake_watts
            + seconds * self.active_watts
            + bytes_up * self.up_joules_per_byte
            + bytes_down * self.down_joules_per_byte
            + self.tail_joules(self.tail_seconds)
            - awake * self.idle_watts
        )


def radio_model(kind: RadioKind, constants: Constants) -> RadioModel:
    """The model of one technology with these constants."""
    if kind is RadioKind.WIFI:
        return RadioModel(
            kind=kind,
            wake_seconds=constants["wifi.wake_seconds"],
            wake_watts=constants["wifi.wake_watts"],
            active_watts=constants["wifi.active_watts"],
            up_joules_per_byte=constants["wifi.up_nanojoules_per_byte"] * 1e-9,
            down_joules_per_byte=constants["wifi.down_nanojoules_per_byte"] * 1e-9,
            tails=(Tail(constants["wifi.tail_seconds"], constants["wifi.tail_watts"]),),
            idle_watts=constants["wifi.idle_watts"],
        )
    if kind in (RadioKind.LTE, RadioKind.LTE_WEAK):
        factor = constants["lte.weak_factor"] if kind is RadioKind.LTE_WEAK else 1.0
        return RadioModel(
            kind=kind,
            wake_seconds=constants["lte.wake_seconds"],
            wake_watts=constants["lte.wake_watts"],
            active_watts=constants["lte.active_watts"],
            up_joules_per_byte=constants["lte.up_nanojoules_per_byte"] * 1e-9 * factor,
            down_joules_per_byte=constants["lte.down_nanojoules_per_byte"] * 1e-9 * factor,
            tails=(
                Tail(constants["lte.reception_seconds"], constants["lte.active_watts"]),
                Tail(constants["lte.tail_seconds"], constants["lte.tail_watts"]),
            ),
            idle_watts=constants["lte.idle_watts"],
        )
    name = "mmwave" if kind is RadioKind.MMWAVE else "5g"
    return RadioModel(
        kind=kind,
        wake_seconds=constants["5g.wake_seconds"],
        wake_watts=constants[f"{name}.wake_watts"],
        active_watts=constants[f"{name}.active_watts"],
        up_joules_per_byte=constants[f"{name}.up_nanojoules_per_byte"] * 1e-9,
        down_joules_per_byte=constants[f"{name}.down_nanojoules_per_byte"] * 1e-9,
        tails=(
            Tail(constants["lte.reception_seconds"], constants[f"{name}.active_watts"]),
            Tail(constants["5g.tail_seconds"], constants[f"{name}.tail_watts"]),
        ),
        idle_watts=constants["5g.idle_watts"],
    )


@dataclass(frozen=True, slots=True)
class RadioSummary:
    """A radio's account.

    Attributes:
        seconds: time in each state.
        joules: all of it, sleep included.
        above_idle: joules that sleeping all the time would not have cost: what the traffic cost.
        wakes: how often it woke.
        bytes_up, bytes_down: carried.
    """

    seconds: dict[RadioState, float]
    joules: float
    above_idle: float
    wakes: int
    bytes_up: int
    bytes_down: int


@dataclass(slots=True)
class _Account:
    seconds: dict[RadioState, float] = field(default_factory=lambda: dict.fromkeys(RadioState, 0.0))
    tail_joules: float = 0.0
    wakes: int = 0


class PhoneRadio:
    """One radio over a run.

    Args:
        model: its powers.
        start_s: when the account begins; the radio sleeps then.
    """

    def __init__(self, model: RadioModel, start_s: float = 0.0) -> None:
        self.model = model
        self._settled = _Account()
        self._end = start_s  # of what is settled: the end of its last busy time
        self._slept = True  # whether nothing was ever on the air before `_end`
        self._starts: list[float] = []  # busy times that are not settled, apart and in order
        self._ends: list[float] = []
        self._up = 0
        self._down = 0

    def wake_delay_s(self, at_s: float) -> float:
        """Seconds from `at_s` until a byte can cross: none while the radio is awake."""
        return self.model.wake_seconds if self.state(at_s) is RadioState.IDLE else 0.0

    def open_s(self, at_s: float) -> float:
        """How long, from `at_s`, the radio stays awake if nothing else is sent; 0 when it sleeps."""
        end = self._last_end(at_s)
        return 0.0 if end is None else max(0.0, end + self.model.tail_seconds - at_s)

    def state(self, at_s: float) -> RadioState:
        """What it does at this time, as far as has been told."""
        end = self._last_end(at_s)
        if end is None or at_s >= end + self.model.tail_seconds:
            return RadioState.IDLE
        return RadioState.ACTIVE if at_s < end else RadioState.TAIL

    def transfer(self, start_s: float, seconds: float, bytes_up: int = 0, bytes_down: int = 0) -> None:
        """Something was on the air, from `start_s` for `seconds`; times that overlap count once, bytes always.

        Whoever sends waits for `wake_delay_s` first: the wake is counted just before `start_s`.

        Raises:
            InputError: a number is not finite or negative, or the transfer is from a time that is settled.
        """
        if not (math.isfinite(start_s) and 0 <= seconds < math.inf) or bytes_up < 0 or bytes_down < 0:
            raise InputError(f"no transfer: {bytes_up} and {bytes_down} bytes, {seconds} s from {start_s} s")
        if start_s < self._end:
            raise InputError(
                f"a transfer at {start_s} s comes too late: the radio's account is settled to {self._end} s"
            )
        self._up += bytes_up
        self._down += bytes_down
        end_s = start_s + seconds
        first = bisect.bisect_left(self._ends, start_s)
        last = bisect.bisect_right(self._starts, end_s)
        if first < last:  # those it touches become one with it
            start_s = min(start_s, self._starts[first])
            end_s = max(end_s, self._ends[last - 1])
        self._starts[first:last] = [start_s]
        self._ends[first:last] = [end_s]
        while len(self._starts) > MAX_OPEN:
            begin, end = self._starts.pop(0), self._ends.pop(0)
            _add_gap(self._settled, self.model, self._slept, begin - self._end)
            self._settled.seconds[RadioState.ACTIVE] += end - begin
            self._end, self._slept = end, False

    def send(self, wanted_s: float, seconds: float, bytes_up: int = 0, bytes_down: int = 0) -> float:
        """Wake if need be, then transfer.

        Returns:
            When the last byte has crossed.

        Raises:
            InputError: as `transfer`.
        """
        start_s = wanted_s + self.wake_delay_s(wanted_s)
        self.transfer(start_s, seconds, bytes_up, bytes_down)
        return start_s + seconds

    def summary(self, until_s: float) -> RadioSummary:
        """The account up to `until_s`, or to the end of the last transfer if that is later."""
        account = _Account(dict(self._settled.seconds), self._settled.tail_joules, self._settled.wakes)
        previous, slept = self._end, self._slept
        for begin, end in zip(self._starts, self._ends, strict=True):
            _add_gap(account, self.model, slept, begin - previous)
            account.seconds[RadioState.ACTIVE] += end - begin
            previous, slept = end, False
        _add_rest(account, self.model, slept, max(0.0, until_s - previous))
        seconds = account.seconds
        joules = (
            seconds[RadioState.IDLE] * self.model.idle_watts
            + seconds[RadioState.WAKE] * self.model.wake_watts
            + seconds[RadioState.ACTIVE] * self.model.active_watts
            + account.tail_joules
            + self._up * self.model.up_joules_per_byte
            + self._down * self.model.down_joules_per_byte
        )
        asleep = math.fsum(seconds.values()) * self.model.idle_watts
        return RadioSummary(seconds, joules, joules - asleep, account.wakes, self._up, self._down)

    def _last_end(self, at_s: float) -> float | None:
        """End of the latest busy time that began by `at_s`; None: there was none."""
        index = bisect.bisect_right(self._starts, at_s) - 1
        if index >= 0:
            return self._ends[index]
        return None if self._slept else self._end


def _add_gap(account: _Account, model: RadioModel, slept: bool, seconds: float) -> None:
    """The time between two busy times, or before the first."""
    tail = 0.0 if slept else model.tail_seconds
    if not slept and seconds <= tail:
        _add_rest(account, model, slept, seconds)
        return
    # A sender that did not wait for the wake has had a shorter one.
    wake = min(model.wake_seconds, seconds - tail)
    _add_rest(account, model, slept, seconds - wake)
    account.seconds[RadioState.WAKE] += wake
    account.wakes += 1


def _add_rest(account: _Account, model: RadioModel, slept: bool, seconds: float) -> None:
    """Tail, then sleep."""
    tail = 0.0 if slept else min(seconds, model.tail_seconds)
    account.seconds[RadioState.TAIL] += tail
    account.tail_joules += model.tail_joules(tail)
    account.seconds[RadioState.IDLE] += seconds - tail


class PhoneRadios:
    """A phone's radios: one for each technology that a run uses.

    Args:
        constants: of the run.
        start_s: when the account begins.
    """

    def __init__(self, constants: Constants, start_s: float = 0.0) -> None:
        self._constants = constants
        self._start = start_s
        self._radios: dict[RadioKind, PhoneRadio] = {}

    def radio(self, kind: RadioKind) -> PhoneRadio:
        """The radio of one technology."""
        if kind not in self._radios:
            self._radios[kind] = PhoneRadio(radio_model(kind, self._constants), self._start)
        return self._radios[kind]

    def joules(self, until_s: float) -> float:
        """What the traffic of all of them has cost, above idle."""
        return math.fsum(summary.above_idle for summary in self.summaries(until_s).values())

    def summaries(self, until_s: float) -> dict[RadioKind, RadioSummary]:
        """The account of each technology used, in a fixed order."""
        return {kind: self._radios[kind].summary(until_s) for kind in RadioKind if kind in self._radios}
