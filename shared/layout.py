"""Which lines of a picture form one sign, and in which order they are read. Pure geometry: no picture, no state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from shared.geometry import Quad
from shared.limits import MAX_STRIP_LINES
from shared.models.rectify import as_read

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
class LineAxes:
    """A line in its own terms: along the reading direction, and on to the next line; pixels."""

    centre: Vector
    along: Vector
    across: Vector
    length: float
    height: float


def axes_of(quad: Quad) -> LineAxes:
    """The axes of a line."""
    # Columns are read downwards, and one after the other from right to left: so their corners are ordered.
    points = as_read(quad).astype(np.float64)
    along = points[1] + points[2] - points[0] - points[3]
    across = points[2] + points[3] - points[0] - points[1]
    along /= max(float(np.linalg.norm(along)), 1e-9)
    across /= max(float(np.linalg.norm(across)), 1e-9)
    length = max(float(np.linalg.norm(points[1] - points[0])), float(np.linalg.norm(points[2] - points[3])))
    height = max(float(np.linalg.norm(points[3] - points[0])), float(np.linalg.norm(points[2] - points[1])))
    return LineAxes(points.mean(axis=0), along, across, length, height)


def line_height(quad: Quad) -> float:
    """Height across the reading direction, in pixels: the height of a row, the width of a column."""
    return axes_of(quad).height


def _belong(first: LineAxes, second: LineAxes) -> bool:
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


def _ordered(indices: Sequence[int], axes: Sequence[LineAxes]) -> list[int]:
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


def group_signs(quads: Sequence[Quad], *, backgrounds: Sequence[Vector] | None = None) -> list[list[int]]:
    """Group lines into signs.

    Args:
        quads: of the lines, in pixels of one picture.
        backgrounds: for each line the colour around it (BGR, 0..255, shape (3,)), where known.

    Returns:
        Indices of the lines of each sign, in reading order; every line is in exactly one sign, and a sign has at most
        `limits.MAX_STRIP_LINES`. Signs are in the order of their first line in `quads`.
    """
    axes = [axes_of(quad) for quad in quads]
    parent = list(range(len(quads)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for second in range(len(quads)):
        for first in range(second):
            if backgrounds is not None:
                difference = float(np.abs(backgrounds[first] - backgrounds[second]).max())
                if difference > BACKGROUND_DIFFERENCE:
                    continue
            if _belong(axes[first], axes[second]):
                parent[root(second)] = root(first)
    groups: dict[int, list[int]] = {}
    for index in range(len(quads)):
        groups.setdefault(root(index), []).append(index)
    signs = []
    for indices in groups.values():
        ordered = _ordered(indices, axes)
        signs += [ordered[start : start + MAX_STRIP_LINES] for start in range(0, len(ordered), MAX_STRIP_LINES)]
    return signs


def sign_by_sign(quads: Sequence[Quad]) -> list[int]:
    """Indices of all lines, sign after sign: the order in which several signs are read out and translated."""
    return [index for sign in group_signs(quads) for index in sign]
