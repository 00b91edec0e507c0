"""The findings as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from simulations.bench.cloud.findings import Finding, Findings
from simulations.report import markup
from simulations.report.markup import Cell

_TONES: Final = {True: "good", False: "warm", None: ""}
_WORDS: Final = {True: "met", False: "missed", None: "not measured"}


def page(machine: str, parts: Sequence[tuple[str, Findings | None, str]], summary: Sequence[str]) -> str:
    """The whole page.

    Args:
        machine: on which it was measured.
        parts: name, findings or None, and why there are none.
        summary: lines that say what is met and what is not.
    """
    body = [
        markup.heading("Wayword's cloud, measured", level=1),
        markup.paragraph(machine, kind="soft"),
        markup.contents((name, findings.title if findings else name) for name, findings, _ in parts),
        markup.paragraph(summary[0]),
        markup.bullets(summary[1:]),
    ]
    for name, findings, problem in parts:
        if findings is None:
            body += [
                markup.heading(name, anchor=name),
                markup.paragraph(f"Could not be measured: {problem}.", kind="soft"),
            ]
        else:
            body += _part(name, findings)
    return markup.document("Wayword's cloud, measured", body)


def _part(name: str, findings: Findings) -> list[str]:
    rows = [(row.what, _cells(row)) for row in findings.rows]
    setting = [(word, str(value)) for word, value in findings.setting.items()]
    return [
        markup.heading(findings.title, anchor=name),
        markup.table(("measure", "value", "target", "how"), rows),
        *([markup.pairs(setting)] if setting else []),
        *(markup.paragraph(remark) for remark in findings.remarks),
    ]


def _cells(row: Finding) -> list[Cell]:
    value = "–" if row.value is None else f"{row.value:.4g} {row.unit}".rstrip()
    below = _WORDS[row.met] if row.target else ""
    tone = _TONES[row.met] if row.target else ""
    return [Cell(value, tone=tone), Cell(row.target, below, tone, number=False), Cell(row.note, number=False)]
