"""The charts of a sweep's page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from simulations.bench.cascade.curves import ORACLE
from simulations.bench.cascade.looks import DOUBT, GAIN, PLAIN
from simulations.report.canvas import mark, nice_axis
from simulations.report.charts import Axis, Bar, Dot, Line, bar_chart, line_chart, scatter_chart
from simulations.report.markup import charts, figure, heading, key, panel, paragraph
from simulations.sweep.document import HYBRID, CurveGroup
from simulations.sweep.measures import (
    ADDED_JOULES,
    DESIGN_TITLES,
    ESCALATED,
    FIRST_P50,
    FIRST_P95,
    GLASSES_JOULES,
    PHONE_HOURS,
    PHONE_JOULES,
    PICTURES,
    PRIVATE,
    QUALITY,
    UP_BYTES,
    Measure,
)
from simulations.sweep.summary import Slice, Spread

_LOOKS: Final = {
    "hybrid": 0, "glasses": 1, "phone": 2, "cloud-video": 3, "cloud-stills": 4, "split": 5, "table": 6,
}  # fmt: skip
"""Colour and shape of each design, the same in every chart."""
_ORDERS: Final = {ORACLE: (6, 1), PLAIN: (1, 0), DOUBT: (3, 3), GAIN: (0, 0)}
"""Colour and dashes of each cascade curve, in the order they are drawn: the one that matters on top."""
_POLICY_LOOKS: Final = {"cascade": 0, "confidence": 1, "random": 6, "oracle": 2, "always": 4, "never": 3}
_SMALL: Final = (200, 176)
_LARGE: Final = (400, 330)
"""Width and height in pixels: about a phone's width, and half of it."""
AXES: Final = (ADDED_JOULES, PHONE_JOULES, GLASSES_JOULES, FIRST_P50, UP_BYTES, PICTURES, PRIVATE)
"""What quality is drawn against."""
_CAPTIONS: Final = {
    ADDED_JOULES: "What Wayword adds to the phone's day: reading, Bluetooth, Wi-Fi, and the internet with its tails.",
    PHONE_JOULES: "What the phone spends while the glasses are worn, the wearer's other use of it included.",
    GLASSES_JOULES: "What the glasses spend while they are worn.",
    FIRST_P50: "The mark stands at the median sign; the line leads to the 95th percentile of the signs (both: median "
    "of the samples). Signs that never got an answer have no latency and are not in it.",
    UP_BYTES: "Upwards from the phone, headers and handshakes included. A separate place on the left is nought.",
    PICTURES: "Strips, stills and frames of video that left the phone. A separate place on the left is nought.",
    PRIVATE: "How often one of them showed a sign whose text the product takes for private (a card, document or phone "
    "number). A separate place on the left is nought.",
}


def look_of(design: str, designs: Sequence[str]) -> int:
    """Colour and shape of a design."""
    return _LOOKS.get(design, 7 + list(designs).index(design))


def design_key(designs: Sequence[str]) -> str:
    """Legend of all the charts of designs."""
    looks = [look_of(design, designs) for design in designs]
    return key((mark(7, 7, look, look), title_of(design)) for look, design in zip(looks, designs, strict=True))


def title_of(design: str) -> str:
    """A design in words."""
    return DESIGN_TITLES.get(design, design)


def tradeoffs(of: Slice) -> str:
    """Quality against everything else: a large chart for the main network, small ones for the others."""
    parts = [design_key(of.designs)]
    networks = of.networks
    for measure in AXES:
        cells = {network: _dots(of, measure, network) for network in networks}
        if not any(cells.values()):
            continue
        everywhere = [dot for dots in cells.values() for dot in dots]
        parts.append(heading(f"Quality and {_plain_title(measure)}", level=3))
        if not any(_values(everywhere, upright=False)):
            parts.append(paragraph("Nought for every design, on every network."))
            continue
        x, y = _axes(measure, everywhere)
        main = cells[of.network]
        large = scatter_chart(f"Network: {of.network}", x, y, main, width=_LARGE[0], height=_LARGE[1], legend=False)
        parts.append(paragraph(_CAPTIONS[measure], kind="soft"))
        small = [
            figure(
                scatter_chart(
                    network,
                    _short(x),
                    _short(y),
                    [_bare(dot) for dot in cells[network]],
                    width=_SMALL[0],
                    height=_SMALL[1],
                    legend=False,
                )
            )
            for network in networks
            if network != of.network and cells[network]
        ]
        parts.append(panel(figure(large), charts(small, small=True)) if small else charts([figure(large)]))
    return "\n".join(parts)


def battery_charts(of: Slice, measures: Sequence[Measure]) -> str:
    """Battery life by design on the main network."""
    figures = []
    for measure in measures:
        found = [(design, of.spread(design, measure)) for design in of.designs]
        known = [(design, each) for design, each in found if each is not None]
        if not known:
            continue
        bars = [
            Bar(title_of(design), each.middle, (each.low, each.high), look_of(design, of.designs))
            for design, each in known
        ]
        axis = Axis(measure.title, 0.0, 1.05 * max(each.high for _, each in known) or 1.0)
        device = of.phone if measure is PHONE_HOURS else of.glasses
        figures.append(figure(bar_chart(f"{device}, network {of.network}", axis, bars, width=_LARGE[0])))
    return charts(figures)


def curve_chart(group: CurveGroup) -> str:
    """Quality against the share escalated, on the traces alone."""
    lines = [Line("random (expected)", [(0.0, group.local), (1.0, group.cloud)], dashes=2, colour=6)]
    ends = [group.local, group.cloud]
    for name, (colour, dashes) in _ORDERS.items():
        line = group.lines.get(name)
        if line is None:
            continue
        band = list(zip(group.shares, line.low, line.high, strict=True)) if name == GAIN else []
        title = f"{name} (area {100 * line.area[0]:.1f} %)"
        lines.append(Line(title, list(zip(group.shares, line.qualities, strict=True)), band, dashes, colour=colour))
        ends += [*line.qualities, *(value for _, low, high in band for value in (low, high))]
    dots = [
        Dot("", share, quality, label=name, colour=_POLICY_LOOKS.get(name, 6), shape=3)
        for name, (share, quality) in sorted(group.arms.items())
    ]
    ends += [dot.y for dot in dots]
    svg = line_chart(
        f"{group.recogniser} recogniser",
        Axis("share of looks escalated", 0.0, 1.0, percent=True),
        nice_axis("looks right", ends, percent=True),
        lines,
        dots=dots,
        width=_LARGE[0],
        height=_LARGE[1],
    )
    return figure(
        svg,
        f"{group.looks} looks at {group.phrases} phrases; the band is the 95 % interval of a bootstrap over phrases. "
        "Diamonds: policies as shipped.",
    )


def policy_chart(of: Slice) -> str:
    """The hybrid under several policies in the simulated day; empty with fewer than two."""
    dots = []
    for policy in of.sweep.names("policy"):
        share = of.spread(HYBRID, ESCALATED, policy=policy)
        right = of.spread(HYBRID, QUALITY, policy=policy)
        if share is not None and right is not None:
            look = _POLICY_LOOKS.get(policy, 5)
            dots.append(Dot(policy, share.middle, right.middle, _ends(share), _ends(right), policy, look, look))
    if len(dots) < 2:
        return ""
    svg = scatter_chart(
        f"Hybrid by policy, network {of.network}",
        nice_axis(ESCALATED.title, _values(dots, upright=False), percent=True),
        nice_axis(QUALITY.title, _values(dots, upright=True), percent=True),
        dots,
        width=_LARGE[0],
        height=_LARGE[1],
        legend=False,
    )
    return figure(svg, "In the simulated days, where a late answer counts for nothing and rules may forbid a call.")


def _dots(of: Slice, measure: Measure, network: str) -> list[Dot]:
    designs = of.designs
    dots = []
    for design in designs:
        x, y = of.spread(design, measure, network=network), of.spread(design, QUALITY, network=network)
        if x is None or y is None:
            continue
        interval = _ends(x)
        if measure is FIRST_P50:
            late = of.spread(design, FIRST_P95, network=network)
            interval = (x.middle, x.middle if late is None else max(late.middle, x.middle))
        look = look_of(design, designs)
        name = title_of(design)
        dots.append(Dot(name, x.middle, y.middle, interval, _ends(y), name, look, look))
    return dots


def _axes(measure: Measure, dots: Sequence[Dot]) -> tuple[Axis, Axis]:
    title = "first answer: median to 95th percentile" if measure is FIRST_P50 else measure.title
    unit = "" if measure.percent else measure.unit
    x = nice_axis(title, _values(dots, upright=False), unit=unit, from_zero=True, span=12.0)
    return x, nice_axis(QUALITY.title, _values(dots, upright=True), percent=True)


def _values(dots: Sequence[Dot], *, upright: bool) -> list[float]:
    values = []
    for dot in dots:
        middle, interval = (dot.y, dot.y_interval) if upright else (dot.x, dot.x_interval)
        values += [middle, *(interval or ())]
    return values


def _short(axis: Axis) -> Axis:
    """The same axis for a small chart: its label stands above the large one."""
    return Axis("", axis.low, axis.high, axis.percent, axis.logarithmic, axis.unit, axis.zero)


def _bare(dot: Dot) -> Dot:
    return Dot(dot.name, dot.x, dot.y, dot.x_interval, dot.y_interval, "", dot.colour, dot.shape)


def _plain_title(measure: Measure) -> str:
    return {FIRST_P50: "latency", PICTURES: "privacy: pictures that left", PRIVATE: "privacy: private texts"}.get(
        measure, measure.title
    )


def _ends(of: Spread) -> tuple[float, float]:
    return of.low, of.high
