"""Which detected lines make up one sign. Pure geometry: no picture, no state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from shared.geometry import Quad, area, side_lengths
from shared.limits import MAX_STRIP_LINES
from shared.models.detection import DetectedLine
from shared.models.rectify import as_read

STEEP_SINE: Final = 0.5
"""Text that runs closer to the vertical than 30 degrees is taken for a column."""
HEIGHT_RATIO: Final = 1.6
"""Lines of one sign differ at most so much in height."""
GAP_HEIGHTS: Final = 0.8
"""Largest gap between two lines of one sign, in line heights."""
ROW_GAP_HEIGHTS: Final = 0.6
"""Largest gap between two pieces of one row."""
ANGLE_COSINE: Final = 0.985
"""Lines of one sign are parallel within 10 degrees."""
OVERLAP_SHARE: Final = 0.3
"""The shorter line overlaps the longer one by this share of its length."""
BACKGROUND_DIFFERENCE: Final = 80.0
"""Lines on backgrounds further apart (largest difference of a BGR channel) belong to different signs."""

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Axes:
    """A line in its own terms: along the reading direction, and on to the next line; pixels."""

    centre: Vector
    along: Vector
    across: Vector
    length: float
    height: float


def _axes(quad: Quad) -> _Axes:
    # Columns are read downwards, and one after the other from right to left: so their corners are ordered.
    points = as_read(quad).astype(np.float64)
    along = points[1] + points[2] - points[0] - points[3]
    across = points[2] + points[3] - points[0] - points[1]
    along /= max(float(np.linalg.norm(along)), 1e-9)
    across /= max(float(np.linalg.norm(across)), 1e-9)
    length = max(float(np.linalg.norm(points[1] - points[0])), float(np.linalg.norm(points[2] - points[3])))
    height = max(float(np.linalg.norm(points[3] - points[0])), float(np.linalg.norm(points[2] - points[1])))
    return _Axes(points.mean(axis=0), along, across, length, height)


def line_height(quad: Quad) -> float:
    """Height across the reading direction, in pixels: the height of a row, the width of a column."""
    return _axes(quad).height


def _belong(first: _Axes, second: _Axes) -> bool:
    """Whether two lines are neighbours on one sign."""
    if float(first.along @ second.along) < ANGLE_COSINE:
        return False
    low, high = sorted((first.height, second.height))
    if low <= 0 or high > HEIGHT_RATIO * low:
        return False
    longer, shorter = (first, second) if first.length >= second.length else (second, first)
    offset = shorter.centre - longer.centre
    along = float(offset @ longer.along)
    across = abs(float(offset @ longer.across))
    overlap = min(longer.length / 2, along + shorter.length / 2) - max(-longer.length / 2, along - shorter.length / 2)
    gap = across - (first.height + second.height) / 2
    if across < 0.5 * low:  # the same row
        return -overlap < ROW_GAP_HEIGHTS * low
    return gap < GAP_HEIGHTS * low and overlap > OVERLAP_SHARE * shorter.length


def _ordered(indices: Sequence[int], axes: Sequence[_Axes]) -> list[int]:
    """Reading order: rows (or columns) one after the other, each along its direction."""
    main = max((axes[index] for index in indices), key=lambda line: line.length)
    by_row = sorted(indices, key=lambda index: float(axes[index].centre @ main.across))
    rows: list[list[int]] = []
    for index in by_row:
        line = axes[index]
        here = float(line.centre @ main.across)
        if rows and here - float(axes[rows[-1][0]].centre @ main.across) < 0.5 * line.height:
            rows[-1].append(index)
        else:
            rows.append([index])
    return [index for row in rows for index in sorted(row, key=lambda i: float(axes[i].centre @ main.along))]


def group_lines(
    lines: Sequence[DetectedLine], backgrounds: Sequence[npt.NDArray[np.float64]] | None = None
) -> list[tuple[DetectedLine, ...]]:
    """Group lines into signs.

    Args:
        lines: what the detector found.
        backgrounds: for each line the colour around it (BGR, 0..255), where known.

    Returns:
        One tuple per sign, its lines in reading order; every line is in exactly one. At most
        `limits.MAX_STRIP_LINES` lines each. Signs are in the order of their first line in `lines`.
    """
    axes = [_axes(line.quad) for line in lines]
    parent = list(range(len(lines)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for second in range(len(lines)):
        for first in range(second):
            if backgrounds is not None:
                difference = float(np.abs(backgrounds[first] - backgrounds[second]).max())
                if difference > BACKGROUND_DIFFERENCE:
                    continue
            if _belong(axes[first], axes[second]):
                parent[root(second)] = root(first)
    groups: dict[int, list[int]] = {}
    for index in range(len(lines)):
        groups.setdefault(root(index), []).append(index)
    signs = []
    for indices in groups.values():
        ordered = _ordered(indices, axes)
        for start in range(0, len(ordered), MAX_STRIP_LINES):
            signs.append(tuple(lines[index] for index in ordered[start : start + MAX_STRIP_LINES]))
    return signs


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
    main = _axes(max(quads, key=lambda quad: side_lengths(quad)[0]))
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
    return abs(float(_axes(quad).along[0])) < STEEP_SINE


def overlap(first: Quad, second: Quad) -> float:
    """Area two convex quads share, in square pixels; 0 when one of them is not convex."""
    if not (cv2.isContourConvex(first) and cv2.isContourConvex(second)):
        return 0.0
    shared_area, _ = cv2.intersectConvexConvex(first, second)
    return float(shared_area)
