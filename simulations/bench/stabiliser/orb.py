"""The baseline "ORB": every frame on its own, by matching features of the keyframe; nothing is tracked.

Source: Rublee et al., "ORB: an efficient alternative to SIFT or SURF", ICCV 2011; ratio test of Lowe, IJCV 60(2), 2004.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from glasses.stabiliser import GyroSamples, Luma, Pose, PoseState, View
from shared.geometry import Quad
from simulations.bench.stabiliser.lk_motion import plausible

FEATURES_PER_FRAME: Final = 2000
FEATURES_PER_REGION: Final = 300
REMEMBERED_FRAMES: Final = 90
MARGIN_PX: Final = 31
"""Of the keyframe around a region: a patch of ORB's, so that features at its edge are described whole."""
RATIO: Final = 0.8
INLIER_PX: Final = 3.0
MINIMUM_INLIERS: Final = 10


@dataclass(frozen=True, slots=True)
class _Region:
    keyframe: int
    quads: tuple[Quad, ...]
    points: npt.NDArray[np.float32]
    descriptors: npt.NDArray[np.uint8]


class OrbStabiliser:
    """Implements `glasses.stabiliser.Stabiliser`."""

    def __init__(self) -> None:
        self._frames: deque[tuple[int, Luma]] = deque(maxlen=REMEMBERED_FRAMES)
        self._regions: dict[int, _Region] = {}
        self._orb = cv2.ORB.create(FEATURES_PER_FRAME)
        self._matcher = cv2.BFMatcher(cv2.NORM_HAMMING)

    def observe(self, frame_id: int, luma: Luma, captured: float, gyro: GyroSamples | None = None) -> View:
        """See `Stabiliser.observe`; the gyro is not used."""
        self._frames.append((frame_id, luma))
        points, descriptors = _features(self._orb, luma)
        poses = {}
        for region_id, region in self._regions.items():
            poses[region_id] = self._locate(region, points, descriptors)
        return View(frame_id, captured, poses)

    def add(self, region_id: int, quads: Sequence[Quad], frame_id: int) -> None:
        """See `Stabiliser.add`."""
        picture = next((luma for remembered, luma in self._frames if remembered == frame_id), None)
        if picture is None:
            return
        corners = np.concatenate(list(quads))
        x0, y0 = np.maximum(np.floor(corners.min(axis=0)).astype(int) - MARGIN_PX, 0)
        x1, y1 = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + MARGIN_PX, [picture.shape[1], picture.shape[0]])
        if x1 - x0 < 2 * MARGIN_PX or y1 - y0 < 2 * MARGIN_PX:
            return
        orb = cv2.ORB.create(FEATURES_PER_REGION)
        points, descriptors = _features(orb, np.ascontiguousarray(picture[y0:y1, x0:x1]))
        if len(points) >= MINIMUM_INLIERS:
            offset = np.array([x0, y0], np.float32)
            self._regions[region_id] = _Region(frame_id, tuple(quads), points + offset, descriptors)

    def remove(self, region_id: int) -> None:
        """See `Stabiliser.remove`."""
        self._regions.pop(region_id, None)

    def _locate(self, region: _Region, points: npt.NDArray[np.float32], descriptors: npt.NDArray[np.uint8]) -> Pose:
        lost = Pose(np.eye(3), PoseState.LOST, 0.0, region.keyframe)
        if len(points) < 2:
            return lost
        pairs = self._matcher.knnMatch(region.descriptors, descriptors, k=2)
        good = [pair[0] for pair in pairs if len(pair) == 2 and pair[0].distance < RATIO * pair[1].distance]
        if len(good) < MINIMUM_INLIERS:
            return lost
        before = region.points[[match.queryIdx for match in good]]
        now = points[[match.trainIdx for match in good]]
        found, inliers = cv2.findHomography(before, now, cv2.RANSAC, INLIER_PX)
        if found is None or inliers.sum() < MINIMUM_INLIERS:
            return lost
        homography = np.asarray(found, dtype=np.float64)
        if not plausible(homography, region.quads):
            return lost
        return Pose(homography, PoseState.TRACKED, float(inliers.mean()), region.keyframe)


def _features(orb: cv2.ORB, picture: Luma) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Positions, shape (n, 2), and descriptors, shape (n, 32)."""
    keypoints, descriptors = orb.detectAndCompute(picture, np.empty(0, np.uint8))
    if not keypoints:
        return np.empty((0, 2), np.float32), np.empty((0, 32), np.uint8)
    positions = np.array([keypoint.pt for keypoint in keypoints], np.float32)
    return positions, np.asarray(descriptors, dtype=np.uint8)
