"""Cascade curves: what share of signs is right when a share of them is escalated, and how sure that figure is.

Signs are escalated in the order of a score, the highest first. Signs with equal scores are asked in random order, so
the curve is a straight line through them: its expectation. A random order is thus the line from "none" to "all", and
its area the trapezoid's.

The bootstrap draws clusters (all looks at all signs that share a phrase, if only over others), not looks: those of a
phrase are right and wrong together, and intervals that took them for independent would be too narrow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from shared.errors import InputError

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

RESAMPLES: Final = 1000
ORACLE: Final = "oracle"
CONFIDENCE: Final = 0.95
"""Of every interval, by percentiles (Efron and Tibshirani 1993, chapter 13)."""
GRID: Final = np.linspace(0.0, 1.0, 51)
"""Shares escalated at which a curve's interval is kept for the plot."""


@dataclass(frozen=True)
class Outcomes:
    """What is known of every look after the fact.

    Attributes:
        local: quality of the phone's own answer, 0..1, shape (n,).
        final: quality after the cloud was asked, 0..1, shape (n,).
        clusters: number of the cluster a look belongs to, from 0 on, shape (n,).
    """

    local: Floats
    final: Floats
    clusters: Integers

    def __post_init__(self) -> None:
        if not len(self.local):
            raise InputError("there is no sign to draw a curve from")
        if not len(self.local) == len(self.final) == len(self.clusters):
            raise ValueError("local, final and clusters must have one length")

    def __len__(self) -> int:
        return len(self.local)


@dataclass(frozen=True)
class Interval:
    """A figure and where it lies with `CONFIDENCE`."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """Quality against the share escalated, a polyline from share 0 to share 1.

    Attributes:
        shares: escalated, rising, shape (k,).
        qualities: mean quality, shape (k,).
    """

    shares: Floats
    qualities: Floats

    @property
    def area(self) -> float:
        """Under the polyline: mean quality when every share is equally likely."""
        return float(np.trapezoid(self.qualities, self.shares))

    def at(self, share: float) -> float:
        """Quality when a share is escalated."""
        return float(np.interp(share, self.shares, self.qualities))


class Order:
    """The order in which a score escalates looks, worked out once.

    Args:
        scores: the higher, the sooner a look is escalated, shape (n,).

    Raises:
        InputError: a score is not a number.
    """

    def __init__(self, scores: Floats) -> None:
        if np.isnan(scores).any():
            raise InputError("a score that orders signs is not a number")
        self._order = np.argsort(-scores, kind="stable")
        ordered = scores[self._order]
        self._starts = np.concatenate([[0], np.flatnonzero(np.diff(ordered)) + 1])

    def curve(self, outcomes: Outcomes, weights: Floats | None = None) -> Curve:
        """The curve of this order.

        Args:
            outcomes: of the same looks as the scores.
            weights: how often each look counts, shape (n,); once by default.
        """
        w = np.ones(len(outcomes)) if weights is None else weights
        gains = (w * (outcomes.final - outcomes.local))[self._order]
        shares = np.cumsum(np.add.reduceat(w[self._order], self._starts))
        total = shares[-1]
        rises = np.cumsum(np.add.reduceat(gains, self._starts))
        base = float(w @ outcomes.local)
        # The end is what a sum in the looks' own order gives, not the same sum rounded in another order.
        rises[-1] = float(w @ outcomes.final) - base
        return Curve(np.concatenate([[0.0], shares / total]), np.concatenate([[base], base + rises]) / total)


def mean_quality(values: Floats, weights: Floats | None = None) -> float:
    """Mean of a quality, weighted."""
    w = np.ones(len(values)) if weights is None else weights
    return float(w @ values) / float(w.sum())


def oracle_scores(outcomes: Outcomes) -> Floats:
    """The order of one who knows both answers: the largest gain first."""
    return outcomes.final - outcomes.local


def clusters_of(names: Sequence[str]) -> Integers:
    """Numbers for names, equal for equal names."""
    return np.unique(np.array(names), return_inverse=True)[1].astype(np.int64).reshape(-1)


def resampled_weights(clusters: Integers, resamples: int, seed: int) -> Iterator[Floats]:
    """Weights of the looks in each bootstrap resample: how often their cluster was drawn."""
    count = int(clusters.max()) + 1
    rng, even = np.random.default_rng(seed), np.full(count, 1 / count)
    for _ in range(resamples):
        yield rng.multinomial(count, even)[clusters].astype(np.float64)


def interval(value: float, drawn: Sequence[float] | Floats) -> Interval:
    """A figure with the percentiles of its resamples."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.asarray(drawn, np.float64), (tail, 1 - tail))
    return Interval(value, float(low), float(high))


@dataclass(frozen=True)
class RankingFigures:
    """One order of escalation, measured.

    Attributes:
        curve: of all looks.
        band: percentiles of the quality at each share of `GRID`, shape (2, grid).
        area: under the curve.
        normalised: the area between random order, 0, and the oracle's, 1.
        over_random: area more than random order's.
        over_plain: area more than that of the order it is compared with; None for that order itself.
        at_target: quality at the largest share the target allows.
        behind_cloud: quality there, less that of asking for every sign.
    """

    curve: Curve
    band: Floats
    area: Interval
    normalised: Interval
    over_random: Interval
    over_plain: Interval | None
    at_target: Interval
    behind_cloud: Interval


@dataclass(frozen=True)
class ArmFigures:
    """A fixed way of deciding, measured.

    Attributes:
        share: escalated.
        quality: share of signs right.
        behind_cloud: quality less that of asking for every sign.
    """

    share: Interval
    quality: Interval
    behind_cloud: Interval


def measure_rankings(
    outcomes: Outcomes, scores: Mapping[str, Floats], *, plain: str, target_share: float, resamples: int, seed: int
) -> dict[str, RankingFigures]:
    """Measure several orders on the same looks and the same resamples, the oracle's added.

    Args:
        outcomes: of the looks.
        scores: by name of the order.
        plain: name of the order that the others are compared with.
        target_share: at which a quality is reported.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    orders = {name: Order(values) for name, values in (*scores.items(), (ORACLE, oracle_scores(outcomes)))}
    full = {name: order.curve(outcomes) for name, order in orders.items()}
    numbers = {name: _numbers(full, name, outcomes, None, plain, target_share) for name in orders}
    drawn: dict[str, list[Floats]] = {name: [] for name in orders}
    grids: dict[str, list[Floats]] = {name: [] for name in orders}
    for weights in resampled_weights(outcomes.clusters, resamples, seed):
        curves = {name: order.curve(outcomes, weights) for name, order in orders.items()}
        for name, curve in curves.items():
            drawn[name].append(_numbers(curves, name, outcomes, weights, plain, target_share))
            grids[name].append(np.interp(GRID, curve.shares, curve.qualities))
    tail = (1 - CONFIDENCE) / 2
    found = {}
    for name, curve in full.items():
        columns = np.array(drawn[name]).T
        area, normalised, over_random, over_plain, at_target, behind = (
            interval(float(value), column) for value, column in zip(numbers[name], columns, strict=True)
        )
        band = np.quantile(np.array(grids[name]), (tail, 1 - tail), axis=0)
        found[name] = RankingFigures(
            curve, band, area, normalised, over_random, None if name == plain else over_plain, at_target, behind
        )
    return found


def measure_arms(
    outcomes: Outcomes, arms: Mapping[str, tuple[Flags, Floats]], *, resamples: int, seed: int
) -> dict[str, ArmFigures]:
    """Measure fixed decisions on the same resamples.

    Args:
        outcomes: of the looks.
        arms: by name which looks were escalated, and the quality of every look's answer then.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    drawn: dict[str, list[tuple[float, float, float]]] = {name: [] for name in arms}
    flags = {name: asked.astype(np.float64) for name, (asked, _) in arms.items()}
    for weights in resampled_weights(outcomes.clusters, resamples, seed):
        cloud = mean_quality(outcomes.final, weights)
        for name, (_, quality) in arms.items():
            got = mean_quality(quality, weights)
            drawn[name].append((mean_quality(flags[name], weights), got, got - cloud))
    all_cloud = mean_quality(outcomes.final)
    found = {}
    for name, (_, quality) in arms.items():
        shares, qualities, behind = np.array(drawn[name]).T
        value = mean_quality(quality)
        found[name] = ArmFigures(
            interval(mean_quality(flags[name]), shares),
            interval(value, qualities),
            interval(value - all_cloud, behind),
        )
    return found


def _numbers(
    curves: Mapping[str, Curve], name: str, outcomes: Outcomes, weights: Floats | None, plain: str, target_share: float
) -> Floats:
    """What is reported of one order: area, normalised, over random, over plain, quality at the target, behind all."""
    every = mean_quality(outcomes.final, weights)
    random = (mean_quality(outcomes.local, weights) + every) / 2
    area, room = curves[name].area, curves[ORACLE].area - random
    # Where no order can gain anything all are as good as random.
    normalised = (area - random) / room if room > 0 else 0.0
    quality = curves[name].at(target_share)
    return np.array([area, normalised, area - random, area - curves[plain].area, quality, quality - every])
