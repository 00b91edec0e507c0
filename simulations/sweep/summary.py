"""Figures of a sweep over its samples: medians, the range of eight in ten, and comparisons sample by sample.

All designs of one sample meet the same wearer, network and constants, so two designs are compared within samples: a
lead that all samples share is a lead, however widely both figures range.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulations.sweep.document import HYBRID, NOMINAL, Run, Sweep
from simulations.sweep.measures import PHONE_JOULES, QUALITY, Measure

TAILS: Final = (0.1, 0.9)
"""Of the samples, a tenth lie below and a tenth above the range that is shown."""
AGREE: Final = 0.9
"""Share of the samples that must agree before one design is said to be ahead of another."""
USEFUL: Final = 0.5
"""Share of the best design's right signs below which it is no merit to cost little."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over samples.

    Attributes:
        middle: median.
        low, high: tenth and ninetieth percentile.
        count: samples that have the figure.
    """

    middle: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Leader:
    """Who is ahead in one measure.

    Attributes:
        design: best by median; None where no design has the figure.
        spread: its figure.
        level: designs that are not behind it in `AGREE` of the samples.
    """

    design: str | None
    spread: Spread | None
    level: tuple[str, ...]


def spread(values: Iterable[float | None]) -> Spread | None:
    """Median and range; None when there is no value at all."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    return Spread(_quantile(known, 0.5), _quantile(known, TAILS[0]), _quantile(known, TAILS[1]), len(known))


def _quantile(ordered: Sequence[float], share: float) -> float:
    """With linear interpolation, as numpy's, which is slow for a handful of values."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


class Slice:
    """The runs that belong together: one city, pair of devices and policy, unless asked for another.

    Args:
        sweep: whole.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        first = sweep.runs[0].arm
        self.network, self.city, self.phone, self.glasses = first.network, first.city, first.phone, first.glasses
        self.policy = next((run.arm.policy for run in sweep.runs if run.arm.policy), "")
        self.designs, self.networks = sweep.names("design"), sweep.names("network")
        self._spreads: dict[tuple[object, ...], Spread | None] = {}
        self._leaders: dict[tuple[object, ...], Leader] = {}
        self._cells: dict[tuple[str, ...], list[Run]] = {}
        for each in sorted(sweep.runs, key=lambda run: run.sample):
            self._cells.setdefault(_cell_of(each), []).append(each)

    def runs(
        self,
        design: str,
        *,
        network: str | None = None,
        city: str | None = None,
        phone: str | None = None,
        glasses: str | None = None,
        policy: str | None = None,
        nominal: bool = False,
    ) -> list[Run]:
        """Runs of one cell, ordered by sample: with drawn constants, or the nominal ones where there are no others.

        Args:
            design: which.
            network, city, phone, glasses, policy: in place of the usual ones.
            nominal: only the run with nominal constants.
        """
        place = design, network or self.network, city or self.city, phone or self.phone, glasses or self.glasses
        found = self._cells.get((*place, policy or self.policy), []) or self._cells.get((*place, ""), [])
        drawn = [run for run in found if run.sample != NOMINAL]
        middle = [run for run in found if run.sample == NOMINAL]
        return middle if nominal else drawn or middle

    def swung(self, design: str) -> list[Run]:
        """Runs of the main cell that change one constant."""
        main = design, self.network, self.city, self.phone, self.glasses, self.policy
        return [run for run in self.sweep.swings if _cell_of(run) == main]

    def spread(self, design: str, measure: Measure, **cell: str | None) -> Spread | None:
        """One measure of one cell over its samples."""
        key = (design, measure, *sorted(cell.items()))
        if key not in self._spreads:
            self._spreads[key] = spread(measure.of(run) for run in self.runs(design, **cell))  # type: ignore[arg-type]
        return self._spreads[key]

    def parts(self, design: str, key: str, **cell: str | None) -> dict[str, float]:
        """Medians of a table of parts."""
        tables = [run.parts(key) for run in self.runs(design, **cell)]  # type: ignore[arg-type]
        names = [name for table in tables for name in table]
        return {name: float(np.median([table.get(name, 0.0) for table in tables])) for name in dict.fromkeys(names)}

    def paired(self, one: str, other: str, measure: Measure, **cell: str | None) -> list[tuple[int, float]]:
        """Sample and difference, one design less the other, where both have the figure."""
        by_sample = {run.sample: measure.of(run) for run in self.runs(other, **cell)}  # type: ignore[arg-type]
        found = []
        for run in self.runs(one, **cell):  # type: ignore[arg-type]
            mine, theirs = measure.of(run), by_sample.get(run.sample)
            if mine is not None and theirs is not None:
                found.append((run.sample, mine - theirs))
        return found

    def leader(self, measure: Measure, **cell: str | None) -> Leader:
        """Who is ahead in a cell, and who is level with it; designs that hardly get a sign right do not count."""
        key = (measure, *sorted(cell.items()))
        if key not in self._leaders:
            self._leaders[key] = self._leader(measure, cell)
        return self._leaders[key]

    def _leader(self, measure: Measure, cell: Mapping[str, str | None]) -> Leader:
        figures = {design: self.spread(design, measure, **cell) for design in self.useful(**cell)}
        known = {design: figure for design, figure in figures.items() if figure is not None}
        if not known:
            return Leader(None, None, ())
        sign = 1 if measure.more_is_better else -1
        best = max(known, key=lambda design: sign * known[design].middle)
        level = []
        for design in known:
            differences = [sign * difference for _, difference in self.paired(best, design, measure, **cell)]
            ahead = sum(difference > 0 for difference in differences)
            if design != best and (not differences or ahead < AGREE * len(differences)):
                level.append(design)
        return Leader(best, known[best], tuple(level))

    def useful(self, **cell: str | None) -> list[str]:
        """Designs with at least `USEFUL` of the best one's right signs; none where nobody gets any."""
        qualities = {design: self.spread(design, QUALITY, **cell) for design in self.designs}
        middles = {design: each.middle for design, each in qualities.items() if each is not None and each.middle > 0}
        return [design for design, middle in middles.items() if middle >= USEFUL * max(middles.values())]

    def next_best(self, **cell: str | None) -> str | None:
        """The design other than the hybrid with most signs right; of equal ones the one that asks less of the phone."""

        def worth(design: str) -> tuple[float, float]:
            quality = self.spread(design, QUALITY, **cell)
            joules = self.spread(design, PHONE_JOULES, **cell)
            assert quality is not None
            return quality.middle, -(joules.middle if joules is not None else 0.0)

        others = [
            design for design in self.designs if design != HYBRID and self.spread(design, QUALITY, **cell) is not None
        ]
        return max(others, key=worth, default=None)

    def drawn(self, samples: Sequence[int]) -> Mapping[str, list[float]]:
        """Drawn values of every constant in these samples, by name."""
        tables = [self.sweep.constants[sample] for sample in samples]
        return {name: [table[name] for table in tables] for name in (tables[0] if tables else {})}


def _cell_of(run: Run) -> tuple[str, ...]:
    arm = run.arm
    return arm.design, arm.network, arm.city, arm.phone, arm.glasses, arm.policy
