"""Charts as SVG, out of nothing but the standard library: lines with bands, dots with error bars, bars, histograms.

Equal arguments give equal bytes, so that a report can be compared by its hash. A chart carries its own colours as
attributes and needs no style sheet; text takes the font of the page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from simulations.report.canvas import (
    BOTTOM,
    DASHES,
    INK,
    LEFT,
    LETTER,
    PALETTE,
    RULE,
    TOP,
    Axis,
    Canvas,
    colour_of,
)
from simulations.report.labels import Box, place_labels

__all__ = [
    "DASHES",
    "PALETTE",
    "Axis",
    "Bar",
    "Dot",
    "Line",
    "Rule",
    "Swing",
    "bar_chart",
    "histogram",
    "line_chart",
    "scatter_chart",
    "swing_chart",
]


@dataclass(frozen=True, slots=True)
class Line:
    """A polyline.

    Attributes:
        name: for the legend.
        points: (x, y), in the order they are joined.
        band: (x, low, high) of the interval drawn around it; empty for none.
        dashes: index into `DASHES`.
        marks: whether each point is marked.
        colour: index into `PALETTE`; None for the place among the lines.
    """

    name: str
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float, float]] = ()
    dashes: int = 0
    marks: bool = False
    colour: int | None = None


@dataclass(frozen=True, slots=True)
class Dot:
    """A single point.

    Attributes:
        name: for the legend; dots of one name share a colour and one entry. Empty for no entry.
        x, y: where it is.
        x_interval, y_interval: error bars; None for none.
        label: written beside it, where it covers least.
        colour: index into `PALETTE`; None for the place among the names.
        shape: of its mark, as `canvas.mark` counts them.
    """

    name: str
    x: float
    y: float
    x_interval: tuple[float, float] | None = None
    y_interval: tuple[float, float] | None = None
    label: str = ""
    colour: int | None = None
    shape: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """A straight line across the whole chart.

    Attributes:
        value: on the axis it crosses.
        label: written along it.
        upright: whether it stands at an x; else it lies at a y.
    """

    value: float
    label: str
    upright: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar.

    Attributes:
        name: of the bar.
        value: where it ends; it begins at 0, or at the end of the axis that is nearest to 0.
        interval: error bar; None for none.
        colour: index into `PALETTE`.
    """

    name: str
    value: float
    interval: tuple[float, float] | None = None
    colour: int = 0


@dataclass(frozen=True, slots=True)
class Swing:
    """What one input does to an outcome when it goes to its bounds.

    Attributes:
        name: of the input.
        low, high: the outcome with the input at its lower and its upper bound.
        note: written behind the name, such as the bounds.
    """

    name: str
    low: float
    high: float
    note: str = ""


def line_chart(
    title: str,
    x: Axis,
    y: Axis,
    lines: Sequence[Line],
    *,
    dots: Sequence[Dot] = (),
    rules: Sequence[Rule] = (),
    width: int = 520,
    height: int = 360,
    legend: bool = True,
) -> str:
    """Lines, with dots on top.

    Args:
        title: above the chart.
        x, y: its axes.
        lines: the first lies undermost.
        dots: single points.
        rules: lines across the chart.
        width, height: in pixels, without the legend's rows.
        legend: whether names are listed below.
    """
    canvas = Canvas(title, x, y, width, height)
    canvas.axes()
    for rule in rules:
        canvas.rule(rule.value, rule.label, upright=rule.upright)
    colours = [number if line.colour is None else line.colour for number, line in enumerate(lines)]
    for line, colour in zip(lines, colours, strict=True):
        _band(canvas, line, colour)
    for line, colour in zip(lines, colours, strict=True):
        _line(canvas, line, colour)
    entries: list[tuple[str, int, int | None, int]] = [
        (line.name, colour, line.dashes, 0) for line, colour in zip(lines, colours, strict=True)
    ]
    # The first dot of a name gives all of them their colour.
    named: dict[str, tuple[int, int]] = {}
    for dot in dots:
        named.setdefault(dot.name, (len(lines) + len(named) if dot.colour is None else dot.colour, dot.shape))
    _dots(canvas, dots, [named[dot.name][0] if dot.name or dot.colour is None else dot.colour for dot in dots])
    entries += [(name, colour, None, shape) for name, (colour, shape) in named.items() if name]
    return canvas.finish(entries if legend else [])


def scatter_chart(
    title: str,
    x: Axis,
    y: Axis,
    dots: Sequence[Dot],
    *,
    rules: Sequence[Rule] = (),
    width: int = 520,
    height: int = 360,
    legend: bool = True,
) -> str:
    """Dots with error bars; see `line_chart`."""
    return line_chart(title, x, y, (), dots=dots, rules=rules, width=width, height=height, legend=legend)


def bar_chart(title: str, x: Axis, bars: Sequence[Bar], *, rules: Sequence[Rule] = (), width: int = 520) -> str:
    """Lying bars, one below the other, each with its name before it.

    Args:
        title: above the chart.
        x: axis of the values.
        bars: from top to bottom.
        rules: upright lines across the chart.
        width: in pixels.
    """
    row = 22
    room = round(max((len(bar.name) for bar in bars), default=0) * LETTER) + 16
    canvas = Canvas(title, x, None, width, TOP + BOTTOM + row * max(len(bars), 1), left=max(room, LEFT))
    canvas.axes()
    base = min(max(0.0, x.low), x.high)
    for number, bar in enumerate(bars):
        top = TOP + number * row + 4
        start, end = sorted((canvas.x(base), canvas.x(bar.value)))
        canvas.text(canvas.left - 6, top + 11, bar.name, anchor="end")
        canvas.add(
            f'<rect x="{start:.1f}" y="{top}" width="{max(end - start, 0.5):.1f}" height="{row - 8}" '
            f'fill="{colour_of(bar.colour)}"><title>{escape(bar.name)}: {escape(x.write(bar.value))}</title></rect>'
        )
        if bar.interval is not None:
            canvas.whisker(bar.interval, top + (row - 8) / 2, lying=True)
    for rule in rules:
        canvas.rule(rule.value, rule.label, upright=True)
    return canvas.finish([])


def swing_chart(title: str, x: Axis, nominal: float, swings: Sequence[Swing], *, width: int = 360) -> str:
    """A tornado: for each input a bar from the outcome at its lower bound to that at its upper, its name above it.

    Args:
        title: above the chart.
        x: axis of the outcome.
        nominal: the outcome with every input at its nominal value.
        swings: from top to bottom.
        width: in pixels.
    """
    row = 30
    canvas = Canvas(title, x, None, width, TOP + BOTTOM + row * max(len(swings), 1), left=12)
    canvas.axes()
    middle = canvas.x(nominal)
    for number, swing in enumerate(swings):
        top = TOP + number * row + 2
        canvas.text(canvas.left + 4, top + 10, f"{swing.name}  {swing.note}".rstrip(), size=10)
        for value, colour, end in ((swing.low, 5, "lower"), (swing.high, 0, "upper")):
            start, stop = sorted((middle, canvas.x(value)))
            text = f"{swing.name} at its {end} bound: {x.write(float(f'{value:.3g}'))}"
            canvas.add(
                f'<rect x="{start:.1f}" y="{top + (14 if end == "lower" else 19):.1f}" '
                f'width="{max(stop - start, 0.8):.1f}" height="5" fill="{colour_of(colour)}">'
                f"<title>{escape(text)}</title></rect>"
            )
        canvas.stroke(middle, top + 13, middle, top + 25, colour=INK)
    return canvas.finish([("at its lower bound", 5, 0, 0), ("at its upper bound", 0, 0, 0)])


def histogram(
    title: str,
    x: Axis,
    values: Sequence[float],
    *,
    bins: int = 30,
    rules: Sequence[Rule] = (),
    width: int = 520,
    height: int = 260,
) -> str:
    """How often values fall where; those beyond an end of the axis count in the last bin there.

    Args:
        title: above the chart.
        x: axis of the values.
        values: to be counted.
        bins: of equal width on the axis.
        rules: upright lines across the chart.
        width, height: in pixels.
    """
    counts = [0] * bins
    for value in values:
        counts[min(int(x.place(value) * bins), bins - 1)] += 1
    canvas = Canvas(title, x, Axis("count", 0.0, max(*counts, 1) * 1.05), width, height)
    canvas.axes()
    step = (canvas.right - canvas.left) / bins
    for number, count in enumerate(counts):
        if count:
            top = canvas.y(count)
            canvas.add(
                f'<rect x="{canvas.left + number * step + 0.5:.1f}" y="{top:.1f}" width="{step - 1:.1f}" '
                f'height="{canvas.floor - top:.1f}" fill="{PALETTE[0]}"><title>{count}</title></rect>'
            )
    for rule in rules:
        canvas.rule(rule.value, rule.label, upright=rule.upright)
    return canvas.finish([])


def _band(canvas: Canvas, line: Line, colour: int) -> None:
    if line.band:
        upper = [f"{canvas.x(x):.1f},{canvas.y(high):.1f}" for x, _, high in line.band]
        lower = [f"{canvas.x(x):.1f},{canvas.y(low):.1f}" for x, low, _ in reversed(line.band)]
        canvas.add(f'<polygon points="{" ".join(upper + lower)}" fill="{colour_of(colour)}" fill-opacity="0.13"/>')


def _line(canvas: Canvas, line: Line, colour: int) -> None:
    places = [(canvas.x(x), canvas.y(y)) for x, y in line.points]
    dashes = f' stroke-dasharray="{DASHES[line.dashes]}"' if line.dashes else ""
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in _thinned(places))
    canvas.add(
        f'<polyline points="{joined}" fill="none" stroke="{colour_of(colour)}" stroke-width="1.8"{dashes}>'
        f"<title>{escape(line.name)}</title></polyline>"
    )
    if line.marks:
        for x, y in places:
            canvas.add(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour_of(colour)}"/>')


def _dots(canvas: Canvas, dots: Sequence[Dot], colours: Sequence[int]) -> None:
    """Whiskers undermost, then marks, then labels where there is room."""
    places = [(canvas.x(dot.x), canvas.y(dot.y)) for dot in dots]
    taken: list[Box] = []
    for dot, colour, (x, y) in zip(dots, colours, places, strict=True):
        if dot.x_interval is not None:
            canvas.whisker(dot.x_interval, y, lying=True, colour=colour_of(colour))
            low, high = canvas.x(dot.x_interval[0]), canvas.x(dot.x_interval[1])
            taken.append(Box(low, y - 2, high, y + 2))
        if dot.y_interval is not None:
            canvas.whisker(dot.y_interval, x, lying=False, colour=colour_of(colour))
            low, high = canvas.y(dot.y_interval[1]), canvas.y(dot.y_interval[0])
            taken.append(Box(x - 2, low, x + 2, high))
    for dot, colour, (x, y) in zip(dots, colours, places, strict=True):
        canvas.mark(x, y, colour, dot.shape, title=dot.label or dot.name)
    bounds = Box(canvas.left, TOP, canvas.right + 20, canvas.floor)
    labels = place_labels(places, [dot.label for dot in dots], bounds, taken=taken)
    for dot, (x, y), label in zip(dots, places, labels, strict=True):
        if label is not None:
            if label.leader:
                nearest = min(max(x, label.box.left), label.box.right), (label.box.top + label.box.bottom) / 2
                canvas.stroke(x, y, *nearest, colour=RULE)
            canvas.text(label.x, label.y, dot.label, anchor=label.anchor, size=10, halo=True)


def _thinned(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Without the points that nobody could see: those within half a pixel of the last one drawn."""
    kept: list[tuple[float, float]] = []
    for index, place in enumerate(places):
        if not kept or index == len(places) - 1 or math.dist(kept[-1], place) >= 0.5:
            kept.append(place)
    return kept
