"""Bounds that hold at every moment at once, so that a running experiment may be looked at after every call.

For observations X in [0, 1] of mean p, and any weight function over t,

    M_n(p) = integral of prod_i (t / p)^X_i ((1 - t) / (1 - p))^(1 - X_i) over a Beta(a, b) law of t

is a non-negative supermartingale that starts at 1: each factor has expectation at most 1, with equality for X in
{0, 1} (weighted arithmetic and geometric means; Hoeffding 1963). So M_n(p) ever reaches 1 / alpha with a probability of
at most alpha (Ville 1939), and the set of those p with M_n(p) < 1 / alpha holds the true mean for all n at once but for
that probability. The mixture is Robbins' (1970, "Statistical methods related to the law of the iterated logarithm");
with X in {0, 1} this is the prior-posterior ratio of Waudby-Smith and Ramdas (2020, "Confidence sequences for sampling
without replacement"), and the use on canaries is that of Lindon and Malek (2020, "Anytime-valid inference for
multinomial count data"). For a quantile the same is applied to the count of observations that do not exceed it, whose p
is known (Howard and Ramdas 2022, "Sequential estimation of quantiles with applications to A/B testing and best-arm
identification").

What is assumed: that each observation's mean, given the past, is p. Observations of one device resemble each other, so
a handful of devices says less than their calls would (`docs/experiments.md`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_STEPS: Final = 40
"""Bisections: the bounds are right to 1e-12."""
_PRIOR: Final = (0.5, 0.5)
"""Jeffreys' prior for an unknown mean: no tuning to an expected rate. It changes how soon, never how often wrongly."""
_QUANTILE_STRENGTH: Final = 20.0
"""Observations that the prior around a known p is worth. A judgement; it changes how soon, never how often wrongly."""


@dataclass(slots=True)
class Mean:
    """Observations in [0, 1], summed up.

    Attributes:
        count: how many.
        total: their sum.
    """

    count: int = 0
    total: float = 0.0

    def add(self, value: float) -> None:
        """Count one, which is clamped to [0, 1]."""
        self.count += 1
        self.total += min(max(value, 0.0), 1.0)

    @property
    def value(self) -> float | None:
        """Their mean; None without any."""
        return self.total / self.count if self.count else None

    def bounds(self, alpha: float) -> tuple[float, float]:
        """Least and greatest mean that is not ruled out; the true one ever is with probability `alpha` at most."""
        if not self.count:
            return 0.0, 1.0
        threshold = -math.log(alpha)
        mixture = _log_beta(_PRIOR[0] + self.total, _PRIOR[1] + self.count - self.total) - _log_beta(*_PRIOR)
        mean = self.total / self.count

        def ruled_out(p: float) -> bool:
            return mixture - _log_power(p, self.total) - _log_power(1 - p, self.count - self.total) >= threshold

        return _edge(0.0, mean, ruled_out), _edge(1.0, mean, ruled_out)


def quantile_ranks(count: int, share: float, alpha: float) -> tuple[int, int]:
    """Ranks (1 for the least) between which the true quantile lies, at every moment but with probability `alpha`.

    Args:
        count: observations.
        share: of the quantile, such as 0.95.
        alpha: chance of ever being wrong.

    Returns:
        Rank of the lower bound, 0 for none; and of the upper bound, `count` + 1 for none.
    """
    threshold = -math.log(alpha)
    a, b = _QUANTILE_STRENGTH * share, _QUANTILE_STRENGTH * (1 - share)

    def ruled_out(below: int) -> bool:
        mixture = _log_beta(a + below, b + count - below) - _log_beta(a, b)
        return mixture - below * math.log(share) - (count - below) * math.log1p(-share) >= threshold

    middle = min(max(round(share * count), 0), count)
    low, high = -1, middle  # ruled out below, not at `high`
    while high - low > 1:
        probe = (low + high) // 2
        low, high = (probe, high) if ruled_out(probe) else (low, probe)
    least = high
    low, high = middle, count + 1
    while high - low > 1:
        probe = (low + high) // 2
        low, high = (low, probe) if ruled_out(probe) else (probe, high)
    return least, low + 1


def _edge(outer: float, inner: float, ruled_out: Callable[[float], bool]) -> float:
    """Where, on the way from `inner`, which is not ruled out, to `outer`, values begin to be."""
    if not ruled_out(outer):
        return outer
    for _ in range(_STEPS):
        middle = (outer + inner) / 2
        outer, inner = (middle, inner) if ruled_out(middle) else (outer, middle)
    return outer  # the side that is ruled out: the bound errs to the careful one


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_power(p: float, exponent: float) -> float:
    """log(p ** exponent), with 0 ** 0 = 1."""
    if exponent <= 0.0:
        return 0.0
    return exponent * math.log(p) if p > 0.0 else -math.inf
