"""The tables of a sweep's page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from simulations.report.markup import Cell, heading, paragraph, table
from simulations.sweep.accounts import GLASSES_PARTS, PHONE_PARTS
from simulations.sweep.document import NOMINAL
from simulations.sweep.measures import (
    CONTESTED,
    GLASSES_HOURS,
    PHONE_HOURS,
    QUALITY,
    TABLE,
    Measure,
)
from simulations.sweep.page_plots import title_of
from simulations.sweep.summary import Slice, Spread

_NOTHING: Final = Cell("–", tone="faint")
_PARTS: Final = (
    ("Glasses", "glasses_joules", GLASSES_PARTS, "Idle: switched on. Wi-Fi: only the video design has it."),
    ("Phone", "phone_joules", PHONE_PARTS, "Idle: switched on. Base: the wearer's other use of the phone."),
)
"""Tables of joules by component among the metrics, the order of components, and what their names mean."""


def design_tables(of: Slice) -> str:
    """The designs, one table a network."""
    measures = _known(of, TABLE)
    parts = []
    for network in of.networks:
        rows = []
        for design in of.designs:
            cells = [_cell(measure, of.spread(design, measure, network=network)) for measure in measures]
            if any(cell.text != "–" for cell in cells):
                rows.append((title_of(design), _best(measures, cells, of, network, design)))
        if rows:
            head = ["design", *(measure.short for measure in measures)]
            parts.append(heading(f"Network: {network}", level=3))
            parts.append(table(head, rows))
    return "\n".join(parts)


def leader_table(of: Slice) -> str:
    """Who is ahead in what, on each network."""
    measures = _known(of, CONTESTED)
    rows = []
    for network in of.networks:
        cells = []
        for measure in measures:
            leader = of.leader(measure, network=network)
            if leader.design is None or leader.spread is None:
                cells.append(_NOTHING)
                continue
            names = [title_of(design) for design in leader.level]
            figure = measure.with_unit(leader.spread.middle)
            below = f"{figure}; level: {', '.join(names)}" if names else figure
            cells.append(Cell(title_of(leader.design), below, number=False))
        rows.append((network, cells))
    return table(["network", *(measure.lead for measure in measures)], rows)


def parts_tables(of: Slice) -> str:
    """Where the joules go, by component, on the main network."""
    parts = []
    for title, key, order, about in _PARTS:
        by_design = {design: of.parts(design, key) for design in of.designs}
        found_names = {name for parts_of in by_design.values() for name in parts_of}
        names = [*(name for name in order if name in found_names), *sorted(found_names.difference(order))]
        if not names:
            continue
        rows = []
        for design, found in by_design.items():
            total = sum(found.values())
            if total > 0:
                rows.append((title_of(design), [_part(found.get(name, 0.0), total) for name in names]))
        caption = f"{title}, joules a day by component: medians of the samples, and their shares. {about}"
        parts.append(table(["design", *names], rows, caption=caption))
    return "\n".join(parts)


def device_tables(of: Slice) -> str:
    """Battery life on other phones and glasses, and quality in other cities; empty where the sweep has only one."""
    names_of = of.sweep.names
    parts = []
    for measure, names, dimension in (
        (PHONE_HOURS, names_of("phone"), "phone"),
        (GLASSES_HOURS, names_of("glasses"), "glasses"),
        (QUALITY, names_of("glasses"), "glasses"),
        (QUALITY, names_of("city"), "city"),
    ):
        if len(names) < 2:
            continue
        rows = []
        for design in of.designs:
            cells = [_cell(measure, of.spread(design, measure, **{dimension: name})) for name in names]
            if any(cell.text != "–" for cell in cells):
                rows.append((title_of(design), cells))
        if rows:
            parts.append(
                table(["design", *names], rows, caption=f"{measure.title}, by {dimension}, network {of.network}")
            )
    return "\n".join(parts)


def runs_table(of: Slice) -> str:
    """OCR runs per charge by device; empty where the results have none."""
    sweep = of.sweep
    pipelines = sorted({name for row in sweep.ocr_runs_per_charge for name in row.runs})
    if not pipelines:
        return ""
    rows = []
    for row in sweep.ocr_runs_per_charge:
        cells = []
        for name in pipelines:
            middle, low, high = row.runs.get(name, (0.0, 0.0, 0.0))
            between = f"{_thousands(low)} to {_thousands(high)}"
            cells.append(Cell(_thousands(middle), between) if middle else Cell("none"))
        rows.append((row.device, cells))
    heads = [f"{name}, {sweep.speeds[name]:.0f} ms" if name in sweep.speeds else name for name in pipelines]
    caption = "Readings that a full battery pays for if it pays for nothing else; small: eight in ten samples"
    return paragraph(
        "Milliseconds of one reading, mean of the traces on their machine; a device takes as much longer as its speed "
        "says. "
        "“none”: the device cannot hold the models.",
        kind="soft",
    ) + table(["device", *heads], rows, caption=caption)


def refusals(of: Slice) -> list[str]:
    """Which designs cannot be run on which glasses, and why."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for run in of.sweep.runs:
        if run.why_not is not None:
            found.setdefault((run.arm.glasses, run.why_not), {})[title_of(run.arm.design)] = None
    return [f"{glasses}, {reason}: {', '.join(designs)}" for (glasses, reason), designs in found.items()]


def samples_of(of: Slice) -> int:
    """Drawn sets of constants that the main cells have."""
    counts = [sum(run.sample != NOMINAL for run in of.runs(design, network=of.network)) for design in of.designs]
    return max(counts, default=0)


def _known(of: Slice, measures: Sequence[Measure]) -> list[Measure]:
    return [measure for measure in measures if any(measure.of(run) is not None for run in of.sweep.runs)]


def _cell(measure: Measure, found: Spread | None) -> Cell:
    if found is None:
        return _NOTHING
    middle, low, high = (measure.write(value) for value in (found.middle, found.low, found.high))
    return Cell(middle, "" if low == high == middle else measure.write_range(found.low, found.high))


def _best(measures: Sequence[Measure], cells: Sequence[Cell], of: Slice, network: str, design: str) -> list[Cell]:
    """Cells of a design, those marked in which it is ahead or level with the one that is."""
    marked = []
    for measure, cell in zip(measures, cells, strict=True):
        leader = of.leader(measure, network=network)
        contested = measure in CONTESTED and cell.text != "–"
        good = contested and design in (leader.design, *leader.level)
        marked.append(Cell(cell.text, cell.below, "good") if good else cell)
    return marked


def _part(joules: float, total: float) -> Cell:
    if joules == 0:
        return _NOTHING
    return Cell(
        f"{joules:,.0f}".replace(",", " ") if joules >= 10 else f"{joules:.2g}", f"{100 * joules / total:.1f} %"
    )


def _thousands(value: float) -> str:
    return f"{float(f'{value:.2g}'):,.0f}".replace(",", " ")
