"""Tables of the link's bench, in Markdown."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from simulations.bench.link.goodput import CONTROL_BYTES, DIRECTIONS, LinkFigures
from simulations.bench.link.path import PARTS
from simulations.bench.link.prediction import Forecasts

TARGET_SHARE: Final = 0.9
"""Goodput over shaped rate that is asked of the link."""
TARGET_INTERVALS: Final = 2.0
"""Control round trip under bulk that is asked of it, beside processing."""


def machine() -> str:
    """What this runs on, in a line."""
    return f"{platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}"


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _head(*cells: str) -> list[str]:
    return [_row(*cells), "|" + "---|" * len(cells)]


def _intervals(seconds: Sequence[float], interval: float | None, percentile: float) -> str:
    value = float(np.percentile(seconds, percentile))
    return f"{value / interval:.1f}" if interval else f"{value * 1e3:.1f} ms"


def carry(figures: Iterable[LinkFigures], processing_s: float | None) -> list[str]:
    """What the link carries; control in connection intervals.

    Args:
        figures: of every profile and direction.
        processing_s: round trip of a control object on an unshaped link: what the two ends and their stacks take.
    """
    lines = _head(
        "link",
        "direction",
        "goodput / rate",
        "overhead",
        "strip p50 / p95",
        "control idle p50",
        "control under strips p50 / p95",
        "met",
    )
    for one in figures:
        idle, busy = one.idle_s, one.busy_s
        spread = f"{np.percentile(one.strip_s, 50) * 1e3:.0f} / {np.percentile(one.strip_s, 95) * 1e3:.0f} ms"
        interval = one.interval_s
        met = "–"
        if one.share is not None and interval is not None:
            slack = TARGET_INTERVALS * interval + (processing_s or 0.0)
            control = float(np.percentile(busy, 50)) <= slack
            met = ", ".join(
                [
                    "goodput" if one.share >= TARGET_SHARE else "goodput missed",
                    "control" if control else "control missed",
                ]
            )
        lines.append(
            _row(
                one.profile,
                DIRECTIONS[one.direction],
                f"{one.share:.2f}" if one.share is not None else f"{one.goodput / 1e3:.0f} kB/s",
                f"{one.overhead:.1%}",
                spread,
                _intervals(idle, interval, 50),
                f"{_intervals(busy, interval, 50)} / {_intervals(busy, interval, 95)}",
                met,
            )
        )
    said = f"Control: {CONTROL_BYTES} bytes, from handing over to DONE, at random times, in connection intervals."
    if processing_s is not None:
        said += f" Processing (the same on an unshaped link): {processing_s * 1e3:.1f} ms."
    return [*lines, "", said]


def prediction(figures: Iterable[Forecasts]) -> list[str]:
    """How well the link foretells its deliveries."""
    lines = _head("scenario", "strips", "within typical (0.5)", "within late (0.9)", "median error", "lost")
    for one in figures:
        lines.append(
            _row(
                one.scenario,
                len(one.strips),
                f"{one.within_typical:.2f}",
                f"{one.within_late:.2f}",
                f"{one.median_error:.0%}",
                one.lost,
            )
        )
    return lines


def path(profile: str, summary: dict[str, tuple[float, float]], signs: int) -> list[str]:
    """A sign's way from the link to the display."""
    lines = _head("part", "p50", "largest")
    for part in PARTS:
        median, largest = summary[part]
        lines.append(_row(part, f"{median:.0f} ms", f"{largest:.0f} ms"))
    median, largest = summary["strip bytes"]
    return [f"{profile}, {signs} signs, strips of {median:.0f} bytes (p50), {largest:.0f} at most:", "", *lines]


def pairing(rows: Iterable[Any]) -> list[str]:
    """The pairing matrix: what was done, and what the two users read."""
    lines = _head("what was done", "on the glasses", "on the phone", "bonded")
    lines += [_row(row.done, row.glasses or "–", row.phone or "–", "yes" if row.bonded else "no") for row in rows]
    return lines


def side_by_side(runs: Sequence[tuple[str, list[LinkFigures]]]) -> list[str]:
    """The same links on several stacks."""
    names = [name for name, _ in runs]
    lines = _head("link", "direction", *(f"{name}: goodput / control p50 idle / busy" for name in names))
    keys = [(one.profile, one.direction) for one in runs[0][1]]
    for key in keys:
        cells = []
        for _, figures in runs:
            one = next((one for one in figures if (one.profile, one.direction) == key), None)
            if one is None:
                cells.append("–")
                continue
            share = f"{one.share:.2f}" if one.share is not None else f"{one.goodput / 1e3:.0f} kB/s"
            idle, busy = (_intervals(s, one.interval_s, 50) for s in (one.idle_s, one.busy_s))
            cells.append(f"{share} / {idle} / {busy}")
        lines.append(_row(key[0], DIRECTIONS[key[1]], *cells))
    return lines
