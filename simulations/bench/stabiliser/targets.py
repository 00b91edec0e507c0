"""What the stabiliser is to reach on every sequence, and whether a row does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from simulations.bench.stabiliser.late import LateFigures
from simulations.bench.stabiliser.measures import Figures

FLOOR_RATIO: Final = 4.0
CPU_P99_MS: Final = 2.5
CPU_MAX_MS: Final = 10.0
ERROR_MEDIAN_PX: Final = 0.5
UNDER_4_WITH_GYRO: Final = 0.97
UNDER_4_WITHOUT: Final = 0.92
RECOVERY_S: Final = 0.5
LATE_LAG_S: Final = 2.0
LATE_MEDIAN_PX: Final = 0.5
LATE_UNDER_4: Final = 0.95


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target for one row.

    Attributes:
        target: what is asked for.
        value: what was measured; NaN when there was nothing to measure.
        met: None when there was nothing to measure.
    """

    target: str
    value: float
    met: bool | None


def _at_most(target: str, value: float, limit: float) -> Verdict:
    return Verdict(target, value, None if math.isnan(value) else value <= limit)


def _at_least(target: str, value: float, limit: float) -> Verdict:
    return Verdict(target, value, None if math.isnan(value) else value >= limit)


def verdicts(figures: Figures, *, gyro: bool) -> list[Verdict]:
    """Of one contender on one sequence. Re-acquisition is judged by the longest wait, never being the longest."""
    under_4 = UNDER_4_WITH_GYRO if gyro else UNDER_4_WITHOUT
    longest_wait = max(figures.waits, default=math.nan)
    return [
        _at_most(f"p50 ≤ {FLOOR_RATIO:g}x floor", figures.ratio, FLOOR_RATIO),
        _at_most(f"p99 ≤ {CPU_P99_MS:g} ms", figures.cpu_p99, CPU_P99_MS),
        _at_most(f"max ≤ {CPU_MAX_MS:g} ms", figures.cpu_max, CPU_MAX_MS),
        _at_most(f"median ≤ {ERROR_MEDIAN_PX:g} px", figures.error_median, ERROR_MEDIAN_PX),
        _at_least(f"< 4 px ≥ {UNDER_4_WITH_GYRO:.0%} ({UNDER_4_WITHOUT:.0%} no gyro)", figures.under_4, under_4),
        _at_most(f"back ≤ {RECOVERY_S:g} s", longest_wait, RECOVERY_S),
    ]


def late_verdicts(figures: LateFigures) -> list[Verdict]:
    """Of readings that are `LATE_LAG_S` old."""
    return [
        _at_most(f"median ≤ {LATE_MEDIAN_PX:g} px", figures.error_median, LATE_MEDIAN_PX),
        _at_least(f"< 4 px ≥ {LATE_UNDER_4:.0%}", figures.under_4, LATE_UNDER_4),
    ]
