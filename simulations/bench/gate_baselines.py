"""Gates the bench compares with: the former gate of the glasses, and a look at fixed intervals."""

from __future__ import annotations

import cv2
import numpy as np

from glasses.gate import GateInput
from shared.geometry import Homography, Quad, area, transform
from simulations.bench.gate_clips import SIZE, ClipFrame

MINIMUM_INTERVAL_S = 0.7
MAXIMUM_INTERVAL_S = 3.0
WINDOW_S = 10.0
LOOKS_PER_WINDOW = 6
UNCOVERED_SHARE = 0.2
SCALE_RATIO = 1.35
REST_WIDTHS_PER_S = 0.25
SHARPNESS_RATIO = 0.6
SHARPNESS_DECAY = 0.8
PATIENCE_S = 1.5
FRAME: Quad = np.array([[0, 0], [SIZE[0], 0], [SIZE[0], SIZE[1]], [0, SIZE[1]]], np.float32)


class Every:
    """A look every so many seconds, whatever there is to see."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._next: float | None = None

    def opens(self, frame: ClipFrame, seen: GateInput) -> bool:
        """See `gate.Chooser`."""
        if seen.busy or (self._next is not None and frame.now < self._next - 1e-6):
            return False
        self._next = frame.now + self._interval_s
        return True


class FormerGate:
    """Looks when a fifth of the view is new, it came closer, a sign was lost, or three seconds have passed.

    Sharpness is the variance of the Laplacian, and the first frame that is sharp and at rest is taken.
    """

    def __init__(self) -> None:
        self._looks: list[float] = []
        self._since: Homography | None = None
        self._best = 0.0
        self._last: float | None = None
        self._reason_since: float | None = None
        self._lost = 0

    def opens(self, frame: ClipFrame, seen: GateInput) -> bool:
        """See `gate.Chooser`."""
        seconds = 0.0 if self._last is None else frame.now - self._last
        self._lost += len(seen.lost)
        self._since = None if self._since is None or frame.motion is None else frame.motion @ self._since
        self._best = max(frame.laplacian, self._best * SHARPNESS_DECAY**seconds)
        self._looks = [look for look in self._looks if frame.now - look < WINDOW_S]
        first, self._last = self._last is None, frame.now
        if not (first or self._wanted(frame.now)):
            self._reason_since = None
            return False
        if self._reason_since is None:
            self._reason_since = frame.now
        if seen.busy or not (first or self._allowed(frame, seconds, self._reason_since)):
            return False
        self._looks.append(frame.now)
        self._since, self._reason_since, self._lost = np.eye(3), None, 0
        return True

    def _wanted(self, now: float) -> bool:
        if self._lost or self._since is None or not self._looks or now - self._looks[-1] > MAXIMUM_INTERVAL_S:
            return True
        common = cv2.intersectConvexConvex(transform(self._since, FRAME), FRAME)[0]
        middle = FRAME / 2 + FRAME[2] / 4
        ratio = max(float(np.sqrt(area(transform(self._since, middle)) / area(middle))), 1e-6)
        return 1 - common / area(FRAME) > UNCOVERED_SHARE or max(ratio, 1 / ratio) > SCALE_RATIO

    def _allowed(self, frame: ClipFrame, seconds: float, reason_since: float) -> bool:
        if self._looks and frame.now - self._looks[-1] < MINIMUM_INTERVAL_S:
            return False
        if len(self._looks) >= LOOKS_PER_WINDOW:
            return False
        if frame.now - reason_since >= PATIENCE_S:
            return True
        if frame.motion is None or seconds <= 0 or frame.laplacian < SHARPNESS_RATIO * self._best:
            return False
        centre = np.array([[SIZE[0] / 2, SIZE[1] / 2]])
        speed = float(np.linalg.norm(transform(frame.motion, centre) - centre)) / SIZE[0] / seconds
        return speed < REST_WIDTHS_PER_S
