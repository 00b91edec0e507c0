"""The tables of a sweep's page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from simulations.report.markup import Cell, heading, paragraph, table
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
PHONE_PARTS: Final = "phone_joules"
GLASSES_PARTS: Final = "glasses_joules"
"""Tables of joules by component, among the outcomes."""


def design_tables(of: Slice) -> str:
    """The designs, one table a network."""
    sweep = of.sweep
    measures = _known(of, TABLE)
    parts = []
    for network in sweep.run.networks:
        rows = []
        for design in sweep.run.designs:
            cells = [_cell(measure, of.spread(design, measure, network=network)) for measure in measures]
            if any(cell.text != "–" for cell in cells):
                rows.append((title_of(sweep, design), _best(measures, cells, of, network, design)))
        if rows:
            head = ["design", *(measure.short for measure in measures)]
            parts.append(heading(f"Network: {network}", level=3))
            parts.append(table(head, rows))
    return "\n".join(parts)


def leader_table(of: Slice) -> str:
    """Who is ahead in what, on each network."""
    sweep = of.sweep
    measures = _known(of, CONTESTED)
    rows = []
    for network in sweep.run.networks:
        cells = []
        for measure in measures:
            leader = of.leader(measure, sweep.run.designs, network=network)
            if leader.design is None or leader.spread is None:
                cells.append(_NOTHING)
                continue
            names = [title_of(sweep, design) for design in leader.level]
            figure = measure.with_unit(leader.spread.middle)
            below = f"{figure}; level: {', '.join(names)}" if names else figure
            cells.append(Cell(title_of(sweep, leader.design), below, number=False))
        rows.append((network, cells))
    return table(["network", *(measure.lead for measure in measures)], rows)


def parts_tables(of: Slice) -> str:
    """Where the joules go, by component, on the main network."""
    sweep = of.sweep
    parts = []
    for title, key in (("Glasses", GLASSES_PARTS), ("Phone", PHONE_PARTS)):
        by_design = {design: of.parts(design, key) for design in sweep.run.designs}
        names = list(dict.fromkeys(name for table_ in by_design.values() for name in table_))
        if not names:
            continue
        rows = []
        for design, found in by_design.items():
            total = sum(found.values())
            if total > 0:
                rows.append((title_of(sweep, design), [_part(found.get(name, 0.0), total) for name in names]))
        parts.append(
            table(["design", *names], rows, caption=f"{title}: joules a day, medians of the samples, and shares")
        )
    return "\n".join(parts)


def device_tables(of: Slice) -> str:
    """Battery life on other phones and glasses, and quality in other cities; empty where the sweep has only one."""
    run = of.sweep.run
    parts = []
    for measure, names, dimension in (
        (PHONE_HOURS, run.phones, "phone"),
        (GLASSES_HOURS, run.glasses, "glasses"),
        (QUALITY, run.glasses, "glasses"),
        (QUALITY, run.cities, "city"),
    ):
        if len(names) < 2:
            continue
        rows = []
        for design in run.designs:
            cells = [_cell(measure, of.spread(design, measure, **{dimension: name})) for name in names]
            if any(cell.text != "–" for cell in cells):
                rows.append((title_of(of.sweep, design), cells))
        if rows:
            parts.append(
                table(["design", *names], rows, caption=f"{measure.title}, by {dimension}, network {of.network}")
            )
    return "\n".join(parts)


def runs_table(of: Slice) -> str:
    """OCR runs per charge by device; empty where the results have none."""
    sweep = of.sweep
    pipelines = list(dict.fromkeys(name for by_name in sweep.ocr_runs.values() for name in by_name))
    if not pipelines:
        return ""
    rows = []
    for device, by_name in sweep.ocr_runs.items():
        cells = []
        for name in pipelines:
            middle, low, high = by_name.get(name, (0.0, 0.0, 0.0))
            cells.append(
                Cell(_thousands(middle), f"{_thousands(low)} to {_thousands(high)}") if middle else Cell("none")
            )
        rows.append((device, cells))
    heads = [
        f"{name}, {sweep.ocr_milliseconds[name]:g} ms" if name in sweep.ocr_milliseconds else name for name in pipelines
    ]
    caption = "Readings that a full battery pays for if it pays for nothing else; small: eight in ten samples"
    return paragraph(
        "Milliseconds are the median of the traces on their machine; a device takes as much longer as its speed says. "
        "“none”: the device cannot hold the models.",
        kind="soft",
    ) + table(["device", *heads], rows, caption=caption)


def samples_of(of: Slice) -> int:
    """Drawn sets of constants that the main cells have."""
    counts = [
        sum(run.sample != NOMINAL for run in of.runs(design, network=of.network)) for design in of.sweep.run.designs
    ]
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
        leader = of.leader(measure, of.sweep.run.designs, network=network)
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
