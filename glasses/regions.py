"""The quad around the lines of one sign. Pure geometry: no picture, no state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from shared.geometry import Quad, area, side_lengths
from shared.layout import Vector, axes_of, overlap

STEEP_SINE: Final = 0.5
"""Text that runs closer to the vertical than 30 degrees is taken for a column."""


def _crossing(point: Vector, direction: Vector, other: Vector, other_direction: Vector) -> Vector | None:
    matrix = np.stack([direction, -other_direction], axis=1)
    if abs(float(np.linalg.det(matrix))) < 1e-3:
        return None
    step = np.linalg.solve(matrix, other - point)
    return np.asarray(point + step[0] * direction, dtype=np.float64)


def outer_quad(quads: Sequence[Quad]) -> Quad:
    """The quad around all lines of one sign, clockwise from the top-left corner as read.

    Its top and bottom follow the first and the last line, so that a sign seen at an angle keeps its perspective.
    Columns give an upright quad: their translation is written in rows.
    """
    points = np.concatenate(quads).astype(np.float64)
    if len(quads) == 1 and not _is_column(quads[0]):
        return quads[0].astype(np.float32)
    if any(_is_column(quad) for quad in quads):
        low, high = points.min(axis=0), points.max(axis=0)
        return np.array([low, [high[0], low[1]], high, [low[0], high[1]]], np.float32)
    first, last = quads[0].astype(np.float64), quads[-1].astype(np.float64)
    main = axes_of(max(quads, key=lambda quad: side_lengths(quad)[0]))
    down = np.mean([quad[2] + quad[3] - quad[0] - quad[1] for quad in quads], axis=0)
    top, bottom = first[1] - first[0], last[2] - last[3]
    along = points @ main.along
    left, right = points[int(along.argmin())], points[int(along.argmax())]
    corners = [
        _crossing(first[0], top, left, down),
        _crossing(first[0], top, right, down),
        _crossing(last[3], bottom, right, down),
        _crossing(last[3], bottom, left, down),
    ]
    across = np.array([-main.along[1], main.along[0]])
    down_extent = points @ across
    box = np.array(
        [
            main.along * u + across * v
            for u, v in (
                (along.min(), down_extent.min()),
                (along.max(), down_extent.min()),
                (along.max(), down_extent.max()),
                (along.min(), down_extent.max()),
            )
        ],
        np.float32,
    )
    if any(corner is None for corner in corners):
        return box
    fitted = np.array(corners, np.float32)
    # Short first or last lines have unsure directions: fall back to the plain box when the fit is much off it.
    return fitted if overlap(fitted, box) > 0.7 * max(area(fitted), area(box)) else box


def _is_column(quad: Quad) -> bool:
    return abs(float(axes_of(quad).along[0])) < STEEP_SINE
