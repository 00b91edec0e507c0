"""The results as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from simulations.bench.stabiliser.late import LateFigures
from simulations.bench.stabiliser.measures import Figures
from simulations.bench.stabiliser.results import LateRow, Results, Row
from simulations.bench.stabiliser.targets import LATE_LAG_S, Verdict, late_verdicts, verdicts

MEASURED_HEAD = (
    "contender",
    "CPU p50 ms",
    "p99",
    "max",
    "x floor",
    "wall p50 ms",
    "p99",
    "max",
    "error p50 px",
    "p95",
    "< 4 px",
    "< 5 px",
    "sure and wrong",
    "back s p50",
    "max",
    "never",
    "jitter px",
)
LATE_HEAD = ("contender", "age s", "readings", "error p50 px", "p95", "< 4 px", "frames p50", "max")
NOTES = (
    "Times are one thread's, in `observe` alone, without the first frame. Floor: Y halved by `cv2.resize(INTER_AREA)` "
    "into memory that is there already, CPU p50 on the same frames in the same run; both find the frame in memory, not "
    "in a cache. Values are medians over the seeds, maxima the largest of any seed.",
    "Error: mean corner distance of a line's label from the truth in a visible sign; lost or without a pose: infinite. "
    "Signs of the first frame count from the second on, later ones (added 5 frames after they appear) 10 frames after "
    "they are added. Nothing is added twice; planes are not given.",
    "Sure and wrong: said to be tracked, more than 10 px off. Back: from the return of a sign that was out of sight "
    "for 5 frames or more until its labels are within 4 px. Jitter: median change of a corner's error between frames.",
)


def number(value: float, digits: int = 2) -> str:
    """For a table: ∞ for infinite, – for nothing."""
    if math.isnan(value):
        return "–"
    return "∞" if math.isinf(value) else f"{value:.{digits}f}"


def percent(value: float) -> str:
    """A share; – for nothing."""
    return "–" if math.isnan(value) else f"{100 * value:.1f} %"


def markdown_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table with a rule under its head."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def measured_cells(row: Row) -> list[str]:
    """One row under `MEASURED_HEAD`."""
    figures = row.figures
    times = (figures.cpu_p50, figures.cpu_p99, figures.cpu_max)
    walls = (figures.wall_p50, figures.wall_p99, figures.wall_max)
    back = f"{figures.unrecovered} of {len(figures.waits)}" if figures.waits else "–"
    return [
        row.title + (" †" if row.note else ""),
        *(number(value) for value in times),
        number(figures.ratio, 1),
        *(number(value) for value in walls),
        number(figures.error_median),
        number(figures.error_p95),
        percent(figures.under_4),
        percent(figures.under_5),
        percent(figures.wrong),
        number(figures.recovery_median),
        number(figures.recovery_max),
        back,
        number(figures.jitter, 3),
    ]


def beside_cells(row: Row) -> list[str]:
    """What happens beside the frame path: worker, `add`, refusals, the contender's own counts."""
    figures = row.figures
    counters = ", ".join(f"{name} {count}" for name, count in figures.counters.items() if count) or "–"
    return [
        row.title,
        number(figures.worker_mean),
        number(figures.worker_max),
        number(figures.add_max),
        str(figures.refused),
        counters,
    ]


BESIDE_HEAD = ("contender", "worker CPU ms a frame", "max", "longest add, CPU ms", "refused", "counts, all seeds")


def late_cells(row: LateRow) -> list[str]:
    """One row under `LATE_HEAD`."""
    figures: LateFigures = row.figures
    return [
        row.title,
        f"{row.lag_s:g}",
        str(figures.count),
        number(figures.error_median),
        number(figures.error_p95),
        percent(figures.under_4),
        number(figures.frames_median, 0),
        number(figures.frames_max, 0),
    ]


def verdict_cell(verdict: Verdict) -> str:
    """met, or missed with the value; – where nothing was measured."""
    if verdict.met is None:
        return "–"
    value = number(verdict.value) if verdict.value > 1 or "%" not in verdict.target else percent(verdict.value)
    return f"met ({value})" if verdict.met else f"**missed** ({value})"


def target_table(rows: Sequence[Row]) -> tuple[Sequence[str], list[list[str]]]:
    """Head and lines: each sequence and contender against the targets."""
    lines = []
    head: list[str] = ["sequence", "contender"]
    for row in rows:
        found = verdicts(row.figures, gyro=row.gyro)
        head[2:] = [verdict.target for verdict in found]
        lines.append([row.sequence, row.title, *(verdict_cell(verdict) for verdict in found)])
    return head, lines


def late_target_table(rows: Sequence[LateRow]) -> tuple[Sequence[str], list[list[str]]]:
    """Likewise for the readings of `LATE_LAG_S`."""
    lines = []
    head: list[str] = ["sequence", "contender"]
    for row in rows:
        if row.lag_s == LATE_LAG_S:
            found = late_verdicts(row.figures)
            head[2:] = [verdict.target for verdict in found]
            lines.append([row.sequence, row.title, *(verdict_cell(verdict) for verdict in found)])
    return head, lines


def floor_line(rows: Sequence[Row]) -> str:
    """The memory floor that each contender's run measured."""
    figures: list[Figures] = [row.figures for row in rows]
    floors = [each.floor for each in figures]
    samples = max(each.samples for each in figures)
    return f"Floor {min(floors):.3f}–{max(floors):.3f} ms; up to {samples} samples."


def sequences_of(rows: Iterable[Row | LateRow]) -> list[str]:
    """Names in the order they came."""
    return list(dict.fromkeys(row.sequence for row in rows))


def markdown(results: Results) -> str:
    """The whole report."""
    seeds = ", ".join(str(seed) for seed in results.seeds)
    parts = [f"Machine: {results.machine}. Seeds {seeds}; {results.seconds:g} s each, 1280x720 at 30 frames a second."]
    parts.extend(f"Skipped: {title} ({reason})." for title, reason in results.skipped.items())
    if results.rows:
        parts.append("\n\n".join(NOTES))
    for name in sequences_of(results.rows):
        rows = [row for row in results.rows if row.sequence == name]
        parts.append(f"### {name}\n\n{floor_line(rows)}")
        parts.append(markdown_table(MEASURED_HEAD, map(measured_cells, rows)))
        parts.extend(f"† {note}" for note in dict.fromkeys(row.note for row in rows if row.note))
        beside = [row for row in rows if row.figures.counters or row.figures.refused or row.figures.worker_max > 0]
        if beside:
            parts.append(markdown_table(BESIDE_HEAD, map(beside_cells, beside)))
    if results.rows:
        parts.append("### Targets\n\n" + markdown_table(*target_table(results.rows)))
    for name in sequences_of(results.late):
        late = [row for row in results.late if row.sequence == name]
        parts.append(f"### Late readings: {name}\n\n" + markdown_table(LATE_HEAD, map(late_cells, late)))
    if results.late:
        parts.append("### Late readings: targets\n\n" + markdown_table(*late_target_table(results.late)))
    return "\n\n".join(parts) + "\n"
