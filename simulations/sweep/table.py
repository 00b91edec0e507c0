"""The table that a sweep prints: one line an arm, the figures of the nominal constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

_COLUMNS: Final[tuple[tuple[str, str, float, str], ...]] = (
    ("right, %", "right_final_share", 100, ".1f"),
    ("in view, %", "right_in_view_share", 100, ".1f"),
    ("first p50, s", "first_s_p50", 1, ".2f"),
    ("p95", "first_s_p95", 1, ".2f"),
    ("final p95", "final_s_p95", 1, ".2f"),
    ("asked, %", "escalated_share", 100, ".1f"),
    ("out, kB", "bytes_out", 1e-3, ",.0f"),
    ("link, kB", "link_up_bytes", 1e-3, ",.0f"),
    ("strips", "strips_out", 1, ",.0f"),
    ("frames", "frames_out", 1, ",.0f"),
    ("private", "private_out", 1, ".1f"),
    ("EUR", "cost_eur", 1, ".2f"),
    ("phone +J", "phone_added_joules", 1, ",.0f"),
    ("phone, h", "phone_hours", 1, ".1f"),
    ("glasses, h", "glasses_hours", 1, ".2f"),
)
"""Heading, metric, factor and format."""


def table(document: Mapping[str, Any]) -> str:
    """The arms of a document of results as text."""
    arms: Sequence[Mapping[str, Any]] = document["arms"]
    varying = [name for name in arms[0]["arm"] if len({entry["arm"][name] for entry in arms}) > 1]
    names = ["design", *(name for name in varying if name != "design")]
    rows = [[*names, *(heading for heading, *_ in _COLUMNS)]]
    notes = []
    for entry in arms:
        row = [str(entry["arm"][name]) for name in names]
        if entry["why_not"] is not None:
            notes.append(f"{' '.join(row)}: {entry['why_not']}")
            continue
        rows.append(row + [_cell(entry["metrics"].get(metric), factor, form) for _, metric, factor, form in _COLUMNS])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(_placed(cell, widths[i], left=i < len(names)) for i, cell in enumerate(row)) for row in rows]
    fixed = ", ".join(f"{name} {value}" for name, value in arms[0]["arm"].items() if name not in names and value)
    signs = next((entry["metrics"]["signs"]["nominal"] for entry in arms if entry["metrics"]), None)
    about = f"A day with {signs:.0f} signs; {fixed}." if signs is not None else fixed
    out = "Per day: bytes and pictures that left the phone, bytes up the link, joules the phone spent on it."
    return "\n".join([*lines, "", about, out, *notes])


def _cell(metric: Mapping[str, float | None] | None, factor: float, form: str) -> str:
    value = None if metric is None else metric["nominal"]
    return "-" if value is None else format(value * factor, form)


def _placed(cell: str, width: int, *, left: bool) -> str:
    return cell.ljust(width) if left else cell.rjust(width)
