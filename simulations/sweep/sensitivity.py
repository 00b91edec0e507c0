"""Which uncertain constants matter: rank correlations over the samples of a sweep, and swings one at a time.

Spearman's rank correlation (1904) of a constant's drawn values with an outcome says how far they rise together,
whatever the shape of the curve, -1 to 1. With few samples and many constants some correlate by chance; how strongly is
found by shuffling the outcome over the samples, which breaks every true link and keeps all else (a permutation test;
Westfall and Young 1993 for the largest of many). A constant counts only when it stands out from that noise.

Swings need runs of their own: each constant at its bounds, all others nominal. They show size and direction in the
outcome's own unit, and miss what constants do together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from shared.errors import InputError

Floats: TypeAlias = npt.NDArray[np.float64]

PERMUTATIONS: Final = 500
CONFIDENCE: Final = 0.95
"""Share of the shuffles in which chance stays below the floor."""
LEAST_SAMPLES: Final = 4
"""Below this every order is likely by chance: 3 samples give a correlation of 1 in one case of three."""


@dataclass(frozen=True, slots=True)
class Influence:
    """One constant and one outcome.

    Attributes:
        name: of the constant.
        rho: rank correlation, -1 to 1.
    """

    name: str
    rho: float


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What moves one outcome.

    Attributes:
        samples: how many sets of constants.
        influences: the strongest first; equal ones by name.
        floor_one: what the correlation of one given constant exceeds by chance in one case of twenty.
        floor_any: what the strongest of all exceeds by chance in one case of twenty.
    """

    samples: int
    influences: tuple[Influence, ...]
    floor_one: float
    floor_any: float

    def of(self, name: str) -> float:
        """The correlation of one constant; 0 for one that was not looked at."""
        return next((each.rho for each in self.influences if each.name == name), 0.0)

    @property
    def certain(self) -> tuple[Influence, ...]:
        """Those that chance alone does not explain."""
        return tuple(each for each in self.influences if abs(each.rho) > self.floor_any)


@dataclass(frozen=True, slots=True)
class OneAtATime:
    """What a constant does to an outcome when it alone goes to its bounds.

    Attributes:
        name: of the constant.
        low, high: the outcome with the constant at its lower and upper bound.
    """

    name: str
    low: float
    high: float

    @property
    def width(self) -> float:
        """How far it swings."""
        return abs(self.high - self.low)


def ranks(values: Floats) -> Floats:
    """Ranks from 0 on along the first axis; equal values share the mean of theirs.

    Args:
        values: finite, shape (n,) or (n, k).
    """
    if values.ndim == 2:
        ordered = np.sort(values, axis=0)
        if not (ordered[1:] == ordered[:-1]).any():
            return np.argsort(np.argsort(values, axis=0), axis=0).astype(np.float64)
        return np.column_stack([ranks(column) for column in values.T])
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    mean: Floats = (ends - counts + ends - 1) / 2
    return mean[places.reshape(-1)]


def spearman(inputs: Floats, outcome: Floats) -> Floats:
    """Rank correlation of each input with an outcome.

    Args:
        inputs: finite, shape (n, k).
        outcome: finite, shape (n,).

    Returns:
        Shape (k,); 0 where an input or the outcome is the same in all samples.

    Raises:
        InputError: something is not finite, or the lengths differ.
    """
    if len(inputs) != len(outcome):
        raise InputError("inputs and outcome must have as many samples as each other")
    if not (np.isfinite(inputs).all() and np.isfinite(outcome).all()):
        raise InputError("a rank correlation needs finite numbers")
    return _standard(ranks(inputs)).T @ _standard(ranks(outcome))


def sensitivity(
    constants: Mapping[str, Sequence[float]],
    outcome: Sequence[float],
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Sensitivity | None:
    """What moves an outcome.

    Args:
        constants: drawn values by name, one for each sample; those that do not vary are left out.
        outcome: one for each sample.
        permutations: shuffles for the noise floor, at least 20.
        seed: of the shuffles.

    Returns:
        None for fewer than `LEAST_SAMPLES` samples, an outcome that never varies, or nothing that does.

    Raises:
        InputError: something is not finite, the lengths differ, or there are too few permutations.
    """
    if permutations < 20:
        raise InputError("a noise floor takes at least 20 permutations")
    names = sorted(name for name, values in constants.items() if len(set(values)) > 1)
    y = np.asarray(outcome, np.float64)
    if len(y) < LEAST_SAMPLES or not names or len(set(outcome)) < 2:
        return None
    x = np.array([constants[name] for name in names], np.float64).T
    rho = spearman(x, y)
    floor_one, floor_any = _floors(_standard(ranks(x)), _standard(ranks(y)), permutations, seed)
    order = sorted(range(len(names)), key=lambda index: (-abs(round(float(rho[index]), 9)), names[index]))
    found = tuple(Influence(names[index], float(np.clip(rho[index], -1.0, 1.0))) for index in order)
    return Sensitivity(len(y), found, floor_one, floor_any)


def swings(bounds: Mapping[str, tuple[float, float]]) -> list[OneAtATime]:
    """Swings one at a time, the widest first; equal ones by name.

    Args:
        bounds: by constant the outcome at its lower and its upper bound.
    """
    found = [OneAtATime(name, low, high) for name, (low, high) in bounds.items()]
    return sorted(found, key=lambda each: (-each.width, each.name))


def _standard(ranked: Floats) -> Floats:
    """Ranks with mean 0 and length 1 along the first axis; all 0 where they do not vary."""
    centred = ranked - ranked.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    standard: Floats = np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)
    return standard


def _floors(x: Floats, y: Floats, permutations: int, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    shuffled = rng.permuted(np.tile(y, (permutations, 1)), axis=1)
    by_chance = np.abs(shuffled @ x)
    return float(np.quantile(by_chance, CONFIDENCE)), float(np.quantile(by_chance.max(axis=1), CONFIDENCE))
