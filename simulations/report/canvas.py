"""What all charts share: axes, colours, marks, and the parts of one SVG picture.

A chart carries its own colours as attributes and needs no style sheet; `DARK_STYLE` turns the charts of a page dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

PALETTE: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
"""Told apart by people with any common colour vision (Okabe and Ito 2008), without the yellow; grey for the rest."""
DASHES: Final = ("", "6 4", "2 3", "8 3 2 3")
SHAPES: Final = 7
"""Marks that `Canvas.mark` knows: disc, square, triangle, diamond, triangle on its tip, cross, ring."""
INK: Final = "#333333"
GRID: Final = "#e4e4e4"
RULE: Final = "#888888"
PAPER: Final = "#ffffff"
_DARK: Final = {
    "#0072b2": "#4ba6e0",
    "#d55e00": "#f0883e",
    "#009e73": "#35c79b",
    "#cc79a7": "#e09cc4",
    "#e69f00": "#f0b93a",
    "#56b4e9": "#9ad4f7",
    "#555555": "#a9b1b8",
    INK: "#d6dce1",
    GRID: "#2f373e",
    RULE: "#8a949c",
    PAPER: "#14181c",
}
"""Each colour's stand-in on a dark page: lighter, the same hue."""
DARK_STYLE: Final = "".join(
    f'svg [{attribute}="{light}"]{{{attribute}:{dark}}}'
    for light, dark in _DARK.items()
    for attribute in ("fill", "stroke")
)
"""Rules for a style sheet, to stand within `@media (prefers-color-scheme: dark)`."""

LEFT: Final = 62
TOP: Final = 34
BOTTOM: Final = 48
RIGHT: Final = 26
_UNLABELLED: Final = 20
"""Of the left or the bottom margin, what an axis without a label does not need."""
LETTER: Final = 6.2
"""Width of a letter at 11 px, in pixels, for room only."""
_LEGEND_ROW: Final = 17
_TICKS: Final = 5
_TICK_DIGITS: Final = 6
"""Ticks are round, but may be close together and far from nought."""
_MOST_DECADES: Final = 6
"""Ticks of a logarithmic axis, at most."""
_ZERO_ROOM: Final = 0.09
"""Share of a logarithmic axis that is set aside for nought."""
_PREFIXES: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis.

    Attributes:
        label: what it shows, with its unit.
        low: value at its beginning.
        high: value at its end, above `low`.
        percent: whether values are shares, written as percentages.
        logarithmic: whether equal ratios take equal room; `low` is then above 0.
        unit: written behind each tick, with the prefix that keeps the number short; "" for plain numbers.
        zero: whether a logarithmic axis has a place of its own for nought, before its beginning.
    """

    label: str
    low: float
    high: float
    percent: bool = False
    logarithmic: bool = False
    unit: str = ""
    zero: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"an axis from {self.low} to {self.high}")
        if self.logarithmic and self.low <= 0:
            raise ValueError("a logarithmic axis begins above 0")

    def place(self, value: float) -> float:
        """Where a value lies, 0..1; values beyond an end lie at the end."""
        low, high = self.low, self.high
        if self.logarithmic and self.zero and value <= 0:
            return 0.0
        value = min(max(value, low), high)
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        share = (value - low) / (high - low)
        return _ZERO_ROOM + (1 - _ZERO_ROOM) * share if self.logarithmic and self.zero else share

    def ticks(self) -> list[float]:
        """Round values on the axis: multiples of 1, 2 or 5 times a power of ten; those powers where logarithmic."""
        if self.logarithmic:
            return [0.0, *self._decades()] if self.zero else self._decades()
        rough = (self.high - self.low) / _TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(digit * power for digit in (1, 2, 5, 10) if digit * power >= rough * (1 - 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]

    def _decades(self) -> list[float]:
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        if last > first:
            stride = math.ceil((last - first + 1) / _MOST_DECADES)
            return [10.0**power for power in range(first, last + 1, stride)]
        spread = [digit * 10.0**power for power in range(first - 1, last + 1) for digit in (1, 2, 5)]
        return [value for value in spread if self.low <= value <= self.high]

    def write(self, value: float) -> str:
        """A value as its tick says it."""
        if self.percent:
            return f"{round(100 * value, 6):g} %"
        if self.unit:
            return with_prefix(value, self.unit, digits=_TICK_DIGITS)
        if self.logarithmic or abs(value) < 10_000:
            return f"{round(value, 9):g}"
        return f"{value:,.0f}".replace(",", " ")


def with_prefix(value: float, unit: str, *, digits: int = 3) -> str:
    """A number of few digits with a prefix of its unit: 12 500 and "B" give "12.5 kB"."""
    size = abs(value)
    # What rounds up to the next prefix is written with it: "1 kB", not "1e+03 B".
    scale, prefix = next(
        ((scale, prefix) for scale, prefix in _PREFIXES if float(f"{size:.{digits}g}") >= scale), _PREFIXES[-1]
    )
    return f"{float(f'{value / scale:.{digits}g}'):g} {prefix}{unit}".rstrip()


def nice_axis(
    label: str,
    values: Sequence[float],
    *,
    percent: bool = False,
    unit: str = "",
    from_zero: bool = False,
    span: float = 30.0,
) -> Axis:
    """An axis around values: logarithmic where positive ones differ by more than a factor of `span`.

    Args:
        label: of the axis.
        values: to be shown; what is not finite is left out. None of them: an axis from 0 to 1.
        percent, unit: as `Axis`.
        from_zero: whether a linear axis begins at 0.
        span: ratio of largest and smallest positive value from which on the axis is logarithmic.
    """
    known = [value for value in values if math.isfinite(value)]
    positive = [value for value in known if value > 0]
    if not percent and positive and min(known) >= 0 and max(positive) > span * min(positive):
        low = 10 ** math.floor(math.log10(min(positive)) + 1e-9)
        high = max(positive) * 1.5
        return Axis(label, low, high, logarithmic=True, unit=unit, zero=min(known) == 0)
    if not known:
        return Axis(label, 0.0, 1.0, percent=percent, unit=unit)
    low, high = min(known), max(known)
    room = 0.08 * (high - low) or 0.05 * abs(high) or 0.5
    top, bottom = high + room, 0.0 if from_zero and low >= 0 else low - room
    if percent:
        bottom, top = max(0.0, bottom), min(1.0, top)
    return Axis(label, bottom, top, percent=percent, unit=unit)


class Canvas:
    """The parts of one chart, and where values lie on it.

    Args:
        title: above the chart.
        x, y: its axes; no `y` for rows of bars.
        width, height: in pixels, without the legend's rows.
        left: room before the y axis.
    """

    def __init__(self, title: str, x: Axis, y: Axis | None, width: int, height: int, *, left: int = LEFT) -> None:
        self._title, self._x_axis, self._y_axis = title, x, y
        self.width, self._height = width, height
        self.left, self.right = left, width - RIGHT
        if y is not None and not y.label:
            self.left -= _UNLABELLED
        self.floor = height - BOTTOM + (0 if x.label else _UNLABELLED)
        self._parts: list[str] = []

    def add(self, part: str) -> None:
        """Draw something of one's own."""
        self._parts.append(part)

    def x(self, value: float) -> float:
        """Pixels from the left of a value."""
        return self.left + self._x_axis.place(value) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Pixels from the top of a value."""
        assert self._y_axis is not None, "only bars have no y axis"
        return self.floor - self._y_axis.place(value) * (self.floor - TOP)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        anchor: str = "start",
        turned: bool = False,
        size: int = 11,
        colour: str = INK,
        halo: bool = False,
    ) -> None:
        """Write something; with a halo it stays legible on top of lines."""
        turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
        around = f' stroke="{PAPER}" stroke-width="3" stroke-linejoin="round" paint-order="stroke"' if halo else ""
        self.add(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"{around}{turn}>'
            f"{escape(text)}</text>"
        )

    def axes(self) -> None:
        """Title, grid, ticks and labels."""
        self.text(min(self.left, LEFT), 18, self._title, size=13)
        if self._x_axis.label:
            self.text((self.left + self.right) / 2, self.floor + 36, self._x_axis.label, anchor="middle")
        for tick in self._roomy(self._x_axis):
            x = self.x(tick)
            self.stroke(x, TOP, x, self.floor)
            self.text(x, self.floor + 16, self._x_axis.write(tick), anchor="middle")
        if self._y_axis is not None:
            if self._y_axis.label:
                self.text(14, (self.floor + TOP) / 2, self._y_axis.label, anchor="middle", turned=True)
            for tick in self._y_axis.ticks():
                y = self.y(tick)
                self.stroke(self.left, y, self.right, y)
                self.text(self.left - 6, y + 4, self._y_axis.write(tick), anchor="end")
        self.add(
            f'<path d="M{self.left} {TOP}V{self.floor}H{self.right}" fill="none" stroke="{INK}" stroke-width="1"/>'
        )

    def _roomy(self, axis: Axis) -> list[float]:
        """Ticks of the x axis whose texts do not touch; the first stays."""
        kept: list[float] = []
        end = -math.inf
        for tick in axis.ticks():
            half = (len(axis.write(tick)) * LETTER) / 2
            if self.x(tick) - half >= end:
                kept.append(tick)
                end = self.x(tick) + half + 4
        return kept

    def stroke(self, x1: float, y1: float, x2: float, y2: float, *, colour: str = GRID, dashes: str = "") -> None:
        """A thin straight line."""
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self.add(f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{colour}" stroke-width="1"{dashed}/>')

    def mark(self, x: float, y: float, colour: int, shape: int = 0, *, title: str = "") -> None:
        """A mark at a place in pixels."""
        self.add(mark(x, y, colour, shape, title=title))

    def whisker(self, interval: tuple[float, float], at: float, *, lying: bool, colour: str = INK) -> None:
        """An interval of values, `at` pixels from the top (lying) or from the left."""
        if lying:
            low, high = self.x(interval[0]), self.x(interval[1])
            path = f"M{low:.1f} {at - 3:.1f}v6M{low:.1f} {at:.1f}H{high:.1f}M{high:.1f} {at - 3:.1f}v6"
        else:
            low, high = self.y(interval[0]), self.y(interval[1])
            path = f"M{at - 3:.1f} {low:.1f}h6M{at:.1f} {low:.1f}V{high:.1f}M{at - 3:.1f} {high:.1f}h6"
        self.add(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.1"/>')

    def rule(self, value: float, label: str, *, upright: bool) -> None:
        """A dashed line across the chart; nothing where it would lie outside."""
        axis = self._x_axis if upright else self._y_axis
        if axis is None or not axis.low <= value <= axis.high:
            return
        if upright:
            x = self.x(value)
            self.stroke(x, TOP, x, self.floor, colour=RULE, dashes=DASHES[2])
            self.text(x + 4, TOP + 10, label, size=10)
        else:
            y = self.y(value)
            self.stroke(self.left, y, self.right, y, colour=RULE, dashes=DASHES[2])
            self.text(self.left + 5, y - 4, label, size=10)

    def finish(self, entries: Sequence[tuple[str, int, int | None, int]]) -> str:
        """The chart with its legend below; an entry has a name, a colour, dashes (None for a mark) and a shape."""
        x, y = float(min(self.left, LEFT)), float(self._height + 4)
        for name, colour, dashes, shape in entries:
            need = 34 + len(name) * LETTER
            if x > LEFT and x + need > self.width:
                x, y = float(min(self.left, LEFT)), y + _LEGEND_ROW
            if dashes is None:
                self.mark(x + 10, y, colour, shape)
            else:
                dashed = f' stroke-dasharray="{DASHES[dashes]}"' if dashes else ""
                self.add(f'<path d="M{x:.1f} {y:.1f}h20" stroke="{colour_of(colour)}" stroke-width="2.2"{dashed}/>')
            self.text(x + 25, y + 4, name)
            x += need + 8
        height = round(y + 12) if entries else self._height
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{height}" '
            f'viewBox="0 0 {self.width} {height}" role="img" aria-label="{escape(self._title)}">'
            f"{''.join(self._parts)}</svg>"
        )


def colour_of(number: int) -> str:
    """A colour of the palette, counted round."""
    return PALETTE[number % len(PALETTE)]


def mark(x: float, y: float, colour: int, shape: int = 0, *, title: str = "") -> str:
    """A mark as an SVG element, 9 pixels wide.

    Args:
        x, y: its middle, pixels.
        colour: index into `PALETTE`.
        shape: 0 to `SHAPES` - 1, counted round.
        title: shown when pointed at.
    """
    paint = f'fill="{colour_of(colour)}" stroke="{PAPER}"'
    end = f"><title>{escape(title)}</title>" if title else ">"
    match shape % SHAPES:
        case 0:
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" {paint}{end}</circle>'
        case 1:
            path = f"M{x - 4:.1f} {y - 4:.1f}h8v8h-8z"
        case 2:
            path = f"M{x:.1f} {y - 5:.1f}l5 9h-10z"
        case 3:
            path = f"M{x:.1f} {y - 5.5:.1f}l5.5 5.5l-5.5 5.5l-5.5 -5.5z"
        case 4:
            path = f"M{x:.1f} {y + 5:.1f}l5 -9h-10z"
        case 5:
            path = f"M{x - 1.6:.1f} {y - 5:.1f}h3.2v3.4h3.4v3.2h-3.4v3.4h-3.2v-3.4h-3.4v-3.2h3.4z"
        case _:
            ring = f'fill="{PAPER}" stroke="{colour_of(colour)}" stroke-width="2.4"'
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.6" {ring}{end}</circle>'
    return f'<path d="{path}" {paint}{end}</path>'
