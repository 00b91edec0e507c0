"""From which probability on a reading may be trusted, so that a stated share of those trusted is right: a certificate.

*What is promised.* Readings with p >= threshold are kept without asking. With probability at least 1 - delta over the
draw of the calibration sample, at most the share alpha of such readings is wrong: in the long run, over readings drawn
as the sample was. It is no promise about any one reading, nor about any one group of them (a language, the dark).

*Assumption.* The sample and what comes later are exchangeable: independent draws of the same mix of signs, light and
languages. Several looks at one sign are not independent, nor are signs that say the same; take one look for each text.
Under another mix the promise is void. Nothing is assumed of p: a bad one gives a high threshold, or none.

*Method.* Selective risk control: thresholds are a grid fixed in advance, from strict to lax. For each, "more than alpha
of the readings it keeps are wrong" is tested with the exact binomial tail, which is the Clopper-Pearson bound read the
other way round: the tail is <= delta just when the bound is <= alpha (Clopper and Pearson 1934; Geifman and El-Yaniv
2017, "Selective Classification for Deep Neural Networks", use the same bound with a search). The laxest threshold that
passes before the first that fails is taken: fixed-sequence testing (Angelopoulos et al. 2021, "Learn then Test").

*Why no union bound is needed.* To certify anything false, the procedure must pass the *first* false threshold in the
order, for it stops at the first failure. Which one that is does not depend on the sample, and it passes with
probability at most delta.

*Few kept.* Below ln(delta) / ln(1 - alpha) readings (59 for 5 % and 5 %) even a sample without any error passes
nothing, and a little above it one unlucky error would end the sequence at once. So thresholds that keep fewer than
`least_kept` are passed over: neither a pass nor a failure. Passing over looks at how many are kept, never at whether
they are right. It leaves the promise exact where the chance of an error does not rise with p; where it does, the
sequence may begin beyond the first false threshold. When too few are kept everywhere the answer is None.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shared.errors import InputError

GRID: Final = tuple(1 - step / 500 for step in range(1, 451))
"""Thresholds tried, from strict to lax: 0.998 down to 0.1 in steps of 0.002."""
_USUAL_ERRORS: Final = 15
"""`least_kept` is where so many errors would be expected at the rate alpha: a sample of which only a quarter of that is
wrong then passes the first test nearly always (98 of 100 times at 5 % and 5 %)."""
_BISECTIONS: Final = 60


@dataclass(frozen=True, slots=True)
class Threshold:
    """What `certify` found.

    Attributes:
        value: readings with a probability of at least this are kept.
        kept: of the sample.
        errors: among the kept ones.
        bound: upper bound of the error rate among kept readings at this threshold alone (Clopper-Pearson).
    """

    value: float
    kept: int
    errors: int
    bound: float


@dataclass(frozen=True, slots=True)
class RiskCertificate:
    """A threshold with what it promises and what that rests on.

    Attributes:
        threshold: readings whose P(right) is at least this are certified.
        alpha: largest share of certified readings that are wrong.
        delta: chance that the calibration sample misled.
        kept, errors, total: of the calibration sample: certified, wrong among those, all.

    Raises:
        InputError: the numbers contradict each other.
    """

    threshold: float
    alpha: float
    delta: float
    kept: int
    errors: int
    total: int

    def __post_init__(self) -> None:
        _require_levels(self.alpha, self.delta)
        if not 0 <= self.threshold <= 1 or not 0 <= self.errors <= self.kept <= self.total:
            raise InputError("the risk certificate contradicts itself")

    def covers(self, right: float | None) -> bool:
        """Whether a reading with this P(right) is certified; one without a number never is."""
        return right is not None and self.threshold <= right <= 1


def certify(
    p: ArrayLike,
    right: ArrayLike,
    *,
    alpha: float,
    delta: float,
    grid: tuple[float, ...] = GRID,
    least_kept: int | None = None,
) -> Threshold | None:
    """The laxest threshold such that, with probability 1 - delta, at most alpha of what it keeps is wrong.

    Args:
        p: estimated probability that each reading is right, shape (n,).
        right: whether it was, shape (n,).
        alpha: bound of the error rate, within 0..1.
        delta: chance of breaking it, within 0..1.
        grid: thresholds, falling; must not be chosen by looking at the sample.
        least_kept: thresholds that keep fewer are passed over; None for `usual_least_kept`.

    Returns:
        None where no threshold passes.

    Raises:
        InputError: the arrays do not fit, a probability is missing or impossible, or the levels are.
    """
    _require_levels(alpha, delta)
    chances, correct = np.asarray(p, np.float64), np.asarray(right, np.bool_)
    if chances.ndim != 1 or chances.shape != correct.shape:
        raise InputError("a probability and a truth are needed for every reading")
    if not np.all((chances >= 0) & (chances <= 1)):
        raise InputError("a probability is missing or outside 0..1")
    if any(strict <= lax for strict, lax in itertools.pairwise(grid)):
        raise InputError("the grid of thresholds must fall")
    fewest = usual_least_kept(len(chances), alpha=alpha, delta=delta) if least_kept is None else max(least_kept, 1)
    order = np.argsort(-chances, kind="stable")
    falling, wrong = chances[order], np.cumsum(~correct[order])
    passed: tuple[float, int, int] | None = None
    for threshold in grid:
        kept = int(np.searchsorted(-falling, -threshold, side="right"))
        if kept < fewest:
            continue
        errors = int(wrong[kept - 1])
        if binomial_tail(errors, kept, alpha) > delta:
            break
        passed = threshold, kept, errors
    if passed is None:
        return None
    value, kept, errors = passed
    return Threshold(value, kept, errors, clopper_pearson_upper(errors, kept, delta))


def usual_least_kept(total: int, *, alpha: float, delta: float) -> int:
    """Readings a threshold must keep to be tested at all, in a sample of `total`.

    Enough for `_USUAL_ERRORS` errors at the rate alpha, but no more than a quarter of the sample, and never fewer than
    could pass without any error.
    """
    _require_levels(alpha, delta)
    passing = math.ceil(math.log(delta) / math.log1p(-alpha))
    return max(passing, min(math.ceil(_USUAL_ERRORS / alpha), total // 4))


def clopper_pearson_upper(errors: int, n: int, delta: float) -> float:
    """Exact upper confidence bound of an error rate: at the true rate, it is below it with probability at most delta.

    The largest rate at which so few errors are still as likely as delta (Clopper and Pearson 1934); 1 for no sample.

    Raises:
        InputError: the counts or delta are impossible.
    """
    if not 0 <= errors <= n:
        raise InputError(f"{errors} errors among {n} are impossible")
    _require_levels(0.5, delta)
    if errors == n:
        return 1.0
    low, high = errors / n, 1.0
    # The tail falls in the rate. Kept on the upper side, so that rounding never makes the bound too low.
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if binomial_tail(errors, n, middle) > delta:
            low = middle
        else:
            high = middle
    return high


def binomial_tail(errors: int, n: int, rate: float) -> float:
    """P(at most `errors` errors among `n`) at an error rate, summed exactly in logarithms."""
    if errors >= n or rate <= 0:
        return 1.0
    if rate >= 1:
        return 0.0
    # log of P(i + 1) / P(i) = log (n - i) / (i + 1) + log odds, summed up from P(0) = (1 - rate)^n.
    i = np.arange(errors, dtype=np.float64)
    ratios: NDArray[np.float64] = np.log(n - i) - np.log(i + 1) + (math.log(rate) - math.log1p(-rate))
    logs = np.concatenate(([0.0], np.cumsum(ratios))) + n * math.log1p(-rate)
    top = float(logs.max())
    return min(math.exp(top) * float(np.exp(logs - top).sum()), 1.0)


def _require_levels(alpha: float, delta: float) -> None:
    if not (0 < alpha < 1 and 0 < delta < 1):
        raise InputError("alpha and delta lie between 0 and 1")
