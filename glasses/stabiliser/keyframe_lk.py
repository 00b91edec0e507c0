"""Keyframe-anchored Lucas-Kanade tracking, one plane per region.

Each frame: (1) the motion of the whole view from points spread over it predicts every region; (2) pyramidal
Lucas-Kanade with a forward-backward check follows the region's corners, and a robust fit gives keyframe → now;
(3) for a few regions in turn, the keyframe is warped to the estimate and compared with the frame: its corners are
refined there, which takes out the drift of frame-to-frame tracking, and the correlation is the pose's quality.

Sources: Bouguet, "Pyramidal Implementation of the Lucas Kanade Feature Tracker" (Intel, 2001); Kalal et al.,
"Forward-Backward Error" (ICPR 2010).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from glasses.stabiliser import Pose, PoseState, View
from shared.geometry import Homography, Quad, area, transform

WORKING_SIDE: Final = 640
"""Frames are halved (or more) until their longer side is near this: the tracker's cost is set by it, in pixels."""
REMEMBERED_FRAMES: Final = 90
"""Frames kept for `add`: 3 s at 30 frames a second, 20 MB at 640x360."""
REPLAY_STRIDE: Final = 3
"""`add` looks at every third remembered frame: as accurate as all of them (facts: 0.24 px after 2 s)."""
VIEW_POINTS: Final = 80
POINTS_PER_LINE: Final = 14
POINTS_PER_REGION: Final = 40
POINTS_IN_ALL: Final = 480
"""Corners: of the whole view, of one line, of one region, of all regions together."""
ANCHORS_PER_FRAME: Final = 2
FORWARD_BACKWARD_PX: Final = 0.8
INLIER_PX: Final = 1.2
"""Working pixels."""
HOMOGRAPHY_BREADTH_PX: Final = 8.0
"""The corners of a single line lie in too thin a band to tell perspective from noise: it moves as an affine plane."""
THIN_RATIO: Final = 4.0
"""Spread of the corners of a line of text along and across it, from which shear can no longer be told from noise."""
MINIMUM_POINTS: Final = 4
MINIMUM_SHARE: Final = 0.4
"""A fit must explain so many points, and this share of the region's corners that are in the frame."""
MINIMUM_QUALITY: Final = 0.5
"""Below this correlation with the keyframe, the region has been taken over by something in front of it."""
REFOUND_QUALITY: Final = 0.7
"""A lost region must look so much like its keyframe to be taken for found: there are many places to be wrong at."""
LOST_AFTER_FRAMES: Final = 10
LOST_AFTER_DOUBTS: Final = 3
"""Comparisons with the keyframe in a row that may disagree."""
EDGE_PX: Final = 4
"""Corners closer to the border are not followed, in working pixels."""

Points = npt.NDArray[np.float32]
Plane = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


_HALVE: Final = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1.0]])
_DOUBLE: Final = np.linalg.inv(_HALVE)


@dataclass(slots=True)
class _Region:
    """A followed region; coordinates are working pixels."""

    keyframe: Plane
    quads: tuple[Quad, ...]
    corners: Points
    homography: Homography
    failures: int = 0
    doubts: int = 0
    quality: float = 1.0
    state: PoseState = PoseState.TRACKED


def _halved(plane: Plane) -> Plane:
    whole = plane[: plane.shape[0] // 2 * 2, : plane.shape[1] // 2 * 2]
    return np.asarray(
        cv2.resize(whole, (whole.shape[1] // 2, whole.shape[0] // 2), interpolation=cv2.INTER_AREA), dtype=np.uint8
    )


def _inside(points: Points, plane: Plane) -> Mask:
    height, width = plane.shape
    return np.asarray(
        (points[:, 0] > EDGE_PX)
        & (points[:, 0] < width - 1 - EDGE_PX)
        & (points[:, 1] > EDGE_PX)
        & (points[:, 1] < height - 1 - EDGE_PX),
        dtype=np.bool_,
    )


def _follow(before: Plane, now: Plane, points: Points, guess: Points, window: int, levels: int) -> tuple[Points, Mask]:
    """Lucas-Kanade with a forward-backward check: where `points` went, and which of them can be trusted."""
    good = np.asarray(_inside(points, before) & _inside(guess, now), dtype=np.bool_)
    found = guess.astype(np.float32).copy()
    if not good.any():
        return found, good
    start = np.ascontiguousarray(points[good], dtype=np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 10, 0.03)
    size = (window, window)
    forward, status, _ = cv2.calcOpticalFlowPyrLK(
        before,
        now,
        start,
        np.ascontiguousarray(guess[good], dtype=np.float32),
        winSize=size,
        maxLevel=levels,
        criteria=criteria,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    back, back_status, _ = cv2.calcOpticalFlowPyrLK(
        now,
        before,
        forward,
        start.copy(),
        winSize=size,
        maxLevel=1,
        criteria=criteria,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    trusted = (status.ravel() > 0) & (back_status.ravel() > 0)
    trusted &= np.abs(back - start).max(axis=1) < FORWARD_BACKWARD_PX
    found[good] = forward
    good[good] = trusted
    return found, good


def _breadth(points: Points) -> float:
    """Standard deviation of points across their main direction, in working pixels."""
    return float(np.sqrt(max(np.linalg.eigvalsh(np.cov(points.T.astype(np.float64)))[0], 0.0)))


def _fit(before: Points, now: Points) -> tuple[Homography, int] | None:
    """Robust motion with as many degrees of freedom as the points can bear, and its number of inliers."""
    count = len(before)
    if count < MINIMUM_POINTS:
        return None
    if count < 7:
        affine, inliers = cv2.estimateAffinePartial2D(
            before, now, method=cv2.RANSAC, ransacReprojThreshold=INLIER_PX, maxIters=100, confidence=0.98
        )
    elif count < 14 or _breadth(before) < HOMOGRAPHY_BREADTH_PX:
        affine, inliers = cv2.estimateAffine2D(
            before, now, method=cv2.RANSAC, ransacReprojThreshold=INLIER_PX, maxIters=100, confidence=0.98
        )
    else:
        full, inliers = cv2.findHomography(before, now, cv2.RANSAC, INLIER_PX, maxIters=200, confidence=0.98)
        if full is None or not np.isfinite(full).all() or abs(full[2, 0]) + abs(full[2, 1]) > 0.02:
            return None
        return np.asarray(full, dtype=np.float64), int(inliers.sum())
    if affine is None or not np.isfinite(affine).all():
        return None
    found = np.vstack([affine, [0.0, 0.0, 1.0]]).astype(np.float64)
    return (_unsheared(found, before) if _is_thin(before) else found), int(inliers.sum())


def _is_thin(points: Points) -> bool:
    """Whether points lie along one line of text rather than all over a sign."""
    across, along = np.sqrt(np.maximum(np.linalg.eigvalsh(np.cov(points.T.astype(np.float64))), 1e-9))
    return bool(along > THIN_RATIO * across)


def _unsheared(affine: Homography, points: Points) -> Homography:
    """The affine motion without shear, about the points' centre.

    The corners of one line of text tell turning, and stretching along and across the line, from noise, but not shear:
    it would slant the label. Signs seen at an angle shear little, for the eyes are level most of the time.
    """
    centre = points.mean(axis=0).astype(np.float64)
    _, axes = np.linalg.eigh(np.cov(points.T.astype(np.float64)))
    along, across = axes[:, 1], axes[:, 0]
    linear = affine[:2, :2]
    new_along = linear @ along
    normal = np.array([-new_along[1], new_along[0]]) / max(float(np.linalg.norm(new_along)), 1e-9)
    new_across = float(linear @ across @ normal) * normal
    result = np.eye(3)
    result[:2, :2] = np.stack([new_along, new_across], axis=1) @ np.stack([along, across], axis=1).T
    result[:2, 2] = linear @ centre + affine[:2, 2] - result[:2, :2] @ centre
    return result


def _plausible(homography: Homography, quads: Sequence[Quad]) -> bool:
    """Whether the quads stay quads: convex, not mirrored, neither a speck nor larger than the view."""
    for quad in quads:
        corners = transform(homography, quad).astype(np.float64)
        if not np.isfinite(corners).all():
            return False
        edges = np.roll(corners, -1, axis=0) - corners
        following = np.roll(edges, -1, axis=0)
        if (edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0] <= 0).any():
            return False
        ratio = area(corners.astype(np.float32)) / max(area(quad), 1e-6)
        if not 1 / 36 < ratio < 36:
            return False
    return True


class KeyframeLkStabiliser:
    """Implements `glasses.stabiliser.Stabiliser` on one CPU thread."""

    def __init__(self) -> None:
        self._factor = 0
        self._regions: dict[int, _Region] = {}
        self._memory: deque[tuple[int, Plane]] = deque(maxlen=REMEMBERED_FRAMES)
        self._turn = 0

    # The seam ------------------------------------------------------------------------------------------

    def observe(
        self, frame_id: int, luma: npt.NDArray[np.uint8], captured: float, rotation: Homography | None = None
    ) -> View:
        """See `Stabiliser.observe`."""
        plane = self._working(luma)
        if not self._memory:
            self._memory.append((frame_id, plane))
            return View(frame_id, captured, {})
        previous = self._memory[-1][1]
        motion = self._view_motion(previous, plane, None if rotation is None else self._to_working(rotation))
        self._memory.append((frame_id, plane))
        self._advance(list(self._regions.values()), previous, plane, motion)
        poses = {region_id: self._pose(region) for region_id, region in self._regions.items()}
        return View(frame_id, captured, poses, None if motion is None else self._to_frame(motion))

    def add(self, region_id: int, quads: Sequence[Quad], frame_id: int) -> Pose:
        """See `Stabiliser.add`."""
        known = [index for index, (remembered, _) in enumerate(self._memory) if remembered == frame_id]
        if not known:
            self._regions.pop(region_id, None)
            return Pose(np.eye(3), PoseState.LOST, 0.0)
        keyframe = self._memory[known[0]][1]
        working = tuple(np.asarray((quad + 0.5) / self._factor - 0.5, dtype=np.float32) for quad in quads)
        region = _Region(keyframe, working, self._corners(keyframe, working), np.eye(3))
        if len(region.corners) < MINIMUM_POINTS:
            region.state = PoseState.PREDICTED
        self._regions[region_id] = region
        last = len(self._memory) - 1
        at = known[0]
        while at < last:
            then = min(at + REPLAY_STRIDE, last)
            before, now = self._memory[at][1], self._memory[then][1]
            self._advance([region], before, now, self._view_motion(before, now, None))
            at = then
        return self._pose(region)

    def remove(self, region_id: int) -> None:
        """See `Stabiliser.remove`."""
        self._regions.pop(region_id, None)

    # Between frame pixels and working pixels -------------------------------------------------------------

    def _working(self, luma: npt.NDArray[np.uint8]) -> Plane:
        height, width = luma.shape
        if not self._factor:
            self._factor = max(1, round(max(height, width) / WORKING_SIDE))
        if self._factor == 1:
            return luma
        size = (width // self._factor, height // self._factor)
        # Cropped to whole blocks, so that a working pixel is the mean of exactly factor² frame pixels.
        whole = luma[: size[1] * self._factor, : size[0] * self._factor]
        return np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)

    def _scaling(self) -> Homography:
        shift = 0.5 / self._factor - 0.5
        return np.array([[1 / self._factor, 0, shift], [0, 1 / self._factor, shift], [0, 0, 1.0]])

    def _to_frame(self, homography: Homography) -> Homography:
        scaling = self._scaling()
        result = np.linalg.inv(scaling) @ homography @ scaling
        return np.asarray(result / result[2, 2], dtype=np.float64)

    def _to_working(self, homography: Homography) -> Homography:
        scaling = self._scaling()
        return np.asarray(scaling @ homography @ np.linalg.inv(scaling), dtype=np.float64)

    def _pose(self, region: _Region) -> Pose:
        return Pose(self._to_frame(region.homography), region.state, region.quality)

    # Steps -----------------------------------------------------------------------------------------------

    def _view_motion(self, before: Plane, now: Plane, guess: Homography | None) -> Homography | None:
        """Motion of the view as a whole, from points spread over it; the gyro's guess when nothing can be seen."""
        # Half the working size is enough to predict with, and costs a quarter.
        small_before, small_now = _halved(before), _halved(now)
        found = cv2.goodFeaturesToTrack(small_before, VIEW_POINTS, 0.01, max(small_before.shape) / 40)
        if found is None or len(found) < MINIMUM_POINTS:
            return guess
        points = np.asarray(found, dtype=np.float32).reshape(-1, 2)
        start = points if guess is None else transform(_HALVE @ guess @ _DOUBLE, points)
        moved, good = _follow(small_before, small_now, points, start, window=11, levels=3)
        if good.sum() < max(6, 0.2 * len(points)):
            return guess
        affine, inliers = cv2.estimateAffinePartial2D(
            points[good], moved[good], method=cv2.RANSAC, ransacReprojThreshold=INLIER_PX, maxIters=100, confidence=0.98
        )
        if affine is None or inliers.sum() < max(6, 0.3 * good.sum()):
            return guess
        small = np.vstack([affine, [0.0, 0.0, 1.0]])
        return np.asarray(_DOUBLE @ small @ _HALVE, dtype=np.float64)

    def _corners(self, plane: Plane, quads: Sequence[Quad]) -> Points:
        """Corners inside the (slightly grown) quads, at most `POINTS_PER_REGION`."""
        grown = []
        for quad in quads:
            centre = quad.mean(axis=0)
            step = quad - centre
            # By a fixed number of pixels: the sign's edge just outside a line is a good thing to hold on to.
            length = np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-6)
            grown.append(centre + step * (1 + 3.0 / length))
        low = np.floor(np.min([quad.min(axis=0) for quad in grown], axis=0)).astype(int)
        high = np.ceil(np.max([quad.max(axis=0) for quad in grown], axis=0)).astype(int) + 1
        x0, y0 = np.maximum(low, EDGE_PX)
        x1, y1 = np.minimum(high, [plane.shape[1] - EDGE_PX, plane.shape[0] - EDGE_PX])
        if x1 - x0 < 4 or y1 - y0 < 4:
            return np.empty((0, 2), np.float32)
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        for quad in grown:
            cv2.fillConvexPoly(mask, np.round(quad - [x0, y0]).astype(np.int32), 255)
        budget = min(POINTS_PER_REGION, POINTS_PER_LINE * len(quads), POINTS_IN_ALL // max(1, len(self._regions)))
        found: npt.NDArray[Any] | None = cv2.goodFeaturesToTrack(
            np.ascontiguousarray(plane[y0:y1, x0:x1]), max(8, budget), 0.02, 4, mask=mask, blockSize=3
        )
        corners = np.asarray([] if found is None else found, dtype=np.float32).reshape(-1, 2)
        return np.asarray(corners + np.array([x0, y0], np.float32), dtype=np.float32)

    def _advance(self, regions: Sequence[_Region], before: Plane, now: Plane, motion: Homography | None) -> None:
        """Carry regions from one frame to a later one."""
        if not regions:
            return
        step = np.eye(3) if motion is None else motion
        starts = [transform(region.homography, region.corners) for region in regions]
        points = np.concatenate(starts)
        moved, good = _follow(before, now, points, transform(step, points), window=15, levels=2)
        offset = 0
        for region, start in zip(regions, starts, strict=True):
            here = slice(offset, offset + len(start))
            offset += len(start)
            self._settle(region, moved[here], good[here], step, now)
        live = [region for region in regions if region.state is not PoseState.LOST or self._in_view(region, now)]
        for index in range(min(ANCHORS_PER_FRAME, len(live))):
            self._anchor(live[(self._turn + index) % len(live)], now)
        self._turn += ANCHORS_PER_FRAME

    def _settle(self, region: _Region, moved: Points, good: Mask, step: Homography, now: Plane) -> None:
        """Take the measured pose of a region if it is believable, else carry it on with the view."""
        predicted = step @ region.homography
        expected = int(_inside(transform(predicted, region.corners), now).sum())
        fit = _fit(region.corners[good], moved[good]) if good.sum() >= max(MINIMUM_POINTS, 0.25 * expected) else None
        if (
            region.state is not PoseState.LOST
            and fit is not None
            and fit[1] >= max(MINIMUM_POINTS, MINIMUM_SHARE * int(good.sum()))
            and _plausible(fit[0], region.quads)
        ):
            region.homography = fit[0]
            region.failures = 0
            region.state = PoseState.TRACKED
        else:
            region.homography = predicted / predicted[2, 2]
            self._fail(region)
        if not self._in_view(region, now):
            region.state = PoseState.LOST

    @staticmethod
    def _fail(region: _Region) -> None:
        region.failures += 1
        if region.failures >= LOST_AFTER_FRAMES:
            region.state = PoseState.LOST
        elif region.state is PoseState.TRACKED:
            region.state = PoseState.PREDICTED

    @staticmethod
    def _in_view(region: _Region, plane: Plane) -> bool:
        """Whether the middle of the region is in the frame."""
        centre = np.mean([quad.mean(axis=0) for quad in region.quads], axis=0, keepdims=True)
        (x, y) = transform(region.homography, centre)[0]
        return bool(0 <= x < plane.shape[1] and 0 <= y < plane.shape[0])

    def _anchor(self, region: _Region, now: Plane) -> None:
        """Compare with the keyframe warped to the estimate: removes drift, measures quality, finds lost ones."""
        estimate = transform(region.homography, region.corners)
        usable = _inside(estimate, now)
        if usable.sum() < MINIMUM_POINTS:
            return
        margin = 16
        low = np.maximum(np.floor(estimate[usable].min(axis=0)).astype(int) - margin, 0)
        high = np.ceil(estimate[usable].max(axis=0)).astype(int) + margin + 1
        high = np.minimum(high, [now.shape[1], now.shape[0]])
        shift = np.array([[1, 0, -low[0]], [0, 1, -low[1]], [0, 0, 1.0]])
        size = (int(high[0] - low[0]), int(high[1] - low[1]))
        window = np.ascontiguousarray(now[low[1] : high[1], low[0] : high[0]])
        offset = low.astype(np.float32)
        expected = self._warped(region, shift, size)
        local = np.asarray(estimate - offset, dtype=np.float32)
        moved, good = _follow(expected, window, local, local, window=11, levels=1)
        fit = _fit(region.corners[good], np.asarray(moved[good] + offset, dtype=np.float32))
        if (
            fit is not None
            and fit[1] >= max(MINIMUM_POINTS, 0.5 * int(good.sum()))
            and _plausible(fit[0], region.quads)
        ):
            correction = np.abs(transform(fit[0], region.corners) - estimate).max()
            if correction < margin:
                region.homography = fit[0]
                expected = self._warped(region, shift, size)
        region.quality = self._correlation(region, expected, window, shift)
        if region.quality < (REFOUND_QUALITY if region.state is PoseState.LOST else MINIMUM_QUALITY):
            # Frame-to-frame tracking happily follows whatever has come to lie under the corners, so only a look that
            # agrees with the keyframe again takes this back.
            region.doubts += 1
            if region.doubts >= LOST_AFTER_DOUBTS:
                region.state = PoseState.LOST
        elif fit is not None:
            region.doubts = 0
            region.failures = 0
            region.state = PoseState.TRACKED

    @staticmethod
    def _warped(region: _Region, shift: Homography, size: tuple[int, int]) -> Plane:
        warped = cv2.warpPerspective(
            region.keyframe, shift @ region.homography, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(warped, dtype=np.uint8)

    @staticmethod
    def _correlation(region: _Region, expected: Plane, window: Plane, shift: Homography) -> float:
        """Zero-mean normalised cross-correlation inside the region's quads, clipped to 0..1."""
        mask = np.zeros(window.shape, np.uint8)
        for quad in region.quads:
            corners = transform(shift @ region.homography, quad)
            cv2.fillConvexPoly(mask, np.round(corners).astype(np.int32), 1)
        chosen = mask > 0
        if chosen.sum() < 16:
            return 0.0
        first = expected[chosen].astype(np.float64)
        second = window[chosen].astype(np.float64)
        spread = float(first.std() * second.std())
        if spread < 1e-6:
            return 0.0
        return float(np.clip(((first - first.mean()) * (second - second.mean())).mean() / spread, 0.0, 1.0))
