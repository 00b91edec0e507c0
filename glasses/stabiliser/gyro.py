"""The gyro's readings of late, and how far the head turned by them."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from glasses.stabiliser import GyroSamples
from glasses.stabiliser.limits import GYRO_SAMPLES
from glasses.stabiliser.view_rotation import gyro_rotation

LARGEST_GAP_S: Final = 0.025
"""Readings further apart do not cover the time between them."""
FASTEST_RAD_S: Final = 35.0
"""The full scale of a common gyro, 2000 degrees a second: what is faster is no reading."""


class GyroBuffer:
    """Remembers readings; leaves out what are none.

    Args:
        offset: seconds to add to the readings' times to get the frames' clock.
    """

    def __init__(self, offset: float = 0.0) -> None:
        self._offset = offset
        self._times = np.zeros(GYRO_SAMPLES)
        self._rates = np.zeros((GYRO_SAMPLES, 3))
        self._count = 0
        self._scratch = np.zeros((2, 3, 3))
        self.refused = 0

    def take(self, samples: GyroSamples) -> None:
        """Remember readings. Those that are not finite, too fast, or not later than the one before are left out."""
        times = np.asarray(samples.times, np.float64).reshape(-1)
        rates = np.asarray(samples.rates, np.float64)
        if rates.shape != (len(times), 3):
            self.refused += len(times)
            return
        good = np.isfinite(times) & (np.abs(rates) < FASTEST_RAD_S).all(axis=1)  # not a number is never smaller
        times, rates = times[good][-GYRO_SAMPLES:] + self._offset, rates[good][-GYRO_SAMPLES:]
        self.refused += int((~good).sum())
        last = self._times[self._count - 1] if self._count else -np.inf
        later = np.maximum.accumulate(np.concatenate([[last], times]))[:-1] < times
        if not later.all():
            self.refused += int((~later).sum())
            times, rates = times[later], rates[later]
        surplus = self._count + len(times) - GYRO_SAMPLES
        if surplus > 0:
            kept = self._count - surplus
            self._times[:kept] = self._times[surplus : self._count].copy()
            self._rates[:kept] = self._rates[surplus : self._count].copy()
            self._count = kept
        self._times[self._count : self._count + len(times)] = times
        self._rates[self._count : self._count + len(times)] = rates
        self._count += len(times)

    def rotation(self, start: float, end: float, result: npt.NDArray[np.float64]) -> bool:
        """Directions at `start` → directions at `end` (frames' clock, seconds) into `result`, shape (3, 3).

        Returns:
            Whether the readings cover the time between.
        """
        if not self._count or not end > start:
            return False
        return bool(
            gyro_rotation(self._times, self._rates, self._count, start, end, LARGEST_GAP_S, result, self._scratch)
        )
