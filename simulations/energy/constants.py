"""Constants that carry their source and their uncertainty, and sets of their values.

Nothing about energy, networks and people in the simulator is a bare number: it is a `Constant` that says where it is
from and how far it may be off. A sweep draws each anew within its range and reports which of them matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Self

from shared.errors import InputError, UsageError


class Standing(StrEnum):
    """How far a figure has been checked."""

    CHECKED = "checked"
    """Read in the source named, or read off its published data; bounds that go beyond it are explained."""
    CITED = "cited"
    """As literature gives it; quoted from memory, and not looked up again for this table."""
    ASSUMED = "assumed"
    """No source that fits: a guess, with a range as wide as the doubt."""


class Spread(StrEnum):
    """How values between the bounds are drawn."""

    LOG_UNIFORM = "log-uniform"
    """Each factor is as likely as any other: for powers, rates and times, which are known to a factor."""
    TRIANGULAR = "triangular"
    """Most likely the nominal value, least likely the bounds: for shares, and for figures known to some per cent."""


@dataclass(frozen=True, slots=True)
class Constant:
    """One uncertain quantity.

    Attributes:
        name: dotted, such as "lte.tail_watts"; the first part is the subject.
        value: nominal.
        unit: of all three numbers; "1" for a share or a factor.
        low, high: bounds of what is believed possible.
        source: author, year and place, or why there is none.
        standing: how far it has been checked.
        note: what the reader should know besides.
        spread: how values are drawn.

    Raises:
        ValueError: the bounds do not enclose the value, or a log-uniform one is not positive.
    """

    name: str
    value: float
    unit: str
    low: float
    high: float
    source: str
    standing: Standing = Standing.ASSUMED
    note: str = ""
    spread: Spread = Spread.LOG_UNIFORM

    def __post_init__(self) -> None:
        if not (self.low <= self.value <= self.high and math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError(f"{self.name}: {self.value} is not between {self.low} and {self.high}")
        if self.spread is Spread.LOG_UNIFORM and self.low <= 0:
            raise ValueError(f"{self.name}: a log-uniform constant is positive")

    def quantile(self, share: float) -> float:
        """The value below which `share` (0..1) of the draws lie."""
        if self.low == self.high:
            return self.value
        if self.spread is Spread.LOG_UNIFORM:
            value = self.low * math.exp(share * math.log(self.high / self.low))
        else:
            peak = (self.value - self.low) / (self.high - self.low)
            width = self.high - self.low
            if share < peak:
                value = self.low + width * math.sqrt(share * peak)
            else:
                value = self.high - width * math.sqrt((1 - share) * (1 - peak))
        return min(max(value, self.low), self.high)  # rounding must not leave the range


@dataclass(frozen=True, slots=True)
class Constants:
    """One value for each constant, by name.

    Attributes:
        values: read-only.
    """

    values: Mapping[str, float]

    @classmethod
    def of(cls, values: Mapping[str, float]) -> Self:
        """A set that nobody can change any more."""
        return cls(MappingProxyType(dict(values)))

    def __getitem__(self, name: str) -> float:
        """Value of one constant.

        Raises:
            UsageError: there is no such constant.
        """
        try:
            return self.values[name]
        except KeyError:
            raise UsageError(f"there is no constant {name!r}", hint="wayword-sim constants lists them") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def __len__(self) -> int:
        return len(self.values)

    def replaced(self, name: str, value: float) -> Constants:
        """The same with one value changed, for a study of what matters.

        Raises:
            UsageError: there is no such constant.
            InputError: the value is not finite.
        """
        self[name]
        if not math.isfinite(value):
            raise InputError(f"{name} cannot be {value}")
        return Constants.of({**self.values, name: value})


def table(*constants: Constant) -> Mapping[str, Constant]:
    """Constants by name.

    Raises:
        ValueError: two have the same name.
    """
    return joined([{constant.name: constant} for constant in constants])


def joined(tables: Iterable[Mapping[str, Constant]]) -> Mapping[str, Constant]:
    """Several tables as one.

    Raises:
        ValueError: two constants have the same name.
    """
    whole: dict[str, Constant] = {}
    for part in tables:
        for name, constant in part.items():
            if name in whole:
                raise ValueError(f"two constants are called {name}")
            whole[name] = constant
    return MappingProxyType(whole)
