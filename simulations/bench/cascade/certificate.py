"""Whether the risk certificate keeps its promise: over repeated splits, and where its assumption is broken.

The certificate assumes independent draws. Looks at one phrase are not, so a *drawn* sample takes one look of each
phrase; the same with every look shows what becomes of the promise when the assumption is ignored. Phrases that stand on
one sign together count as one here (`simulations.traces.groups`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from shared.models.risk import Threshold, binomial_tail, certify, clopper_pearson_upper
from simulations.bench.cascade.curves import CONFIDENCE, Flags, Floats, Integers

ALPHA: Final = 0.05
DELTA: Final = 0.05
SPLITS: Final = 500
_REJECT: Final = 0.05
"""Level of the exact test that a half's error rate is above alpha: it rejects so often by chance alone."""


@dataclass(frozen=True)
class Pool:
    """Readings a certificate can be made from or tried on.

    Attributes:
        p: estimated P(right), shape (n,).
        right: whether it was, shape (n,).
        phrases: number of the phrase, from 0 on, shape (n,).
    """

    p: Floats
    right: Flags
    phrases: Integers

    def __len__(self) -> int:
        return len(self.p)

    def take(self, index: Integers | Flags) -> Pool:
        """Some of them."""
        return Pool(self.p[index], self.right[index], self.phrases[index])


@dataclass(frozen=True)
class SplitFigures:
    """What became of the promise over repeated splits.

    Attributes:
        splits: how many.
        none: share of them without any threshold that passes; nothing is kept then and nothing broken.
        rates: error rate among the kept of the other half, one for each split that keeps any.
        kept: share of the other half that is kept, one for each split.
        above: share of splits whose other half has an error rate above alpha. That half is a sample too, and its rate
            is above alpha by chance more often than the promise is broken.
        rejected: share of splits where an exact binomial test on the other half says that the rate is above alpha.
        broken: share of samples, drawn anew with replacement from all phrases, whose threshold has an error rate above
            alpha among all phrases. These are the population then, so the rate is known and not estimated: this is the
            share that the certificate promises to be at most delta.
    """

    splits: int
    none: float
    rates: tuple[float, ...]
    kept: tuple[float, ...]
    above: float
    rejected: float
    broken: float


@dataclass(frozen=True)
class TriedFigures:
    """One threshold tried on other readings.

    Attributes:
        total: readings it was tried on.
        kept: of them.
        errors: among the kept ones.
        drawn_kept, drawn_errors: the same with one look of each phrase.
        interval: of the error rate, by the drawn ones (Clopper and Pearson 1934, two-sided); None where none is kept.
    """

    total: int
    kept: int
    errors: int
    drawn_kept: int
    drawn_errors: int
    interval: tuple[float, float] | None

    @property
    def rate(self) -> float | None:
        """Share of the kept readings that is wrong; None where none is kept."""
        return self.errors / self.kept if self.kept else None


def one_of_each(phrases: Integers, rng: np.random.Generator) -> Integers:
    """Indices of one look of each phrase, drawn by chance."""
    shuffled = rng.permutation(len(phrases))
    return shuffled[np.unique(phrases[shuffled], return_index=True)[1]].astype(np.int64)


def over_splits(
    pool: Pool, *, every_look: bool, alpha: float = ALPHA, splits: int = SPLITS, seed: int = 0
) -> SplitFigures:
    """Certify on half of the phrases and count errors on the other half, again and again.

    Args:
        pool: of all readings.
        every_look: whether all looks at a phrase take part, against the certificate's assumption.
        alpha: largest share of the kept readings that may be wrong.
        splits: how often.
        seed: of the splits.
    """
    rng = np.random.default_rng(seed)
    count = int(pool.phrases.max()) + 1
    rates, kept = [], []
    none = above = rejected = broken = 0
    for _ in range(splits):
        halves = np.zeros(count, np.bool_)
        halves[rng.permutation(count)[: count // 2]] = True
        drawn = pool if every_look else pool.take(one_of_each(pool.phrases, rng))
        first = halves[drawn.phrases]
        threshold = _certify(drawn.take(first), alpha)
        n, errors = _count(drawn.take(~first), threshold)
        none += threshold is None
        kept.append(n / max(int((~first).sum()), 1))
        if n:
            rates.append(errors / n)
            above += errors > alpha * n
            rejected += errors > 0 and 1 - binomial_tail(errors - 1, n, alpha) < _REJECT
        broken += _breaks_the_promise(pool, rng, alpha, every_look=every_look)
    return SplitFigures(
        splits, none / splits, tuple(rates), tuple(kept), above / splits, rejected / splits, broken / splits
    )


def tried(threshold: float | None, pool: Pool, *, seed: int = 0) -> TriedFigures:
    """What a threshold keeps of other readings, and how much of that is wrong.

    Args:
        threshold: None for one that keeps nothing.
        pool: readings that had no part in it.
        seed: of the draw of one look of each phrase.
    """
    if threshold is None or not len(pool):
        return TriedFigures(len(pool), 0, 0, 0, 0, None)
    keeps = pool.p >= threshold
    drawn = pool.take(one_of_each(pool.phrases, np.random.default_rng(seed)))
    drawn_keeps = drawn.p >= threshold
    n, errors = int(drawn_keeps.sum()), int((drawn_keeps & ~drawn.right).sum())
    return TriedFigures(
        len(pool), int(keeps.sum()), int((keeps & ~pool.right).sum()), n, errors, two_sided(errors, n) if n else None
    )


def shifted(
    calibrate: Pool, evaluate: Pool, *, alpha: float = ALPHA, seed: int = 0
) -> tuple[Threshold | None, TriedFigures]:
    """Certify on one kind of readings, try it on another."""
    threshold = None
    if len(calibrate):
        threshold = _certify(calibrate.take(one_of_each(calibrate.phrases, np.random.default_rng(seed))), alpha)
    return threshold, tried(None if threshold is None else threshold.value, evaluate, seed=seed)


def two_sided(errors: int, n: int) -> tuple[float, float]:
    """Clopper-Pearson interval of a rate, with `CONFIDENCE`."""
    tail = (1 - CONFIDENCE) / 2
    return 1 - clopper_pearson_upper(n - errors, n, tail), clopper_pearson_upper(errors, n, tail)


def _certify(pool: Pool, alpha: float) -> Threshold | None:
    return certify(pool.p, pool.right, alpha=alpha, delta=DELTA) if len(pool) else None


def _count(pool: Pool, threshold: Threshold | None) -> tuple[int, int]:
    """How many readings are kept, and how many of them are wrong."""
    if threshold is None:
        return 0, 0
    keeps = pool.p >= threshold.value
    return int(keeps.sum()), int((keeps & ~pool.right).sum())


def _breaks_the_promise(pool: Pool, rng: np.random.Generator, alpha: float, *, every_look: bool) -> bool:
    """Draw phrases with replacement, certify on them, and look at the error rate among all phrases."""
    count = int(pool.phrases.max()) + 1
    looks = np.bincount(pool.phrases, minlength=count)
    chosen = rng.integers(count, size=count // 2)
    order = np.argsort(pool.phrases, kind="stable")
    starts = np.concatenate([[0], np.cumsum(looks)[:-1]])
    if every_look:
        index = np.concatenate([order[starts[phrase] : starts[phrase] + looks[phrase]] for phrase in chosen])
        weights = np.ones(len(pool))
    else:
        index = order[starts[chosen] + rng.integers(looks[chosen])]
        weights = 1 / looks[pool.phrases]
    threshold = _certify(pool.take(index), alpha)
    if threshold is None:
        return False
    keeps = weights * (pool.p >= threshold.value)
    return float(keeps @ ~pool.right) > alpha * float(keeps.sum())
