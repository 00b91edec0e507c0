"""Which regions lie on one plane: a first guess from how they are laid out, then what their motion says. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from shared.geometry import Homography

Box = npt.NDArray[np.float64]

PARALLEL_DEG: Final = 3.0
"""Lines of text on one plane, next to each other, are parallel within this."""
NEAR_HEIGHTS: Final = 1.5
"""Regions are next to each other when the gap between them is at most so many line heights."""
SAME_HEIGHT: Final = 2.0
"""Line heights of a guessed plane differ at most by this ratio."""


def corners_of(homography: Homography, points: Box) -> Box:
    """Map points of shape (..., 2) through a homography."""
    mapped = points @ homography[:, :2].T + homography[:, 2]
    return np.asarray(mapped[..., :2] / mapped[..., 2:])


def box_around(quads: Box) -> Box:
    """Corners of the upright box around points of any shape (..., 2), clockwise from the top left; (4, 2)."""
    points = quads.reshape(-1, 2)
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def _line(quads: Box) -> tuple[float, float]:
    """Mean direction in degrees (modulo 180) and median height of the lines of a region."""
    along = (quads[:, 1] + quads[:, 2] - quads[:, 0] - quads[:, 3]).sum(axis=0)
    height = np.median(np.linalg.norm(quads[:, 3] - quads[:, 0], axis=1))
    return float(np.degrees(np.arctan2(along[1], along[0])) % 180), float(height)


def _gap(first: Box, second: Box) -> float:
    """Distance between two upright boxes, 0 when they touch."""
    low = np.maximum(first.min(axis=0), second.min(axis=0))
    high = np.minimum(first.max(axis=0), second.max(axis=0))
    return float(np.linalg.norm(np.maximum(low - high, 0.0)))


def group_by_layout(regions: Sequence[Box]) -> list[list[int]]:
    """Guess which regions, found in one frame, share a plane: parallel, alike in height, and close together.

    Args:
        regions: the lines of each, pixels, (n, 4, 2).

    Returns:
        Indices of the regions of each group; every region is in one.
    """
    lines = [_line(quads) for quads in regions]
    boxes = [box_around(quads) for quads in regions]
    groups: list[list[int]] = []
    for index in range(len(regions)):
        direction, height = lines[index]
        joined: list[int] = [index]
        for group in list(groups):
            for other in group:
                turn = abs(direction - lines[other][0])
                low, high = sorted((height, lines[other][1]))
                if (
                    min(turn, 180 - turn) < PARALLEL_DEG
                    and high < SAME_HEIGHT * low
                    and _gap(boxes[index], boxes[other]) < NEAR_HEIGHTS * low
                ):
                    joined = [*group, *joined]
                    groups.remove(group)
                    break
        groups.append(joined)
    return groups


def disagreement(first: Homography, second: Homography, box: Box) -> float:
    """Largest distance, in pixels, between where two homographies put the corners of a box."""
    return float(np.abs(corners_of(first, box) - corners_of(second, box)).max())


def travel(homography: Homography, focal: float, width: int, height: int) -> float:
    """How far the camera moved rather than turned, by the motion of a plane: about the distance moved as a share of
    the distance to the plane.

    A turning camera moves every plane by K R K⁻¹, whose singular values are equal once K is taken off; a moving one
    adds t nᵀ / d, which spreads them (Hartley & Zisserman, "Multiple View Geometry", 2nd ed., section 13.1).

    Args:
        homography: of the plane, pixels.
        focal: in those pixels.
        width: of the picture.
        height: of the picture.
    """
    camera = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
    values = np.linalg.svd(np.linalg.inv(camera) @ homography @ camera, compute_uv=False)
    return float(values[0] / max(values[2], 1e-9) - 1)


def stretches(homography: Homography, box: Box) -> tuple[float, float]:
    """By how much a plane was stretched at the middle of a box, in the direction of the least and of the most: the
    singular values of the homography's derivative there."""
    x, y = box.mean(axis=0)
    u, v, w = homography @ np.array([x, y, 1.0])
    derivative = (homography[:2, :2] - np.outer([u / w, v / w], homography[2, :2])) / w
    most, least = np.linalg.svd(derivative, compute_uv=False)
    return float(least), float(most)
