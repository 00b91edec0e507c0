"""A timeline of a run as SVG: one row a sign, from capture to the settled answer."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from simulations.results import SignResult

WIDTH, LEFT, ROW, TOP = 960, 210, 24, 26
PHASES = (
    ("sent", "#9aa5b1", "detect and cut"),
    ("delivered", "#3b82c4", "on air"),
    ("provisional", "#e0a526", "phone reads, answer on air"),
    ("refined", "#3a9d5d", "cloud"),
)


def timeline_svg(signs: Sequence[SignResult]) -> str:
    """Bars of the phases of each sign; the x axis is seconds since the sign's own frame was captured."""
    if not signs:
        return ""
    longest = max((max(sign.timeline.values(), default=0.0) for sign in signs), default=0.0)
    span = max(longest, 500.0) * 1.05
    height = TOP + ROW * len(signs) + 46
    scale = (WIDTH - LEFT - 20) / span
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="milliseconds from capture to answer, per sign">',
        '<g font-family="system-ui, sans-serif" font-size="12" fill="#33404d">',
    ]
    step = 250 if span < 2500 else 1000 if span < 10000 else 5000
    for tick in range(0, int(span) + 1, step):
        x = LEFT + tick * scale
        parts.append(f'<line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{height - 40}" stroke="#d9dfe5"/>')
        parts.append(f'<text x="{x:.1f}" y="{TOP - 10}" text-anchor="middle">{tick / 1000:g} s</text>')
    for row, sign in enumerate(signs):
        y = TOP + row * ROW
        label = " ".join(sign.text.split()) or f"sign {sign.region_id}"
        parts.append(f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(_short(label))}</text>')
        start = 0.0
        for key, colour, title in PHASES:
            end = sign.timeline.get(key)
            # The glasses show an answer before they learn that the strip's last fragment was acknowledged.
            if end is None or end <= start:
                continue
            box = f'x="{LEFT + start * scale:.1f}" y="{y + 3}" width="{(end - start) * scale:.1f}" height="{ROW - 8}"'
            label = f"<title>{title}: {end - start:.0f} ms</title>"
            parts.append(f'<rect {box} rx="2" fill="{colour}">{label}</rect>')
            start = end
    x = float(LEFT)
    for _, colour, title in PHASES:
        parts.append(f'<rect x="{x:.0f}" y="{height - 26}" width="14" height="14" rx="2" fill="{colour}"/>')
        parts.append(f'<text x="{x + 19:.0f}" y="{height - 14}">{title}</text>')
        x += 40 + 7 * len(title)
    parts.append("</g></svg>")
    return "".join(parts)


def _short(text: str, limit: int = 26) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
