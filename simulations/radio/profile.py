"""What the emulated air does to a Bluetooth LE link, as one line of text: ``40kBps/30ms,latency=10ms,seed=7``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

from shared.errors import UsageError

_NUMBER: Final = r"\d+(?:\.\d+)?"
_SHAPE: Final = re.compile(
    rf"(?P<rate>{_NUMBER})\s*(?P<unit>k|M)?Bps\s*/\s*(?P<interval>{_NUMBER})\s*ms", re.IGNORECASE
)
_DURATION: Final = re.compile(rf"({_NUMBER})\s*(ms|s)", re.IGNORECASE)
_PERCENT: Final = re.compile(rf"({_NUMBER})\s*%")
_FACTORS: Final = {"": 1.0, "k": 1e3, "m": 1e6}
_HINT: Final = (
    'write it as "40kBps/30ms" (rate, then connection interval) or "unshaped", then conditions such as '
    '",latency=10ms,jitter=5ms,miss=3%,out=8s@5s,supervision=4s,seed=7"'
)

PROFILE_HELP: Final = (
    "RATE/INTERVAL, or 'unshaped', then conditions after commas: latency=10ms and jitter=5ms (until the receiving host "
    "has the data), miss=3%% (of the connection events), burst=4 (events missed in a row, on average), out=8s@5s (out "
    "of range for 8 s, 5 s after the first connection; repeatable), range=20s/3s (in and out of range at random, mean "
    "durations), supervision=4s, buffers=20 (of a controller), interval=free (the peripheral may have it changed), "
    "seed=7"
)
"""For `argparse`, which wants the per cent sign twice."""

MIN_INTERVAL_S: Final = 0.0075
MAX_INTERVAL_S: Final = 4.0
"""Connection intervals of the Bluetooth Core specification 5.4, Vol 6, Part B, 4.5.1."""
MIN_SUPERVISION_S: Final = 0.1
MAX_SUPERVISION_S: Final = 32.0
"""Supervision timeouts, ibid., 4.5.2."""
MIN_RATE: Final = 100.0
MAX_RATE: Final = 10e6
"""Rates the emulation accepts, in bytes a second; a real link on the 2M PHY carries about 175 kB/s."""
MAX_DELAY_S: Final = 2.0
"""Longest latency, and longest jitter."""
MAX_MISS: Final = 0.9
MAX_BURST: Final = 1000.0
MAX_BUFFERS: Final = 255
"""The count is one byte of HCI (Core 5.4, Vol 4, Part E, 7.8.2)."""
MIN_OUTAGE_S: Final = 0.01
MAX_OUTAGE_S: Final = 3600.0
MAX_OUTAGES: Final = 32
MAX_SEED: Final = 2**63 - 1
DEFAULT_SEED: Final = 1


@dataclass(frozen=True, slots=True)
class Outage:
    """A time during which nothing crosses the air.

    Attributes:
        start_s: seconds after the first connection.
        duration_s: how long it lasts.
    """

    start_s: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class RangeLoss:
    """The devices drift out of range and back, for exponentially distributed times.

    Attributes:
        mean_in_s: mean time in range.
        mean_out_s: mean time out of range.
    """

    mean_in_s: float
    mean_out_s: float


@dataclass(frozen=True, slots=True)
class LinkProfile:
    """Rate, interval and conditions of one link, the same in each direction.

    Written as ``RATE/INTERVAL`` or ``unshaped``, then terms after commas, in any order:

    =====================  ==========================================================================================
    ``latency=10ms``       from the connection event to the receiving host
    ``jitter=5ms``         added to it, uniform between 0 and this; never reorders
    ``miss=3%``            of the connection events: nothing crosses, the data waits (nothing is ever lost)
    ``burst=4``            mean number of events missed in a row (Gilbert-Elliott); without it, misses are independent
    ``out=8s@5s``          out of range for 8 s, 5 s after the first connection; may be repeated
    ``range=20s/3s``       out of range at random: mean time in range / out of range
    ``supervision=4s``     supervision timeout, whatever the central asks for
    ``buffers=20``         ACL buffers that a controller has
    ``interval=free``      devices may change the interval; otherwise requests that exclude the profile's are refused
    ``seed=7``             of all that is random
    =====================  ==========================================================================================

    `str` gives the text back that `parse` reads.

    Attributes:
        rate_bytes_per_s: bytes of ACL payload (L2CAP headers included) a second and direction; None: no limit.
        interval_s: seconds between connection events, where data leaves; None: at once.
        latency_s, jitter_s: see above, in seconds.
        miss: probability that a connection event is missed.
        burst: mean length of a run of missed events; None: that of independent misses, 1 / (1 - miss).
        outages: scheduled times out of range.
        range_loss: times out of range at random.
        supervision_s: supervision timeout in seconds; None: as the central asks.
        buffers: ACL buffers of a controller; None: two connection events' worth.
        interval_fixed: whether the interval stays whatever the devices ask for.
        seed: two runs with the same seed, connections and event numbers see the same.

    Raises:
        UsageError: a number is out of range, or two do not go together.
    """

    rate_bytes_per_s: float | None = None
    interval_s: float | None = None
    latency_s: float = 0.0
    jitter_s: float = 0.0
    miss: float = 0.0
    burst: float | None = None
    outages: tuple[Outage, ...] = ()
    range_loss: RangeLoss | None = None
    supervision_s: float | None = None
    buffers: int | None = None
    interval_fixed: bool = True
    seed: int = DEFAULT_SEED

    def __post_init__(self) -> None:
        if (self.rate_bytes_per_s is None) != (self.interval_s is None):
            raise UsageError("a link profile needs a rate and an interval, or neither", hint=_HINT)
        if self.rate_bytes_per_s is not None:
            _within("link rate", self.rate_bytes_per_s, MIN_RATE, MAX_RATE, "kBps", 1e-3)
        if self.interval_s is not None:
            _within("connection interval", self.interval_s, MIN_INTERVAL_S, MAX_INTERVAL_S, "ms", 1e3)
        _within("latency", self.latency_s, 0, MAX_DELAY_S, "ms", 1e3)
        _within("jitter", self.jitter_s, 0, MAX_DELAY_S, "ms", 1e3)
        self._check_misses()
        self._check_outages()
        if self.supervision_s is not None:
            _within("supervision timeout", self.supervision_s, MIN_SUPERVISION_S, MAX_SUPERVISION_S, "s")
            if self.interval_s is not None and self.supervision_s <= 2 * self.interval_s:
                raise UsageError(
                    f"supervision timeout {_duration(self.supervision_s)} is out of range",
                    hint=f"it must be longer than two connection intervals of {_duration(self.interval_s)}",
                )
        if self.buffers is not None:
            _within("number of buffers", self.buffers, 1, MAX_BUFFERS)
        _within("seed", self.seed, 0, MAX_SEED)

    def _check_misses(self) -> None:
        _within("share of missed events", self.miss, 0, MAX_MISS, "%", 100)
        if (self.miss or self.burst) and not self.shaped:
            raise UsageError("an unshaped link has no connection events to miss", hint="give it a rate and an interval")
        if self.burst is None:
            return
        if not self.miss:
            raise UsageError("bursts of missed events need a share of missed events", hint="add miss=3%, for example")
        # Shorter runs than chance makes would need an air that remembers its last miss and avoids the next.
        _within("mean burst of missed events", self.burst, 1 / (1 - self.miss), MAX_BURST)

    def _check_outages(self) -> None:
        if len(self.outages) > MAX_OUTAGES:
            raise UsageError(f"{len(self.outages)} scheduled outages are too many", hint=f"use at most {MAX_OUTAGES}")
        for outage in self.outages:
            _within("start of an outage", outage.start_s, 0, MAX_OUTAGE_S, "s")
            _within("duration of an outage", outage.duration_s, MIN_OUTAGE_S, MAX_OUTAGE_S, "s")
        if self.range_loss is not None:
            _within("mean time in range", self.range_loss.mean_in_s, MIN_OUTAGE_S, MAX_OUTAGE_S, "s")
            _within("mean time out of range", self.range_loss.mean_out_s, MIN_OUTAGE_S, MAX_OUTAGE_S, "s")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "40kBps/30ms", "25000Bps/7.5ms", "0.1MBps/15ms" or "unshaped", and the terms of the class's table.

        Raises:
            UsageError: the text is none of these, a term is unknown or repeated, or a number is out of range.
        """
        shape, *terms = (part.strip() for part in text.split(","))
        values: dict[str, Any] = {}
        if shape.lower() != "unshaped":
            match = _SHAPE.fullmatch(shape)
            if match is None:
                raise UsageError(f"link profile {text.strip()!r} is not understood", hint=_HINT)
            values["rate_bytes_per_s"] = float(match["rate"]) * _FACTORS[(match["unit"] or "").lower()]
            values["interval_s"] = float(match["interval"]) / 1000
        for term in terms:
            name, _, value = (part.strip() for part in term.partition("="))
            if name not in _TERMS:
                raise UsageError(f"{term!r} is not a condition of a link profile", hint=_HINT)
            field, read = _TERMS[name]
            try:
                parsed = read(value)
            except ValueError as error:
                raise UsageError(f"{term!r} in a link profile is not understood", hint=_HINT) from error
            if field == "outages":
                parsed = (*values.get(field, ()), parsed)
            elif field in values:
                raise UsageError(f"{name!r} is given twice in a link profile")
            values[field] = parsed
        return cls(**values)

    @property
    def shaped(self) -> bool:
        """Whether the link is slower than the machine."""
        return self.rate_bytes_per_s is not None

    @property
    def bytes_per_event(self) -> float:
        """Bytes that may leave in one direction at one connection event; infinity when unshaped."""
        if self.rate_bytes_per_s is None or self.interval_s is None:
            return float("inf")
        return self.rate_bytes_per_s * self.interval_s

    def grant_bytes(self, event: int) -> float:
        """Bytes that may leave at `event` unless it is missed, which `Conditions` know; the same for all."""
        return self.bytes_per_event

    @property
    def mean_burst(self) -> float:
        """Mean length of a run of missed events, when there are any."""
        return self.burst if self.burst is not None else 1 / (1 - self.miss)

    def __str__(self) -> str:
        if self.rate_bytes_per_s is None or self.interval_s is None:
            terms = ["unshaped"]
        else:
            terms = [f"{_number(self.rate_bytes_per_s / 1000)}kBps/{_number(self.interval_s * 1000)}ms"]
        if self.latency_s:
            terms.append(f"latency={_duration(self.latency_s)}")
        if self.jitter_s:
            terms.append(f"jitter={_duration(self.jitter_s)}")
        if self.miss:
            terms.append(f"miss={_number(self.miss * 100)}%")
        if self.burst is not None:
            terms.append(f"burst={_number(self.burst)}")
        terms += [f"out={_duration(outage.duration_s)}@{_duration(outage.start_s)}" for outage in self.outages]
        if self.range_loss is not None:
            terms.append(f"range={_duration(self.range_loss.mean_in_s)}/{_duration(self.range_loss.mean_out_s)}")
        if self.supervision_s is not None:
            terms.append(f"supervision={_duration(self.supervision_s)}")
        if self.buffers is not None:
            terms.append(f"buffers={self.buffers}")
        if not self.interval_fixed:
            terms.append("interval=free")
        if self.seed != DEFAULT_SEED:
            terms.append(f"seed={self.seed}")
        return ",".join(terms)


def _within(what: str, value: float, low: float, high: float, unit: str = "", factor: float = 1) -> None:
    if not low <= value <= high:  # refuses NaN, too
        space = "" if unit in ("", "%") else " "
        raise UsageError(
            f"{what} {value * factor:g}{space}{unit} is out of range",
            hint=f"use {low * factor:g} to {high * factor:g}{space}{unit}",
        )


def _number(value: float) -> str:
    # Enough to tell any two that a person writes apart; hides that 0.03 * 1000 is not quite 30; no exponent.
    return f"{value:.9f}".rstrip("0").rstrip(".")


def _duration(seconds: float) -> str:
    return f"{_number(seconds)}s" if seconds >= 1 or not seconds else f"{_number(seconds * 1000)}ms"


def _matched(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    match = pattern.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return match


def _seconds(text: str) -> float:
    match = _matched(_DURATION, text.strip())
    return float(match[1]) / (1000 if match[2].lower() == "ms" else 1)


def _share(text: str) -> float:
    return float(_matched(_PERCENT, text)[1]) / 100


def _whole(text: str) -> int:
    return int(_matched(re.compile(r"\d{1,19}"), text)[0])


def _real(text: str) -> float:
    return float(_matched(re.compile(_NUMBER), text)[0])


def _outage(text: str) -> Outage:
    duration, _, start = text.partition("@")
    return Outage(start_s=_seconds(start), duration_s=_seconds(duration))


def _range_loss(text: str) -> RangeLoss:
    inside, _, outside = text.partition("/")
    return RangeLoss(mean_in_s=_seconds(inside), mean_out_s=_seconds(outside))


def _fixed(text: str) -> bool:
    return _matched(re.compile("fixed|free"), text)[0] == "fixed"


_TERMS: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "latency": ("latency_s", _seconds),
    "jitter": ("jitter_s", _seconds),
    "miss": ("miss", _share),
    "burst": ("burst", _real),
    "out": ("outages", _outage),
    "range": ("range_loss", _range_loss),
    "supervision": ("supervision_s", _seconds),
    "buffers": ("buffers", _whole),
    "interval": ("interval_fixed", _fixed),
    "seed": ("seed", _whole),
}
