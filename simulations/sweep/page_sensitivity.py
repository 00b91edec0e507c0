"""Which constants matter, as the sweep's page shows it: rank correlations, swings, and what is poorly known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from simulations.energy.devices import GLASSES, PHONES
from simulations.report.canvas import nice_axis
from simulations.report.charts import Swing, swing_chart
from simulations.report.markup import Cell, bullets, charts, figure, heading, paragraph, table
from simulations.sweep.document import HYBRID, NOMINAL, Range, Sweep
from simulations.sweep.measures import (
    ADDED_JOULES,
    FIRST_P95,
    GLASSES_JOULES,
    PHONE_JOULES,
    QUALITY,
    UP_BYTES,
    Measure,
)
from simulations.sweep.page_plots import title_of
from simulations.sweep.sensitivity import LEAST_SAMPLES, OneAtATime, Sensitivity, sensitivity, swings
from simulations.sweep.summary import Slice

MOST_ROWS: Final = 24
"""Constants in the table."""
MOST_SWINGS: Final = 10
"""Bars in a tornado."""
MOST_WIDE: Final = 12
"""Constants in the list of the least known."""
_OUTCOMES: Final = (PHONE_JOULES, ADDED_JOULES, GLASSES_JOULES, QUALITY, UP_BYTES, FIRST_P95)
_ADVANTAGES: Final = (QUALITY, ADDED_JOULES)
_DEVICES: Final = (*PHONES, *GLASSES)
_OF_NETWORK: Final = {"mmwave": "5g-mmwave", "net.mmwave": "5g-mmwave", "net.roaming": "metered-roaming"}
"""Constants that only one network has."""
_ASSUMED: Final = "assumed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One column of the table.

    Attributes:
        title: in words.
        found: what moves it; None where that cannot be said.
    """

    title: str
    found: Sensitivity | None


def in_play(of: Slice, names: Iterable[str]) -> list[str]:
    """Of some constants those that can matter in the main cell: not those of other devices and networks."""
    absent = [f"{device}." for device in _DEVICES if device not in (of.phone, of.glasses)]
    absent += [f"{prefix}." for prefix, network in _OF_NETWORK.items() if network != of.network]
    return [name for name in names if not name.startswith(tuple(absent))]


def outcomes(of: Slice) -> list[Outcome]:
    """What moves the hybrid's outcomes, and its lead over the next best design, on the main network."""
    found = [
        _outcome(of, measure.title, [(run.sample, measure.of(run)) for run in of.runs(HYBRID)]) for measure in _OUTCOMES
    ]
    rival = of.next_best()
    if rival is not None:
        for measure in _ADVANTAGES:
            title = f"{measure.title}: hybrid less {title_of(rival)}"
            found.append(_outcome(of, title, list(of.paired(HYBRID, rival, measure))))
    return [each for each in found if each is not None]


def section(of: Slice) -> str:
    """The whole section."""
    found = outcomes(of)
    known = [each for each in found if each.found is not None]
    parts: list[str] = []
    if known:
        parts += [_noise(known), correlation_table(known), *_certain(of, known)]
    else:
        parts.append(
            paragraph(
                f"Rank correlations take at least {LEAST_SAMPLES} samples of the constants and an outcome that varies; "
                f"the hybrid has {len(of.runs(HYBRID))} on this network. Run the sweep with more samples."
            )
        )
    parts.append(swing_section(of))
    parts.append(robustness(of))
    return "\n".join(part for part in parts if part)


def correlation_table(found: Sequence[Outcome]) -> str:
    """Constants by outcomes; those that stand out from chance are marked."""
    strength: dict[str, float] = {}
    for each in found:
        if each.found is not None:
            for influence in each.found.influences:
                share = abs(influence.rho) / max(each.found.floor_any, 1e-9)
                strength[influence.name] = max(strength.get(influence.name, 0.0), share)
    names = sorted(strength, key=lambda name: (-round(strength[name], 9), name))[:MOST_ROWS]
    rows = [(name, [_cell(name, each.found) for each in found]) for name in names]
    caption = (
        f"Spearman's rank correlation of each constant with an outcome, the {len(names)} strongest. Marked: stronger "
        "than chance makes the strongest of all; grey: no stronger than chance makes any one."
    )
    return table(["constant", *(each.title for each in found)], rows, caption=caption)


def swing_section(of: Slice) -> str:
    """Tornado charts of the runs that change one constant at a time; a sentence where there are none."""
    figures = []
    for measure in _OUTCOMES:
        nominal, found = one_at_a_time(of, measure)
        if nominal is not None and found:
            figures.append(_tornado(of.sweep, measure, nominal, found[:MOST_SWINGS]))
    head = heading("One constant at a time", level=3)
    if not figures:
        return head + paragraph(
            "This sweep has no runs that change one constant at a time; only the correlations above are known."
        )
    text = paragraph(
        "The hybrid with every constant at its nominal value, then one at a time at its lower and upper bound; those "
        "that move the outcome most. The line is the nominal outcome.",
        kind="soft",
    )
    return head + text + charts(figures)


def one_at_a_time(of: Slice, measure: Measure) -> tuple[float | None, list[OneAtATime]]:
    """The hybrid's nominal outcome, and its swings, the widest first; swings that change nothing are left out."""
    nominal = [measure.of(run) for run in of.runs(HYBRID, nominal=True)]
    ends: dict[str, dict[str, float]] = {}
    for run in of.swung(HYBRID):
        value = measure.of(run)
        if run.changed is not None and value is not None:
            ends.setdefault(run.changed.constant, {})[run.changed.end] = value
    both = {name: (found["low"], found["high"]) for name, found in ends.items() if {"low", "high"} <= found.keys()}
    return (nominal[0] if nominal else None), [each for each in swings(both) if each.width > 0]


def robustness(of: Slice) -> str:
    """In how many samples the hybrid is ahead of the next best design."""
    rival = of.next_best()
    if rival is None:
        return ""
    name = title_of(rival)
    lines = []
    for measure in (*_ADVANTAGES, GLASSES_JOULES, UP_BYTES):
        differences = [difference for _, difference in of.paired(HYBRID, rival, measure)]
        if not differences:
            continue
        sign = 1 if measure.more_is_better else -1
        ahead = sum(sign * difference > 0 for difference in differences)
        equal = sum(difference == 0 for difference in differences)
        same = f", equal in {equal}" if equal else ""
        lines.append(f"{measure.title}: the hybrid is better in {ahead} of {len(differences)} samples{same}.")
    if not lines:
        return ""
    text = f"Next best by signs right in view on network {of.network}: {name}. Sample by sample against it:"
    return heading("Does the order of the designs hold?", level=3) + paragraph(text) + bullets(lines)


def widest(of: Slice) -> list[tuple[str, Range]]:
    """Constants in play, those first whose bounds are furthest apart as a ratio."""
    ranges = of.sweep.ranges
    known = [(name, ranges[name]) for name in in_play(of, ranges) if ranges[name].low > 0]
    return sorted(known, key=lambda pair: (-pair[1].high / pair[1].low, pair[0]))


def widest_table(of: Slice) -> str:
    """The least known constants."""
    rows = [
        (
            name,
            [
                Cell(f"{each.value:g} {each.unit if each.unit != '1' else ''}".strip()),
                Cell(f"{each.low:g} to {each.high:g}"),
                Cell(f"× {each.high / each.low:.3g}"),
                Cell(each.standing, tone="warm" if each.standing == _ASSUMED else "", number=False),
            ],
        )
        for name, each in widest(of)[:MOST_WIDE]
    ]
    caption = f"The {len(rows)} constants in play with the widest range; sources: wayword-sim constants"
    return table(["constant", "nominal", "range", "factor", "standing"], rows, caption=caption) if rows else ""


def _outcome(of: Slice, title: str, values: Sequence[tuple[int, float | None]]) -> Outcome | None:
    known = [(sample, value) for sample, value in values if value is not None and sample != NOMINAL]
    if not known:
        return None
    drawn = of.drawn([sample for sample, _ in known])
    columns = {name: drawn[name] for name in in_play(of, drawn)}
    return Outcome(title, sensitivity(columns, [value for _, value in known], seed=of.sweep.seed))


def _noise(found: Sequence[Outcome]) -> str:
    first = next(each.found for each in found if each.found is not None)
    return paragraph(
        f"{first.samples} samples, each a set of all constants drawn anew ({len(first.influences)} of them in play). "
        f"By chance alone a given constant correlates up to ±{first.floor_one:.2f}, and the strongest of all up to "
        f"±{first.floor_any:.2f}, in 95 of 100 shufflings: below that a figure says nothing. More samples lower both."
    )


def _certain(of: Slice, found: Sequence[Outcome]) -> list[str]:
    """What stands out, in words, with what is only assumed of it."""
    lines = []
    for each in found:
        if each.found is None:
            continue
        names = [f"{influence.name} ({influence.rho:+.2f})" for influence in each.found.certain[:5]]
        lines.append(f"{each.title}: {', '.join(names) if names else 'none stands out from chance'}.")
    certain = {influence.name for each in found if each.found is not None for influence in each.found.certain}
    assumed = sorted(name for name in certain if _standing(of.sweep.ranges, name) == _ASSUMED)
    parts = [heading("What stands out", level=3), bullets(lines)]
    if assumed:
        parts.append(
            paragraph(
                f"Of these, {len(assumed)} are assumptions without a fitting source, so measuring them would say most: "
                f"{', '.join(assumed)}."
            )
        )
    return parts


def _cell(name: str, found: Sensitivity | None) -> Cell:
    if found is None:
        return Cell("–", tone="faint")
    rho = found.of(name)
    tone = "warm strong" if abs(rho) > found.floor_any else "" if abs(rho) > found.floor_one else "faint"
    return Cell(f"{rho + 0.0:+.2f}", tone=tone)


def _tornado(sweep: Sweep, measure: Measure, nominal: float, found: Sequence[OneAtATime]) -> str:
    values = [nominal, *(value for each in found for value in (each.low, each.high))]
    unit = "" if measure.percent else measure.unit
    axis = nice_axis(measure.title, values, percent=measure.percent, unit=unit, span=1e9)
    rows = [Swing(each.name, each.low, each.high, _bounds(sweep.ranges.get(each.name))) for each in found]
    return figure(swing_chart(f"Hybrid: {measure.title}", axis, nominal, rows))


def _bounds(of: Range | None) -> str:
    if of is None:
        return ""
    return f"{of.low:g} to {of.high:g} {of.unit if of.unit != '1' else ''}".rstrip()


def _standing(constants: Mapping[str, Range], name: str) -> str:
    found = constants.get(name)
    return "" if found is None else found.standing
