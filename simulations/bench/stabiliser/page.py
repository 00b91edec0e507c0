"""The results as one HTML page that needs nothing else: tables, and plots over time as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Final

from simulations.bench.stabiliser.results import Results, Series
from simulations.bench.stabiliser.tables import (
    BESIDE_HEAD,
    LATE_HEAD,
    MEASURED_HEAD,
    NOTES,
    beside_cells,
    late_cells,
    late_target_table,
    measured_cells,
    sequences_of,
    target_table,
)
from simulations.sequences import FRAME_RATE

COLOURS: Final = ("#0b6e4f", "#3aa17e", "#1f4e9c", "#b8860b", "#b03060", "#7a4fa3", "#666666", "#c0504d")
WIDTH: Final = 860
HEIGHT: Final = 200
LEFT: Final = 46
BOTTOM: Final = 24
ERROR_RANGE_PX: Final = (0.05, 100.0)
CPU_RANGE_MS: Final = (0.1, 1000.0)
STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1b1b1b; }
table { border-collapse: collapse; font-size: 13px; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #ddd; padding: .2rem .5rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
td.missed { background: #fbe3df; } td.met { background: #e5f3ea; }
.wide { overflow-x: auto; } .key span { margin-right: 1rem; } svg text { font: 11px system-ui, sans-serif; }
"""


def page(results: Results) -> str:
    """The whole page."""
    seeds = ", ".join(str(seed) for seed in results.seeds)
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Stabiliser bench</title>",
        f"<style>{STYLE}</style><h1>Stabiliser bench</h1>",
        f"<p>{escape(results.machine)}. Seeds {seeds}; {results.seconds:g} s each.</p>",
    ]
    parts.extend(f"<p>Skipped: {escape(title)}: {escape(why)}.</p>" for title, why in results.skipped.items())
    parts.extend(f"<p>{escape(note)}</p>" for note in NOTES)
    if results.rows:
        parts.append("<h2>Targets</h2>" + _table(*target_table(results.rows)))
    if results.late:
        parts.append("<h2>Late readings: targets</h2>" + _table(*late_target_table(results.late)))
    for name in sequences_of(results.rows or results.late):
        rows = [row for row in results.rows if row.sequence == name]
        late = [row for row in results.late if row.sequence == name]
        series = [each for each in results.series if each.sequence == name]
        parts.append(f"<h2>{escape(name)}</h2>")
        if rows:
            parts.append(_table(MEASURED_HEAD, map(measured_cells, rows)))
            parts.extend(f"<p>† {escape(note)}</p>" for note in dict.fromkeys(row.note for row in rows if row.note))
            parts.append(_table(BESIDE_HEAD, map(beside_cells, rows)))
        if series:
            parts.append(_key(series))
            parts.append(_plot("median error, px (top: lost)", series, ERROR_RANGE_PX, lambda each: each.error))
            parts.append(_plot("CPU of a frame, ms", series, CPU_RANGE_MS, lambda each: each.cpu))
        if late:
            parts.append(_table(LATE_HEAD, map(late_cells, late)))
    return "\n".join(parts) + "\n"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    for line in lines:
        rows.append("<tr>" + "".join(_cell(cell) for cell in line) + "</tr>")
    return "<div class=wide><table>" + "".join(rows) + "</table></div>"


def _cell(text: str) -> str:
    kind = "missed" if text.startswith("**missed**") else "met" if text.startswith("met (") else ""
    return f"<td{f' class={kind}' if kind else ''}>{escape(text.replace('**', ''))}</td>"


def _key(series: Sequence[Series]) -> str:
    entries = (
        f'<span style="color:{COLOURS[index % len(COLOURS)]}">■ {escape(each.title)}</span>'
        for index, each in enumerate(series)
    )
    return f"<p class=key>{''.join(entries)} (seed {series[0].seed})</p>"


def _plot(
    title: str, series: Sequence[Series], limits: tuple[float, float], values: Callable[[Series], Sequence[float]]
) -> str:
    """Values over time on a logarithmic axis; what is beyond an end of it is drawn there, NaN leaves a gap."""
    low, high = (math.log10(limit) for limit in limits)
    longest = max(len(values(each)) for each in series)

    def at(index: int, value: float) -> str:
        clipped = min(max(math.log10(max(value, 1e-9)), low), high) if math.isfinite(value) else high
        x = LEFT + (WIDTH - LEFT) * index / max(longest - 1, 1)
        return f"{x:.1f},{(HEIGHT - BOTTOM) * (high - clipped) / (high - low):.1f}"

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" aria-label="{escape(title)}">']
    for decade in range(math.ceil(low), math.floor(high) + 1):
        y = (HEIGHT - BOTTOM) * (high - decade) / (high - low)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{10.0**decade:g}</text>')
    for second in range(int((longest - 1) / FRAME_RATE) + 1):
        x = LEFT + (WIDTH - LEFT) * second * FRAME_RATE / max(longest - 1, 1)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 8}">{second} s</text>')
    for number, each in enumerate(series):
        path, pen = [], "M"
        for index, value in enumerate(values(each)):
            if math.isnan(value):
                pen = "M"
                continue
            path.append(pen + at(index, value))
            pen = "L"
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-width="1.2"/>')
    parts.append(f'<text x="{LEFT + 4}" y="12">{escape(title)}</text></svg>')
    return "".join(parts)
