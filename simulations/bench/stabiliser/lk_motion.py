"""How points moved between two pictures, and which motion explains it. Pure functions of pictures and points.

Pictures are grey and small; all coordinates are their pixels ("working pixels"), float32 of shape (n, 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from shared.geometry import Homography, Quad, area, transform

VIEW_POINTS: Final = 80
"""Corners followed for the motion of the whole view."""
FORWARD_BACKWARD_PX: Final = 0.8
INLIER_PX: Final = 1.2
"""Working pixels."""
HOMOGRAPHY_BREADTH_PX: Final = 8.0
"""The corners of a single line lie in too thin a band to tell perspective from noise: it moves as an affine plane."""
THIN_RATIO: Final = 4.0
"""Spread of the corners of a line of text along and across it, from which shear can no longer be told from noise."""
MINIMUM_POINTS: Final = 4
"""Fewer corners give no motion."""
EDGE_PX: Final = 4
"""Corners closer to the border are not followed, in working pixels."""

Points = npt.NDArray[np.float32]
Plane = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


_HALVE: Final = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1.0]])
_DOUBLE: Final = np.linalg.inv(_HALVE)


def _halved(plane: Plane) -> Plane:
    whole = plane[: plane.shape[0] // 2 * 2, : plane.shape[1] // 2 * 2]
    return np.asarray(
        cv2.resize(whole, (whole.shape[1] // 2, whole.shape[0] // 2), interpolation=cv2.INTER_AREA), dtype=np.uint8
    )


def inside(points: Points, plane: Plane) -> Mask:
    """Which points can be followed: those at least `EDGE_PX` inside the plane."""
    height, width = plane.shape
    return np.asarray(
        (points[:, 0] > EDGE_PX)
        & (points[:, 0] < width - 1 - EDGE_PX)
        & (points[:, 1] > EDGE_PX)
        & (points[:, 1] < height - 1 - EDGE_PX),
        dtype=np.bool_,
    )


def follow(before: Plane, now: Plane, points: Points, guess: Points, window: int, levels: int) -> tuple[Points, Mask]:
    """Lucas-Kanade with a forward-backward check: where `points` went, and which of them can be trusted."""
    good = np.asarray(inside(points, before) & inside(guess, now), dtype=np.bool_)
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


def fit_motion(before: Points, now: Points) -> tuple[Homography, int] | None:
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


def plausible(homography: Homography, quads: Sequence[Quad]) -> bool:
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


def view_motion(before: Plane, now: Plane, guess: Homography | None) -> Homography | None:
    """Motion of the view as a whole, from points spread over it; the gyro's guess when nothing can be seen."""
    # Half the working size is enough to predict with, and costs a quarter.
    small_before, small_now = _halved(before), _halved(now)
    found = cv2.goodFeaturesToTrack(small_before, VIEW_POINTS, 0.01, max(small_before.shape) / 40)
    if found is None or len(found) < MINIMUM_POINTS:
        return guess
    points = np.asarray(found, dtype=np.float32).reshape(-1, 2)
    start = points if guess is None else transform(_HALVE @ guess @ _DOUBLE, points)
    moved, good = follow(small_before, small_now, points, start, window=11, levels=3)
    if good.sum() < max(6, 0.2 * len(points)):
        return guess
    affine, inliers = cv2.estimateAffinePartial2D(
        points[good], moved[good], method=cv2.RANSAC, ransacReprojThreshold=INLIER_PX, maxIters=100, confidence=0.98
    )
    if affine is None or inliers.sum() < max(6, 0.3 * good.sum()):
        return guess
    small = np.vstack([affine, [0.0, 0.0, 1.0]])
    return np.asarray(_DOUBLE @ small @ _HALVE, dtype=np.float64)
