"""The outcomes a report shows: their names in the results, in words, and how their numbers are written."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from simulations.report.canvas import with_prefix
from simulations.sweep.document import Run

_DECIMALS: Final = 6
"""Of every value; nothing that is shown is smaller."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One outcome of a run.

    Attributes:
        keys: in `results.json`; several are added up.
        title: in words.
        short: heading of a column.
        unit: behind a number with a prefix; "%" for a share, "h" and "s" for times; "" for a plain number.
        more_is_better: which end is the good one.
        lead: what the design that is ahead has; empty for a measure nobody is ahead in.
    """

    keys: tuple[str, ...]
    title: str
    short: str
    unit: str
    more_is_better: bool
    lead: str = ""

    def of(self, run: Run) -> float | None:
        """Its value in a run; None where it has none."""
        values = [run.get(key) for key in self.keys]
        known = [value for value in values if value is not None]
        # A difference of large sums may leave a billionth of a joule, which would stretch a logarithmic axis.
        return round(math.fsum(known), _DECIMALS) if len(known) == len(values) else None

    @property
    def percent(self) -> bool:
        """Whether it is a share."""
        return self.unit == "%"

    def write(self, value: float | None) -> str:
        """A value as a table has it; an en dash for none."""
        if value is None or not math.isfinite(value):
            return "–"
        return _WRITERS.get(self.unit, _plain)(value)

    def write_range(self, low: float, high: float) -> str:
        """From one value to another; a unit that both have is written once."""
        first, last = self.write(low), self.write(high)
        number, _, unit = first.rpartition(" ")
        return f"{number or first}–{last}" if number and last.endswith(f" {unit}") else f"{first}–{last}"

    def with_unit(self, value: float | None) -> str:
        """A value that stands alone."""
        text = self.write(value)
        return f"{text} h" if self.unit == "h" and text != "–" else text


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _hours(value: float) -> str:
    return f"{value:.1f}"


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value >= 10 else f"{value:.2f} s"


def _prefixed(unit: str) -> Callable[[float], str]:
    """Three digits, with a prefix of the unit."""

    def write(value: float) -> str:
        number, _, prefixed = with_prefix(value, unit).partition(" ")
        digits = 2 - math.floor(math.log10(abs(float(number)))) if float(number) else 0
        return f"{float(number):.{max(digits, 0)}f} {prefixed}"

    return write


def _plain(value: float) -> str:
    """About three digits, thousands set apart."""
    if abs(value) >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}".replace(",", " ")
    return f"{float(f'{value:.3g}'):g}"


_WRITERS: Final[dict[str, Callable[[float], str]]] = {
    "%": _share,
    "h": _hours,
    "s": _seconds,
    "B": _prefixed("B"),
    "J": _prefixed("J"),
}

QUALITY: Final = Measure(
    ("right_in_view_share",), "signs right while in view", "right in view", "%", True, "most signs right while in view"
)
FINALLY: Final = Measure(("right_final_share",), "signs right in the end, late ones too", "right in the end", "%", True)
FIRST_P50: Final = Measure(
    ("first_s_p50",), "first answer, median", "first answer p50", "s", False, "quickest first answer (median)"
)
FIRST_P95: Final = Measure(("first_s_p95",), "first answer, 95th percentile", "first answer p95", "s", False)
PHONE_JOULES: Final = Measure(("phone_total_joules",), "phone energy a day", "phone a day", "J", False)
ADDED_JOULES: Final = Measure(
    ("phone_added_joules",),
    "phone energy a day for Wayword",
    "Wayword's part",
    "J",
    False,
    "least phone energy for Wayword",
)
PHONE_HOURS: Final = Measure(("phone_hours",), "phone battery life, hours in use", "phone lasts, h", "h", True)
GLASSES_JOULES: Final = Measure(
    ("glasses_total_joules",), "glasses energy a day", "glasses a day", "J", False, "least glasses energy"
)
GLASSES_HOURS: Final = Measure(("glasses_hours",), "glasses battery life, hours in use", "glasses last, h", "h", True)
UP_BYTES: Final = Measure(
    ("bytes_out",), "bytes that leave the phone a day", "sent a day", "B", False, "fewest bytes leave the phone"
)
PICTURES: Final = Measure(
    ("strips_out", "frames_out"),
    "pictures that leave the phone a day",
    "pictures a day",
    "",
    False,
    "fewest pictures leave the phone",
)
PRIVATE: Final = Measure(("private_out",), "private signs shown in them a day", "private signs a day", "", False)
ESCALATED: Final = Measure(("escalated_share",), "share of strips escalated to the cloud", "escalated", "%", False)
COST: Final = Measure(("cost_eur",), "price of the traffic a day, EUR", "EUR a day", "", False)

TABLE: Final = (
    QUALITY, FINALLY, FIRST_P50, FIRST_P95, PHONE_JOULES, ADDED_JOULES, PHONE_HOURS, GLASSES_JOULES, GLASSES_HOURS,
    UP_BYTES, PICTURES, PRIVATE, ESCALATED, COST,
)  # fmt: skip
"""Columns of the table of designs; those that no run has are left out."""
CONTESTED: Final = (QUALITY, FIRST_P50, ADDED_JOULES, GLASSES_JOULES, UP_BYTES, PICTURES)
"""What designs are compared by, network by network."""

DESIGN_TITLES: Final = {
    "glasses": "all on glasses",
    "phone": "all on phone",
    "cloud-video": "all in cloud (video)",
    "cloud-stills": "all in cloud (stills)",
    "split": "split",
    "hybrid": "hybrid cascade",
    "table": "table only",
}
DESIGN_WORDS: Final = {
    "glasses": "the glasses find, read and translate; nothing is sent",
    "phone": "glasses find and cut, the phone reads and translates; no cloud",
    "cloud-video": "the glasses stream video over Wi-Fi, the phone passes it on, the cloud does the rest",
    "cloud-stills": "the glasses send one compressed picture a look, the cloud does the rest",
    "split": "glasses find and cut, the phone passes every strip on, the cloud reads",
    "hybrid": "the product: the phone reads, and asks the cloud where the cascade expects it to help",
    "table": "the phone's tiny recogniser and the phrasebook, no translator, no cloud",
}
"""What each design does, for readers of the page."""
