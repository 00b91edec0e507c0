"""Quantiles of a stream of durations in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

ACCURACY: Final = 0.01
"""Largest relative error of a quantile."""
LEAST_S: Final = 1e-4
MOST_S: Final = 300.0
"""Durations outside are counted as these."""
_GROWTH: Final = (1 + ACCURACY) / (1 - ACCURACY)
_LOG_GROWTH: Final = math.log(_GROWTH)
_BUCKETS: Final = math.ceil(math.log(MOST_S / LEAST_S) / _LOG_GROWTH) + 1
"""Buckets at most: about 750."""


class Latencies:
    """Counts by buckets whose bounds grow by a constant factor, so that every quantile is right within `ACCURACY`
    (Masson, Rim and Lee 2019, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees").
    """

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self._counts: dict[int, int] = dict(counts or {})
        self.total = sum(self._counts.values())
        """Durations counted."""

    def add(self, seconds: float) -> None:
        """Count one duration."""
        bucket = _bucket(seconds)
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.total += 1

    def merge(self, other: Latencies) -> None:
        """Count what another has counted."""
        for bucket, count in other._counts.items():
            self._counts[bucket] = self._counts.get(bucket, 0) + count
        self.total += other.total

    def quantile(self, share: float) -> float | None:
        """The duration that this share of them does not exceed, in seconds; None when there are none.

        Args:
            share: 0..1.
        """
        return self.ranked(max(math.ceil(share * self.total), 1)) if self.total else None

    def ranked(self, rank: int) -> float | None:
        """The duration of this rank, 1 for the least; None when there are fewer."""
        if not 1 <= rank <= self.total:
            return None
        passed = 0
        for bucket in sorted(self._counts):
            passed += self._counts[bucket]
            if passed >= rank:
                return _middle(bucket)
        raise AssertionError("the total is the sum of the counts")

    def as_dict(self) -> dict[str, int]:
        """For JSON; `from_dict` reads it back."""
        return {str(bucket): count for bucket, count in sorted(self._counts.items())}

    @classmethod
    def from_dict(cls, document: Mapping[str, int]) -> Latencies:
        """What `as_dict` wrote. Raises ValueError where it is something else."""
        counts = {int(bucket): int(count) for bucket, count in document.items()}
        if any(not 0 <= bucket <= _BUCKETS or count < 0 for bucket, count in counts.items()):
            raise ValueError("these are no counts of latencies")
        return cls(counts)


def _bucket(seconds: float) -> int:
    if not seconds > LEAST_S:
        return 0
    return min(math.ceil(math.log(min(seconds, MOST_S) / LEAST_S) / _LOG_GROWTH), _BUCKETS)


def _middle(bucket: int) -> float:
    """The value of a bucket that is off by at most `ACCURACY` from anything in it."""
    return LEAST_S * _GROWTH**bucket * 2 / (1 + _GROWTH)
