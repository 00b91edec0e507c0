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
ALLOW: Final = "allow"


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
        run = sweep.run
        self.city, self.phone, self.glasses = run.cities[0], run.phones[0], run.glasses[0]
        self.link = run.links[0] if run.links else ""
        self.policy = run.policies[0] if run.policies else ""
        self.network = run.networks[0]
        self._spreads: dict[tuple[object, ...], Spread | None] = {}
        self._by_design: dict[str, list[Run]] = {}
        for each in sweep.runs:
            self._by_design.setdefault(each.design, []).append(each)

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
        """Runs of one cell, ordered by sample; drawn constants, or the nominal ones where there are no others.

        Args:
            design: which.
            network, city, phone, glasses, policy: in place of the usual ones.
            nominal: only the run with nominal constants.
        """
        cell = self._cell(
            design,
            network or self.network,
            city or self.city,
            phone or self.phone,
            glasses or self.glasses,
            policy or self.policy,
        )
        found = [run for run in cell if run.changed is None]
        drawn = sorted((run for run in found if run.sample != NOMINAL), key=lambda run: run.sample)
        middle = [run for run in found if run.sample == NOMINAL]
        return middle if nominal else drawn or middle

    def swung(self, design: str) -> list[Run]:
        """Runs of the main cell that change one constant."""
        cell = self._cell(design, self.network, self.city, self.phone, self.glasses, self.policy)
        return [run for run in cell if run.changed is not None]

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

    def leader(self, measure: Measure, designs: Sequence[str], **cell: str | None) -> Leader:
        """Who is ahead in a cell, and who is level with it; designs that hardly get a sign right do not count."""
        figures = {design: self.spread(design, measure, **cell) for design in self.useful(designs, **cell)}
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

    def useful(self, designs: Sequence[str], **cell: str | None) -> list[str]:
        """Designs with at least `USEFUL` of the best one's right signs; none where nobody gets any."""
        qualities = {design: self.spread(design, QUALITY, **cell) for design in designs}
        middles = {design: each.middle for design, each in qualities.items() if each is not None and each.middle > 0}
        return [design for design, middle in middles.items() if middle >= USEFUL * max(middles.values())]

    def next_best(self, designs: Sequence[str], **cell: str | None) -> str | None:
        """The design other than the hybrid with most signs right; of equal ones the one that asks less of the phone."""

        def worth(design: str) -> tuple[float, float]:
            quality = self.spread(design, QUALITY, **cell)
            joules = self.spread(design, PHONE_JOULES, **cell)
            assert quality is not None
            return quality.middle, -(joules.middle if joules is not None else 0.0)

        others = [design for design in designs if design != HYBRID and self.spread(design, QUALITY, **cell) is not None]
        return max(others, key=worth, default=None)

    def _cell(self, design: str, network: str, city: str, phone: str, glasses: str, policy: str) -> list[Run]:
        return [
            run
            for run in self._by_design.get(design, ())
            if (run.network, run.city, run.phone, run.glasses) == (network, city, phone, glasses)
            and run.link in ("", self.link)
            and run.privacy in ("", ALLOW)
            and (not run.policy or run.policy == policy)
        ]

    def drawn(self, samples: Sequence[int]) -> Mapping[str, list[float]]:
        """Drawn values of every constant in these samples, by name."""
        tables = [self.sweep.samples[sample] for sample in samples]
        return {name: [table[name] for table in tables] for name in (tables[0] if tables else {})}
