"""The results as one HTML page that needs nothing else: curves with their intervals, reliability, the certificate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from simulations.bench.cascade.certificate import TriedFigures, two_sided
from simulations.bench.cascade.curves import GRID, ORACLE, Interval, RankingFigures
from simulations.bench.cascade.looks import DOUBT, GAIN, PLAIN
from simulations.bench.cascade.routing import Routed
from simulations.bench.cascade.study import (
    CASCADE,
    CLOUD,
    LOCAL,
    TARGET_BEHIND,
    TARGET_SHARE,
    Group,
    Promise,
    overall,
)
from simulations.bench.cascade.tables import title
from simulations.report.charts import Axis, Bar, Dot, Line, Rule, bar_chart, histogram, line_chart

_STYLE: Final = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2em; color: #222; max-width: 1160px; }
section { display: flex; flex-wrap: wrap; gap: 1.2em 2em; } svg text { font-family: system-ui, sans-serif; }
table { border-collapse: collapse; font-size: 12px; margin: .8em 0; } p { max-width: 75em; }
td, th { border-bottom: 1px solid #e4e4e4; padding: .15em .8em .15em 0; text-align: left; vertical-align: top; }
"""
_ORDERS: Final = {ORACLE: (6, 1), PLAIN: (1, 0), DOUBT: (3, 3), GAIN: (0, 0)}
"""Colour and dashes of each curve, in the order they are drawn: the one that matters on top."""
_SHARES: Final = Axis("share of signs escalated", 0.0, 1.0, percent=True)
_CHANCE: Final = Axis("expected P(right)", 0.0, 1.0, percent=True)


def page(
    groups: Sequence[Group],
    promises: Sequence[Promise],
    routed: Sequence[Routed],
    figures: Sequence[str],
    notes: Sequence[str],
) -> str:
    """The whole page.

    Args:
        groups: recognisers and parts.
        promises: certificates.
        routed: pairs of translation systems; may be empty.
        figures: the tables as Markdown, shown below the charts.
        notes: what was measured, a paragraph each.
    """
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Cascade</title>',
        f"<style>{_STYLE}</style><h1>Cascade</h1>",
        *(f"<p>{escape(note)}</p>" for note in notes),
    ]
    for group in groups:
        parts.append(f"<h2>{escape(title(group))}</h2><section>{curves(group)}{arms(group)}")
        parts.append(f"{reliability(group)}{gains(group)}</section>")
    for promise in promises:
        parts.append(f"<h2>Certificate, {escape(promise.recogniser)} recogniser, alpha {promise.alpha:.0%}</h2>")
        parts.append(f"<section>{splits(promise)}{shifts(promise)}</section>")
    if routed:
        parts.append(f"<h2>Routing recorded translations</h2><section>{routing_gain(routed)}")
        parts += [routing_curves(pair) for pair in routed if len(pair.rankings) > 2]
        parts.append("</section>")
    return "\n".join([*parts, "<h2>Figures</h2>", *as_html(figures), "</html>\n"])


def as_html(lines: Sequence[str]) -> list[str]:
    """Headings, tables and paragraphs of Markdown as this bench writes it, one a line."""
    found: list[str] = []
    in_table = False
    for line in lines:
        if not line.startswith("|") and in_table:
            found.append("</table>")
            in_table = False
        if line.startswith("|---"):
            continue
        if line.startswith("|"):
            cell = "td" if in_table else "th"
            if not in_table:
                found.append("<table>")
            in_table = True
            cells = (f"<{cell}>{escape(text.strip())}</{cell}>" for text in line.strip("|").split("|"))
            found.append(f"<tr>{''.join(cells)}</tr>")
        elif line.startswith("#"):
            level = min(len(line) - len(line.lstrip("#")) + 1, 6)
            found.append(f"<h{level}>{escape(line.lstrip('# '))}</h{level}>")
        elif line:
            found.append(f"<p>{escape(line)}</p>")
    return [*found, "</table>"] if in_table else found


def curves(group: Group) -> str:
    """Quality against the share escalated, with the fixed ways of deciding as dots."""
    local, cloud, cascade = group.arms[LOCAL], group.arms[CLOUD], group.arms[CASCADE]
    needed = cloud.quality.value - TARGET_BEHIND
    lines = [
        Line(f"cloud-only less {100 * TARGET_BEHIND:g} points", [(0.0, needed), (1.0, needed)], dashes=2, colour=2),
        Line("random (expected)", [(0.0, local.quality.value), (1.0, cloud.quality.value)], dashes=2, colour=6),
        *(
            _line(name, group.rankings[name], colour, dashes, band=name == GAIN)
            for name, (colour, dashes) in _ORDERS.items()
        ),
    ]
    dots = [
        Dot(
            "cascade as shipped",
            cascade.share.value,
            cascade.quality.value,
            y_interval=_ends(cascade.quality),
            colour=0,
        ),
        Dot("cloud-only", 1.0, cloud.quality.value, y_interval=_ends(cloud.quality), colour=6),
    ]
    return line_chart(
        "Signs right, by share escalated",
        _SHARES,
        _quality_axis("signs right", group.rankings, [cascade.quality.low, cloud.quality.low, cloud.quality.high]),
        lines,
        dots=dots,
        rules=[Rule(TARGET_SHARE, f"{TARGET_SHARE:.0%}", upright=True)],
    )


def arms(group: Group) -> str:
    """Signs right under each way of deciding."""
    bars = [
        Bar(f"{name} ({100 * arm.share.value:.0f} % asked)", arm.quality.value, _ends(arm.quality), _arm_colour(name))
        for name, arm in group.arms.items()
    ]
    axis = Axis("signs right", 0.0, 1.0, percent=True)
    return bar_chart("Signs right, by who decides", axis, bars)


def reliability(group: Group) -> str:
    """How often readings are right that are said to be right with some probability."""
    judged = overall(group)
    lines = [
        Line("ideal", [(0.0, 0.0), (1.0, 1.0)], dashes=1, colour=6),
        Line("metamodel", [(mean, share) for mean, share, _ in judged.bins], colour=0),
    ]
    dots = [
        Dot(
            "bins of P(right), with their number",
            mean,
            share,
            y_interval=two_sided(round(share * n), n),
            label=str(n),
            colour=0,
        )
        for mean, share, n in judged.bins
    ]
    name = f"Reliability of P(right): ECE {judged.ece:.3f}, Brier {judged.brier:.3f}"
    axis = Axis("share right", 0.0, 1.0, percent=True)
    return line_chart(name, _CHANCE, axis, lines, dots=dots, width=400, height=320)


def gains(group: Group) -> str:
    """What asking was expected to give, and what it gave."""
    places = [(each.expected, each.found) for each in group.gains]
    ends = [value for place in places for value in place]
    low, high = min([-0.05, *ends]), max([0.3, *ends])
    lines = [
        Line("ideal", [(low, low), (high, high)], dashes=1, colour=6),
        Line("metamodel", places, colour=0),
    ]
    dots = [
        Dot("bins of expected gain, with their number", each.expected, each.found, label=str(each.samples), colour=0)
        for each in group.gains
    ]
    return line_chart(
        "Gain of asking, in signs right",
        Axis("expected gain", low, high),
        Axis("found", low, high),
        lines,
        dots=dots,
        width=400,
        height=320,
    )


def splits(promise: Promise) -> str:
    """Error rates of what the certificate keeps, over splits."""
    if not promise.drawn.rates:
        return f"<p>In none of {promise.drawn.splits} splits a threshold passes: nothing is kept.</p>"
    high = max(3 * promise.alpha, *promise.drawn.rates)
    return histogram(
        f"Wrong among the kept, over {promise.drawn.splits} splits (one look a phrase)",
        Axis("error rate on the other half", 0.0, high, percent=True),
        promise.drawn.rates,
        rules=[Rule(promise.alpha, "alpha", upright=True)],
    )


def shifts(promise: Promise) -> str:
    """Error rates of what a certificate keeps where its assumption does not hold."""
    bars = [
        *(_tried_bar(f"shipped, {name}", figures, 0) for name, figures in promise.shipped.items()),
        *(_tried_bar(name, figures, 1) for name, (_, figures) in promise.shifts.items()),
    ]
    high = max([3 * promise.alpha, *(bar.interval[1] for bar in bars if bar.interval is not None)])
    return bar_chart(
        "Wrong among the kept: as shipped, and under shift",
        Axis("error rate of what is kept", 0.0, min(high, 1.0), percent=True),
        bars,
        rules=[Rule(promise.alpha, "alpha", upright=True)],
        width=640,
    )


def routing_gain(routed: Sequence[Routed]) -> str:
    """Area over random order for every pair and every way to route."""
    bars = [
        Bar(
            f"{pair.direction}, {pair.small} → {pair.large}: {name}",
            100 * figures.over_random.value,
            (100 * figures.over_random.low, 100 * figures.over_random.high),
            number % 5,
        )
        for pair in routed
        for number, (name, figures) in enumerate(pair.rankings.items())
        if name != ORACLE
    ]
    ends = [end for bar in bars for end in bar.interval or ()]
    return bar_chart(
        "Area over random order, points of chrF", Axis("points", min([0.0, *ends]), max([1.0, *ends])), bars, width=900
    )


def routing_curves(pair: Routed) -> str:
    """Curves of one pair."""
    small, large = (pair.arms[name].quality.value for name in ("small alone", "large alone"))
    lines = [
        Line("random (expected)", [(0.0, small), (1.0, large)], dashes=2, colour=6),
        *(
            _line(name, figures, number, int(name == ORACLE))
            for number, (name, figures) in enumerate(pair.rankings.items())
        ),
    ]
    return line_chart(
        f"{pair.direction}: {pair.small} → {pair.large}",
        Axis("share of sentences sent to the large system", 0.0, 1.0, percent=True),
        _quality_axis("chrF", pair.rankings, [small, large]),
        lines,
    )


def _tried_bar(name: str, figures: TriedFigures, colour: int) -> Bar:
    kept = f"{figures.kept} of {figures.total} kept"
    return Bar(f"{name} ({kept})", figures.rate or 0.0, figures.interval, colour)


def _line(name: str, figures: RankingFigures, colour: int, dashes: int, *, band: bool = False) -> Line:
    around = [(float(x), float(low), float(high)) for x, low, high in zip(GRID, *figures.band, strict=True)]
    points = [(float(x), float(y)) for x, y in zip(figures.curve.shares, figures.curve.qualities, strict=True)]
    return Line(name, points, around if band else (), dashes, colour=colour)


def _quality_axis(label: str, rankings: Mapping[str, RankingFigures], others: Sequence[float]) -> Axis:
    """Just wide enough: what matters are small differences."""
    values = [*others]
    for name, figures in rankings.items():
        values += [float(figures.curve.qualities.min()), float(figures.curve.qualities.max())]
        if name == GAIN:
            values += [float(figures.band.min()), float(figures.band.max())]
    low, high = min(values), max(values)
    room = max(0.05 * (high - low), 0.005)
    return Axis(label, max(low - room, 0.0), min(high + room, 1.0), percent=True)


def _ends(found: Interval) -> tuple[float, float]:
    return found.low, found.high


def _arm_colour(name: str) -> int:
    return 0 if name == CASCADE else 6
