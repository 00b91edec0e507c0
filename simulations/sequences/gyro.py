"""The gyro on the head, and ways to spoil what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import cv2
import numpy as np

from glasses.stabiliser import GyroSamples
from simulations.sequences.motion import Vector

RATE_HZ: Final = 200.0
NOISE_DEG_S: Final = 0.1
"""Standard deviation of a reading: a consumer part of 0.007 deg/s/sqrt(Hz) at this rate (assumption)."""
BIAS_DEG_S: Final = 0.3
"""Largest constant error of an axis: what is left after the glasses have lain still for a moment (assumption)."""


class Gyro:
    """Readings at 200 Hz, noisy and biased, for times from 0 on.

    Args:
        rotations: world-to-camera rotations (n, 3, 3) at n times.
        rng: of bias and noise.
        seconds: readings are made until then.
    """

    def __init__(self, rotations: Callable[[Vector], Vector], rng: np.random.Generator, seconds: float) -> None:
        times = np.arange(int(np.ceil(seconds * RATE_HZ)) + 1) / RATE_HZ
        turned = rotations(times)
        rates = angular_rates(turned[:-1], turned[1:], 1 / RATE_HZ)
        self._times = times[:-1]
        self._rates = rates + biases(rng) + noise(rng, len(rates))

    def between(self, start: float, end: float) -> GyroSamples:
        """Readings whose time is in (start, end]."""
        first, last = np.searchsorted(self._times, [start, end], side="right")
        return GyroSamples(self._times[first:last].copy(), self._rates[first:last].copy())


def angular_rates(before: Vector, after: Vector, seconds: float | Vector) -> Vector:
    """Mean angular velocity in camera axes, rad/s, (n, 3), between world-to-camera rotations (n, 3, 3) `seconds` apart.

    A constant rate w takes R to exp(-[w]x t) R, so w is the negative rotation vector of `after` times `before`
    transposed.
    """
    vectors = [cv2.Rodrigues(b @ a.T)[0].ravel() for a, b in zip(before, after, strict=True)]
    return np.asarray(-np.array(vectors).reshape(-1, 3) / np.reshape(seconds, (-1, 1)))


def biases(rng: np.random.Generator) -> Vector:
    """A constant error for each axis, rad/s, (3,)."""
    return np.asarray(np.radians(rng.uniform(-BIAS_DEG_S, BIAS_DEG_S, 3)))


def noise(rng: np.random.Generator, count: int) -> Vector:
    """White noise of `count` readings, rad/s, (count, 3)."""
    return np.asarray(rng.normal(0, np.radians(NOISE_DEG_S), (count, 3)))


def gaps(samples: GyroSamples, *, every_s: float = 1.0, lasting_s: float = 0.06) -> GyroSamples:
    """Without the readings of the first `lasting_s` of every `every_s`: a bus that stalls."""
    kept = np.mod(samples.times, every_s) >= lasting_s
    return GyroSamples(samples.times[kept], samples.rates[kept])


def offset(samples: GyroSamples, seconds: float) -> GyroSamples:
    """With times that are wrong by `seconds`: clocks that were never brought together."""
    return replace(samples, times=samples.times + seconds)


def nan_bursts(samples: GyroSamples, *, every_s: float = 1.0, lasting_s: float = 0.06) -> GyroSamples:
    """With readings that are no numbers in the first `lasting_s` of every `every_s`: a broken driver."""
    rates = samples.rates.copy()
    rates[np.mod(samples.times, every_s) < lasting_s] = np.nan
    return replace(samples, rates=rates)
