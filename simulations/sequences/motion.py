"""How the wearer's head moves: trajectories of the camera at 1 kHz.

Angles are turned in the order yaw, pitch, roll: positive yaw looks to the right, positive pitch down, positive roll
tilts the right side of the view down. World axes are those of the camera at rest: x right, y down, z ahead, metres.

Every movement is drawn for `LONGEST_S`, whatever part of it is shown, so a short sequence is the start of a long one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

STEP_S: Final = 1e-3
SAMPLES: Final = 1 << 16
REMEMBERED: Final = 64
"""Poses of single times kept by a trajectory."""
LONGEST_S: Final = 60.0
REST_S: Final = 1.0
"""Nobody looks elsewhere in the first second: time to find the signs."""

# The rest are assumptions, chosen to look like footage from a head; the ranges found in the literature are wide.
SWAY_RMS_DEG: Final = 0.5
SWAY_TIME_S: Final = 0.5
SWAY_RMS_M: Final = 0.015
SWAY_TIME_POSITION_S: Final = 1.0
SWAY_LIMIT_HZ: Final = 4.0
"""A head is heavy: sway has nothing to speak of above this."""
TREMOR_BAND_HZ: Final = (5.0, 12.0)
TREMOR_RMS_DEG: Final = 0.03
STEP_HZ: Final = 1.9
"""Steps a second of comfortable walking; the head bobs at this rate and rolls and yaws at half of it, and its pitch
makes up for the bob (Hirasaki et al. 1999, Experimental Brain Research 127, describe the pattern)."""
BOB_M: Final = 0.022
LATERAL_M: Final = 0.018
GAIT_DEG: Final = (1.2, 0.9, 0.6)
"""Amplitudes of yaw, pitch and roll."""
SIDE_STEP_M: Final = 0.7
SIDE_STEP_PERIOD_S: Final = 5.0
PEAK_PER_MEAN_SPEED: Final = 1.875
"""Of a minimum-jerk movement (15/8, from its polynomial)."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Where the camera is, for times from 0 to `LONGEST_S`. Not thread-safe: one thread at a time.

    Attributes:
        angles: yaw, pitch and roll in radians every `STEP_S`, float64 of shape (SAMPLES, 3).
        positions: metres, float64 of shape (SAMPLES, 3).
    """

    angles: Vector
    positions: Vector
    _recent: dict[float, tuple[Vector, Vector]] = field(default_factory=dict, init=False, repr=False)

    def pose(self, when: float) -> tuple[Vector, Vector]:
        """As `at`, for a single time: (1, 3, 3) and (1, 3). Remembered: all of an instant's surfaces ask for it."""
        known = self._recent.get(when)
        if known is None:
            if len(self._recent) >= REMEMBERED:
                self._recent.clear()
            known = self._recent[when] = self.at(np.array([when]))
        return known

    def at(self, times: Vector) -> tuple[Vector, Vector]:
        """World-to-camera rotations (n, 3, 3) and positions (n, 3) at `times` (n,), in seconds.

        Between samples both are interpolated linearly.
        """
        index = np.clip(np.asarray(times, np.float64) / STEP_S, 0, SAMPLES - 1.001)
        low = index.astype(np.int64)
        part = (index - low)[:, None]
        angles = self.angles[low] * (1 - part) + self.angles[low + 1] * part
        return rotations(angles), self.positions[low] * (1 - part) + self.positions[low + 1] * part


def rotations(angles: Vector) -> Vector:
    """World-to-camera rotations (n, 3, 3) for yaw, pitch and roll in radians (n, 3)."""
    (cy, cp, cr), (sy, sp, sr) = np.cos(angles).T, np.sin(angles).T
    # Roll times pitch times yaw, multiplied out.
    result = np.empty((len(angles), 3, 3))
    result[:, 0, 0], result[:, 0, 1], result[:, 0, 2] = cr * cy - sr * sp * sy, sr * cp, -cr * sy - sr * sp * cy
    result[:, 1, 0], result[:, 1, 1], result[:, 1, 2] = -sr * cy - cr * sp * sy, cr * cp, sr * sy - cr * sp * cy
    result[:, 2, 0], result[:, 2, 1], result[:, 2, 2] = cp * sy, sp, cp * cy
    return result


class HeadMotion:
    """A head's trajectory, put together from kinds of movement.

    Args:
        rng: the source of everything random; the same state gives the same trajectory.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._t = np.arange(SAMPLES) * STEP_S
        self._degrees = np.zeros((SAMPLES, 3))
        self._metres = np.zeros((SAMPLES, 3))

    def trajectory(self) -> Trajectory:
        """What the movements so far add up to."""
        return Trajectory(np.radians(self._degrees), self._metres.copy())

    def stand(self) -> HeadMotion:
        """Postural sway (an Ornstein-Uhlenbeck process without its high frequencies) and tremor."""
        for axis in range(3):
            self._degrees[:, axis] += self._wander(SWAY_RMS_DEG, _sway(SWAY_TIME_S))
            self._degrees[:, axis] += self._wander(TREMOR_RMS_DEG, _tremor)
            self._metres[:, axis] += self._wander(SWAY_RMS_M, _sway(SWAY_TIME_POSITION_S))
        return self

    def walk(self, slowest: float = 0.3, fastest: float = 0.4) -> HeadMotion:
        """Walk straight on at a speed between the two, in m/s, with the bob of the steps."""
        steps = 2 * np.pi * STEP_HZ * self._t
        phase = self._rng.uniform(0, 2 * np.pi)
        strength = self._rng.uniform(0.85, 1.15)
        yaw, pitch, roll = GAIT_DEG
        self._metres[:, 2] += self._rng.uniform(slowest, fastest) * self._t
        self._metres[:, 1] += strength * BOB_M * np.sin(steps + phase)
        self._metres[:, 0] += strength * LATERAL_M * np.sin((steps + phase) / 2)
        self._degrees[:, 0] += strength * yaw * np.sin((steps + phase) / 2 + 0.3)
        self._degrees[:, 1] += strength * pitch * np.sin(steps + phase + 0.6)
        self._degrees[:, 2] += strength * roll * np.sin((steps + phase) / 2)
        return self

    def side_step(self) -> HeadMotion:
        """Sway from one foot's place to another's and back, looking ahead: parallax without much rotation."""
        wave = 2 * np.pi * self._t / SIDE_STEP_PERIOD_S
        self._metres[:, 0] += SIDE_STEP_M * np.sin(wave)
        self._degrees[:, 0] += self._rng.uniform(4, 7) * np.sin(wave + self._rng.uniform(0.2, 0.6))
        return self

    def look_around(
        self, peak_deg_s: float, *, reach_deg: float, least_deg: float, dwell_s: tuple[float, float]
    ) -> HeadMotion:
        """Gaze shifts to places drawn at random, each at least `least_deg` from the one before.

        Args:
            peak_deg_s: largest speed of every shift.
            reach_deg: of the places, to either side.
            least_deg: at most `reach_deg`.
            dwell_s: range of the rest between two shifts.
        """
        time, yaw = REST_S, 0.0
        while time < LONGEST_S:
            target = self._rng.uniform(-reach_deg, reach_deg)
            while abs(target - yaw) < least_deg:
                target = self._rng.uniform(-reach_deg, reach_deg)
            pitch = 0.15 * (target - yaw) * self._rng.uniform(-1, 1)
            time = self._shift(time, target - yaw, pitch, peak_deg_s) + self._rng.uniform(*dwell_s)
            time = self._shift(time, 0.0, -pitch, peak_deg_s)
            yaw = target
        return self

    def look_away(
        self,
        peak_deg_s: float,
        *,
        by_deg: tuple[float, float],
        away_s: tuple[float, float],
        back_s: tuple[float, float],
    ) -> HeadMotion:
        """Look to one side and back, then to the other, again and again.

        Args:
            peak_deg_s: largest speed of every shift.
            by_deg: range of the angles.
            away_s: range of the time spent looking there.
            back_s: range of the time spent looking ahead.
        """
        time, side = REST_S, 1.0 if self._rng.random() < 0.5 else -1.0
        while time < LONGEST_S:
            yaw = side * self._rng.uniform(*by_deg)
            time = self._shift(time, yaw, 0.0, peak_deg_s) + self._rng.uniform(*away_s)
            time = self._shift(time, -yaw, 0.0, peak_deg_s) + self._rng.uniform(*back_s)
            side = -side
        return self

    def _shift(self, start: float, yaw: float, pitch: float, peak_deg_s: float) -> float:
        """Turn the head by minimum jerk (Flash & Hogan 1985, Journal of Neuroscience 5); returns when it is done."""
        size = float(np.hypot(yaw, pitch))
        duration = max(size * PEAK_PER_MEAN_SPEED / peak_deg_s, STEP_S)
        u = np.clip((self._t - start) / duration, 0.0, 1.0)
        done = u**3 * (10 + u * (6 * u - 15))
        self._degrees[:, 0] += yaw * done
        self._degrees[:, 1] += pitch * done
        return start + duration

    def _wander(self, rms: float, spectrum: Callable[[Vector], Vector]) -> Vector:
        """Gaussian noise with a power spectrum, float64 of shape (SAMPLES,)."""
        frequencies = np.asarray(np.fft.rfftfreq(SAMPLES, STEP_S), np.float64)
        parts = self._rng.standard_normal((2, len(frequencies)))
        amplitudes = np.sqrt(spectrum(frequencies))
        amplitudes[0] = 0.0
        noise = np.fft.irfft(amplitudes * (parts[0] + 1j * parts[1]), SAMPLES)
        return np.asarray(noise * (rms / noise.std()))


def _sway(time_s: float) -> Callable[[Vector], Vector]:
    """The power spectrum of an Ornstein-Uhlenbeck process (a Lorentzian), cut off above `SWAY_LIMIT_HZ`."""

    def spectrum(frequencies: Vector) -> Vector:
        lorentzian = 1 / (1 + (2 * np.pi * frequencies * time_s) ** 2)
        return np.asarray(lorentzian / (1 + (frequencies / SWAY_LIMIT_HZ) ** 4))

    return spectrum


def _tremor(frequencies: Vector) -> Vector:
    low, high = TREMOR_BAND_HZ
    inside = (frequencies >= low) & (frequencies <= high)
    return np.where(inside, np.sin(np.pi * (frequencies - low) / (high - low)) ** 2, 0.0)
