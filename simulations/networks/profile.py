"""A network as one line of text: ``lte:11/30Mbps,rtt=50ms,fade=120s/4s@10%,out=900s/10s,fail=0.4%,seed=7``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

from phone.cascade.inputs import NetworkKind
from shared.errors import UsageError
from simulations.energy.radio import RadioKind

_NUMBER: Final = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_RATES: Final = re.compile(rf"({_NUMBER})/({_NUMBER})Mbps", re.IGNORECASE)
_DURATION: Final = re.compile(rf"({_NUMBER})(ms|s)", re.IGNORECASE)
_PERCENT: Final = re.compile(rf"({_NUMBER})%")
_PAIR: Final = re.compile(rf"({_NUMBER})s/({_NUMBER})s(?:@({_NUMBER})%)?")
_PRICE: Final = re.compile(rf"({_NUMBER})/MB", re.IGNORECASE)
_HINT: Final = 'write it as "lte:11/30Mbps,rtt=50ms,fail=0.4%", "offline" or the name of a preset such as "train"'
_BYTES_PER_MEGABIT: Final = 125_000.0

MAX_RATE_MBPS: Final = 100_000.0
MAX_RTT_S: Final = 30.0
MAX_SIGMA: Final = 3.0
MAX_PERIOD_S: Final = 86_400.0
MAX_SEED: Final = 2**63 - 1
DEFAULT_SEED: Final = 1


class Access(StrEnum):
    """How the phone reaches the internet."""

    WIFI = "wifi"
    LTE = "lte"
    LTE_WEAK = "lte-weak"
    FIVE_G = "5g"
    MMWAVE = "5g-mmwave"
    CAPTIVE = "captive"
    """Wi-Fi on which a portal answers in place of the internet."""
    OFFLINE = "offline"

    @property
    def radio(self) -> RadioKind | None:
        """Which radio carries it; None offline."""
        if self is Access.OFFLINE:
            return None
        return RadioKind.WIFI if self is Access.CAPTIVE else RadioKind(self.value)

    @property
    def kind(self) -> NetworkKind:
        """What the phone calls it."""
        match self:
            case Access.OFFLINE:
                return NetworkKind.NONE
            case Access.CAPTIVE:
                return NetworkKind.CAPTIVE
            case Access.WIFI:
                return NetworkKind.WIFI
            case _:
                return NetworkKind.CELLULAR


@dataclass(frozen=True, slots=True)
class OnOff:
    """Two states that follow each other for exponentially distributed times.

    Attributes:
        good_s: mean time in the good one, in which a run begins.
        bad_s: mean time in the bad one.
    """

    good_s: float
    bad_s: float


@dataclass(frozen=True, slots=True)
class NetworkProfile:
    """One network.

    Written as ``ACCESS:UP/DOWNMbps`` and terms after commas, in any order; ``offline`` stands alone:

    ====================  ===========================================================================================
    ``rtt=50ms``          median round trip
    ``jitter=0.35``       standard deviation of the logarithm of a call's round trip
    ``spread=0.5``        the same of its rate
    ``fade=120s/4s@10%``  Gilbert-Elliott: mean time in the good and the bad state, and the rate left in the bad one
    ``out=900s/10s``      coverage: mean time with and without it; nothing crosses without
    ``fail=0.4%``         share of calls that break off
    ``price=0.01/MB``     a metered network and its price in EUR
    ``seed=7``            of all that is random
    ====================  ===========================================================================================

    `str` gives the text back that `parse` reads.

    Attributes:
        access: technology.
        up_bytes_per_s, down_bytes_per_s: median rates; 0 offline.
        rtt_s, rtt_sigma, rate_sigma, fail: see above.
        fade: good and bad state; None for none.
        faded_share: rate in the bad state as a share of that in the good one.
        coverage: None for always.
        price_per_mb: EUR; None when bytes are free.
        seed: of the coverage and of the draws.

    Raises:
        UsageError: a number is out of range.
    """

    access: Access
    up_bytes_per_s: float = 0.0
    down_bytes_per_s: float = 0.0
    rtt_s: float = 0.0
    rtt_sigma: float = 0.0
    rate_sigma: float = 0.0
    fade: OnOff | None = None
    faded_share: float = 1.0
    coverage: OnOff | None = None
    fail: float = 0.0
    price_per_mb: float | None = None
    seed: int = DEFAULT_SEED

    def __post_init__(self) -> None:
        if self.access is Access.OFFLINE:
            if self.up_bytes_per_s or self.down_bytes_per_s:
                raise UsageError("nothing crosses an offline network", hint=_HINT)
        else:
            for rate in (self.up_bytes_per_s, self.down_bytes_per_s):
                _within("network rate", rate / _BYTES_PER_MEGABIT, 1e-6, MAX_RATE_MBPS)
        _within("round trip", self.rtt_s, 0, MAX_RTT_S)
        _within("jitter", self.rtt_sigma, 0, MAX_SIGMA)
        _within("spread", self.rate_sigma, 0, MAX_SIGMA)
        _within("share of failing calls", self.fail, 0, 1)
        _within("rate in the bad state", self.faded_share, 1e-6, 1)
        for period in (self.fade, self.coverage):
            if period is not None:
                _within("mean time in the good state", period.good_s, 1e-3, MAX_PERIOD_S)
                _within("mean time in the bad state", period.bad_s, 1e-3, MAX_PERIOD_S)
        if self.price_per_mb is not None:
            _within("price", self.price_per_mb, 0, 1000)
        _within("seed", self.seed, 0, MAX_SEED)

    @property
    def metered(self) -> bool:
        """Whether bytes cost money."""
        return self.price_per_mb is not None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text of one network.

        Raises:
            UsageError: it is none, a term is unknown or repeated, or a number is out of range.
        """
        head, *terms = (part.strip() for part in text.split(","))
        name, _, rates = (part.strip() for part in head.partition(":"))
        try:
            values: dict[str, Any] = {"access": Access(name.lower())}
        except ValueError:
            raise UsageError(f"network {text.strip()!r} is not understood", hint=_HINT) from None
        if rates:
            match = _RATES.fullmatch(rates)
            if match is None:
                raise UsageError(f"rates {rates!r} of a network are not understood", hint=_HINT)
            values["up_bytes_per_s"] = float(match[1]) * _BYTES_PER_MEGABIT
            values["down_bytes_per_s"] = float(match[2]) * _BYTES_PER_MEGABIT
        for term in terms:
            key, _, value = (part.strip() for part in term.partition("="))
            if key not in _TERMS:
                raise UsageError(f"{term!r} is not a term of a network", hint=_HINT)
            try:
                read = _TERMS[key](value)
            except ValueError as error:
                raise UsageError(f"{term!r} of a network is not understood", hint=_HINT) from error
            if values.keys() & read.keys():
                raise UsageError(f"{key!r} is given twice for a network")
            values |= read
        return cls(**values)

    def __str__(self) -> str:
        terms = [str(self.access)]
        if self.access is not Access.OFFLINE:
            up, down = self.up_bytes_per_s / _BYTES_PER_MEGABIT, self.down_bytes_per_s / _BYTES_PER_MEGABIT
            terms[0] += f":{_text(up)}/{_text(down)}Mbps"
        if self.rtt_s:
            terms.append(f"rtt={_text(self.rtt_s * 1000)}ms")
        if self.rtt_sigma:
            terms.append(f"jitter={_text(self.rtt_sigma)}")
        if self.rate_sigma:
            terms.append(f"spread={_text(self.rate_sigma)}")
        if self.fade is not None:
            share = _text(self.faded_share * 100)
            terms.append(f"fade={_text(self.fade.good_s)}s/{_text(self.fade.bad_s)}s@{share}%")
        if self.coverage is not None:
            terms.append(f"out={_text(self.coverage.good_s)}s/{_text(self.coverage.bad_s)}s")
        if self.fail:
            terms.append(f"fail={_text(self.fail * 100)}%")
        if self.price_per_mb is not None:
            terms.append(f"price={_text(self.price_per_mb)}/MB")
        if self.seed != DEFAULT_SEED:
            terms.append(f"seed={self.seed}")
        return ",".join(terms)


def _within(what: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # refuses NaN, too
        raise UsageError(f"{what} {value:g} of a network is out of range", hint=f"use {low:g} to {high:g}")


def _text(value: float) -> str:
    # Hides that 0.05 * 1000 is not quite 50; presets have no more digits than this keeps.
    return f"{value:.9g}"


def _number(text: str) -> float:
    if re.fullmatch(_NUMBER, text) is None:
        raise ValueError(text)
    return float(text)


def _matched(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    match = pattern.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return match


def _seconds(text: str) -> float:
    match = _matched(_DURATION, text)
    return float(match[1]) / (1000 if match[2].lower() == "ms" else 1)


def _fade(text: str) -> dict[str, Any]:
    match = _matched(_PAIR, text)
    if match[3] is None:
        raise ValueError(text)
    return {"fade": OnOff(float(match[1]), float(match[2])), "faded_share": float(match[3]) / 100}


def _coverage(text: str) -> dict[str, Any]:
    match = _matched(_PAIR, text)
    if match[3] is not None:
        raise ValueError(text)
    return {"coverage": OnOff(float(match[1]), float(match[2]))}


def _seed(text: str) -> dict[str, Any]:
    return {"seed": int(_matched(re.compile(r"\d{1,19}"), text)[0])}


_TERMS: Final[dict[str, Callable[[str], dict[str, Any]]]] = {
    "rtt": lambda text: {"rtt_s": _seconds(text)},
    "jitter": lambda text: {"rtt_sigma": _number(text)},
    "spread": lambda text: {"rate_sigma": _number(text)},
    "fade": _fade,
    "out": _coverage,
    "fail": lambda text: {"fail": float(_matched(_PERCENT, text)[1]) / 100},
    "price": lambda text: {"price_per_mb": float(_matched(_PRICE, text)[1])},
    "seed": _seed,
}


def rounded(value: float) -> float:
    """A number that `str` and `parse` give back: six digits."""
    return 0.0 if value == 0 else round(value, 5 - math.floor(math.log10(abs(value))))
