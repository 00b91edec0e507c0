"""Reliability diagrams as one page: how often readings are right that are said to be right with some probability."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Final

from simulations.calibration_fit import Figures

_SIDE: Final = 220
_MARGIN: Final = 30
_BARS: Final = 40
"""Height of the histogram below the diagram, in pixels."""
_STYLE: Final = """
body { font: 14px/1.4 sans-serif; margin: 2em; color: #222; }
section { display: flex; flex-wrap: wrap; gap: 1.5em; }
figure { margin: 0; } figcaption { width: 18em; }
.grid { stroke: #ddd; } .ideal { stroke: #999; stroke-dasharray: 4 3; }
.line { fill: none; stroke: #0a5; stroke-width: 2; } .dot { fill: #0a5; } .bar { fill: #9cc; }
text { font-size: 11px; fill: #555; }
"""


def page(diagrams: Mapping[str, Mapping[str, Figures]], *, note: str) -> str:
    """An HTML page with a diagram for every pack and script.

    Args:
        diagrams: figures by pack, then script.
        note: what they were measured on, as a sentence.
    """
    sections = [
        f"<h2>{escape(pack)}</h2><section>"
        + "".join(f"<figure>{diagram(found)}{_caption(name, found)}</figure>" for name, found in by_script.items())
        + "</section>"
        for pack, by_script in diagrams.items()
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Reliability of readings</title>'
        f"<style>{_STYLE}</style><h1>Reliability of readings</h1><p>{escape(note)}</p>{''.join(sections)}</html>\n"
    )


def diagram(figures: Figures) -> str:
    """A reliability diagram as SVG: predicted probability to the right, share right upwards, a histogram below."""
    width, height = _SIDE + 2 * _MARGIN, _SIDE + _BARS + 3 * _MARGIN
    parts = [f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">']
    for tick in range(0, 11, 2):
        x, y = _x(tick / 10), _y(tick / 10)
        parts.append(f'<line class="grid" x1="{x}" y1="{_y(0)}" x2="{x}" y2="{_y(1)}"/>')
        parts.append(f'<line class="grid" x1="{_x(0)}" y1="{y}" x2="{_x(1)}" y2="{y}"/>')
        parts.append(f'<text x="{x - 7}" y="{_y(0) + 14}">{tick / 10:g}</text>')
        parts.append(f'<text x="4" y="{y + 4}">{tick / 10:g}</text>')
    parts.append(f'<line class="ideal" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>')
    points = [(_x(mean), _y(share), count) for mean, share, count in figures.bins]
    parts.append(f'<polyline class="line" points="{" ".join(f"{x},{y}" for x, y, _ in points)}"/>')
    most = max(count for _, _, count in points)
    floor = height - _MARGIN
    for x, y, count in points:
        parts.append(f'<circle class="dot" cx="{x}" cy="{y}" r="4"><title>{count} readings</title></circle>')
        tall = max(1, round(_BARS * count / most))
        parts.append(f'<rect class="bar" x="{x - 8}" y="{floor - tall}" width="16" height="{tall}"/>')
    return "".join([*parts, "</svg>"])


def _caption(name: str, figures: Figures) -> str:
    text = (
        f"{figures.samples} readings, {figures.share_right:.3f} right; ECE {figures.ece:.3f}, "
        f"Brier {figures.brier:.3f}, AUROC {figures.auroc:.3f}"
    )
    return f"<figcaption><b>{escape(name)}</b>: {text}</figcaption>"


def _x(value: float) -> float:
    return round(_MARGIN + _SIDE * value, 1)


def _y(value: float) -> float:
    return round(_MARGIN + _SIDE * (1 - value), 1)
