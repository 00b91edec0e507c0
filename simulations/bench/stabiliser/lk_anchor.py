"""The baseline "LK + keyframe anchor": pyramidal Lucas-Kanade and an anchor to the keyframe, one plane per region.

This was the glasses' stabiliser before the present one.

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

from glasses.stabiliser import GyroSamples, Luma, Pose, PoseState, View
from shared.geometry import Homography, Quad, transform
from simulations.bench.stabiliser.lk_motion import (
    EDGE_PX,
    MINIMUM_POINTS,
    Mask,
    Plane,
    Points,
    fit_motion,
    follow,
    inside,
    plausible,
    view_motion,
)
from simulations.bench.stabiliser.turns import turn_between

WORKING_SIDE: Final = 640
"""Frames are halved (or more) until their longer side is near this: the tracker's cost is set by it, in pixels."""
REMEMBERED_FRAMES: Final = 90
"""Frames kept for `add`: 3 s at 30 frames a second, 20 MB at 640x360."""
REPLAY_STRIDE: Final = 3
"""`add` looks at every third remembered frame: the anchor to the keyframe makes up for the ones left out."""
POINTS_PER_LINE: Final = 14
POINTS_PER_REGION: Final = 40
POINTS_IN_ALL: Final = 480
"""Corners: of one line, of one region, of all regions together."""
ANCHORS_PER_FRAME: Final = 2
MINIMUM_SHARE: Final = 0.4
"""A fit must explain `MINIMUM_POINTS` corners, and this share of those that could be followed."""
MINIMUM_QUALITY: Final = 0.5
"""Below this correlation with the keyframe, the region has been taken over by something in front of it."""
REFOUND_QUALITY: Final = 0.7
"""A lost region must look so much like its keyframe to be taken for found: there are many places to be wrong at."""
LOST_AFTER_FRAMES: Final = 10
LOST_AFTER_DOUBTS: Final = 3
"""Comparisons with the keyframe in a row that may disagree."""


@dataclass(slots=True)
class _Region:
    """A followed region; coordinates are working pixels."""

    frame_id: int
    keyframe: Plane
    quads: tuple[Quad, ...]
    corners: Points
    homography: Homography
    failures: int = 0
    doubts: int = 0
    quality: float = 1.0
    state: PoseState = PoseState.TRACKED


class LkAnchorStabiliser:
    """Implements `glasses.stabiliser.Stabiliser` on one CPU thread.

    Args:
        focal_px: focal length in frame pixels; None when it is not known, and the gyro is then not used.
    """

    def __init__(self, *, focal_px: float | None = None) -> None:
        self._focal = focal_px
        self._before = 0.0
        self._factor = 0
        self._regions: dict[int, _Region] = {}
        self._memory: deque[tuple[int, Plane]] = deque(maxlen=REMEMBERED_FRAMES)
        self._turn = 0
        # Motions of the view between remembered frames, for the regions of one look: they are the same for each.
        self._replayed: dict[tuple[int, int], Homography | None] = {}

    # The seam ------------------------------------------------------------------------------------------

    def observe(self, frame_id: int, luma: Luma, captured: float, gyro: GyroSamples | None = None) -> View:
        """See `Stabiliser.observe`."""
        plane = self._working(luma)
        before, self._before = self._before, captured
        if not self._memory:
            self._memory.append((frame_id, plane))
            return View(frame_id, captured, {})
        previous = self._memory[-1][1]
        guess: Homography | None = None
        if gyro is not None and self._focal is not None:
            height, width = luma.shape
            guess = self._to_working(turn_between(gyro, before, captured, self._focal, (width, height)))
        motion = view_motion(previous, plane, guess)
        self._memory.append((frame_id, plane))
        self._replayed.clear()
        self._advance(list(self._regions.values()), previous, plane, motion)
        poses = {region_id: self._pose(region) for region_id, region in self._regions.items()}
        return View(frame_id, captured, poses, None if motion is None else self._to_frame(motion))

    def add(self, region_id: int, quads: Sequence[Quad], frame_id: int) -> None:
        """See `Stabiliser.add`; the region is caught up with before this returns."""
        known = [index for index, (remembered, _) in enumerate(self._memory) if remembered == frame_id]
        if not known:
            return
        keyframe = self._memory[known[0]][1]
        working = tuple(np.asarray((quad + 0.5) / self._factor - 0.5, dtype=np.float32) for quad in quads)
        region = _Region(frame_id, keyframe, working, self._corners(keyframe, working), np.eye(3))
        if len(region.corners) < MINIMUM_POINTS:
            return
        self._regions[region_id] = region
        last = len(self._memory) - 1
        at = known[0]
        while at < last:
            then = min(at + REPLAY_STRIDE, last)
            (before_id, before), (now_id, now) = self._memory[at], self._memory[then]
            if (before_id, now_id) not in self._replayed:
                self._replayed[before_id, now_id] = view_motion(before, now, None)
            self._advance([region], before, now, self._replayed[before_id, now_id])
            at = then

    def remove(self, region_id: int) -> None:
        """See `Stabiliser.remove`."""
        self._regions.pop(region_id, None)

    # Between frame pixels and working pixels -------------------------------------------------------------

    def _working(self, luma: Luma) -> Plane:
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
        return Pose(self._to_frame(region.homography), region.state, region.quality, region.frame_id)

    # Steps -----------------------------------------------------------------------------------------------

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
        moved, good = follow(before, now, points, transform(step, points), window=15, levels=2)
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
        expected = int(inside(transform(predicted, region.corners), now).sum())
        enough = good.sum() >= max(MINIMUM_POINTS, 0.25 * expected)
        fit = fit_motion(region.corners[good], moved[good]) if enough else None
        if (
            region.state is not PoseState.LOST
            and fit is not None
            and fit[1] >= max(MINIMUM_POINTS, MINIMUM_SHARE * int(good.sum()))
            and plausible(fit[0], region.quads)
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
        usable = inside(estimate, now)
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
        moved, good = follow(expected, window, local, local, window=11, levels=1)
        fit = fit_motion(region.corners[good], np.asarray(moved[good] + offset, dtype=np.float32))
        if fit is not None and fit[1] >= max(MINIMUM_POINTS, 0.5 * int(good.sum())) and plausible(fit[0], region.quads):
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
