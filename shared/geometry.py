"""Quads and homographies, the only geometry two tiers share.

A quad is a float32 array of shape (4, 2): x, y in pixels, clockwise from the top-left corner *as read*.
Pixel centres are integers.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Quad: TypeAlias = npt.NDArray[np.float32]
Homography: TypeAlias = npt.NDArray[np.float64]
ImageBgr: TypeAlias = npt.NDArray[np.uint8]


def side_lengths(quad: Quad) -> tuple[float, float]:
    """Width along the text and height across it, in pixels: the longer of each pair of opposite sides."""
    width = max(float(np.linalg.norm(quad[1] - quad[0])), float(np.linalg.norm(quad[2] - quad[3])))
    height = max(float(np.linalg.norm(quad[3] - quad[0])), float(np.linalg.norm(quad[2] - quad[1])))
    return width, height


def area(quad: Quad) -> float:
    """Area in square pixels (shoelace formula)."""
    x = quad[:, 0].astype(np.float64)
    y = quad[:, 1].astype(np.float64)
    return 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))


def transform(homography: Homography, points: npt.NDArray[np.floating]) -> Quad:
    """Map points of shape (n, 2) through a 3x3 homography; returns float32 of shape (n, 2)."""
    homogeneous = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ homography.T
    return np.asarray(homogeneous[:, :2] / homogeneous[:, 2:], dtype=np.float32)
