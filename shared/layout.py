"""Which lines of a picture form one sign, and in which order they are read. Pure geometry: no picture, no state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import cv2
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

GRID_SHARE: Final = 0.5
"""A sign is a grid of cells when more than this share of its rows has pieces too far apart for words."""
PRICE_SHARE: Final = 0.6
"""A column of numbers has numbers in this share of its lines, and this share of them beside the rows of another one."""

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LineAxes:
    """A line in its own terms: along the reading direction, and on to the next line; pixels."""

    centre: Vector
    along: Vector
    across: Vector
    length: float
    height: float


def axes_of(quad: Quad, *, turn: bool = True) -> LineAxes:
    """The axes of a line; unless told otherwise, a tall one is a column, read downwards."""
    # Columns are read downwards, and one after the other from right to left: so their corners are ordered.
    points = (as_read(quad) if turn else quad).astype(np.float64)
    along = points[1] + points[2] - points[0] - points[3]
    across = points[2] + points[3] - points[0] - points[1]
    along /= max(float(np.linalg.norm(along)), 1e-9)
    across /= max(float(np.linalg.norm(across)), 1e-9)
    length = max(float(np.linalg.norm(points[1] - points[0])), float(np.linalg.norm(points[2] - points[3])))
    height = max(float(np.linalg.norm(points[3] - points[0])), float(np.linalg.norm(points[2] - points[1])))
    return LineAxes(points.mean(axis=0), along, across, length, height)


def overlap(first: Quad, second: Quad) -> float:
    """Area two convex quads share, in square pixels; 0 when one of them is not convex."""
    if not (cv2.isContourConvex(first) and cv2.isContourConvex(second)):
        return 0.0
    shared_area, _ = cv2.intersectConvexConvex(first, second)
    return float(shared_area)


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
    return [index for row in _rows(indices, axes) for index in row]


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


def read_blocks(quads: Sequence[Quad], *, numbers: Sequence[bool] | None = None) -> list[list[int]]:
    """Which lines of a whole picture are read, and translated, as one text; and in which order.

    Signs (`group_signs`), but for tables: where most rows hold several cells, and where a column of numbers stands
    beside the rows of another one, as on a menu, every cell is a text of its own.

    Args:
        quads: of the lines, in pixels of one picture.
        numbers: for each line whether it says a number or a price, where that is known.

    Returns:
        Indices of the lines of each block, in reading order; every line is in exactly one. Blocks from the top, side by
        side from the left, columns of characters from the right, a table row by row.
    """
    axes = [axes_of(quad) for quad in quads]
    signs = group_signs(quads)
    tables = [sign for sign in signs if _is_grid(sign, axes)]
    if numbers is not None:
        tables += _price_lists([sign for sign in signs if sign not in tables], axes, numbers)
    in_table = {index for table in tables for index in table}
    items = [[sign] for sign in signs if not in_table.issuperset(sign)]
    items += [[[index] for index in _ordered(table, axes)] for table in tables]
    order = block_order([np.concatenate([quads[index] for block in item for index in block]) for item in items], axes)
    return [block for place in order for block in items[place]]


def _rows(indices: Sequence[int], axes: Sequence[LineAxes]) -> list[list[int]]:
    """Lines that stand beside each other, row by row; rows in order, pieces of a row along it."""
    main = max((axes[index] for index in indices), key=lambda line: line.length)
    rows: list[list[int]] = []
    for index in sorted(indices, key=lambda index: float(axes[index].centre @ main.across)):
        line = axes[index]
        here = float(line.centre @ main.across)
        if rows and here - float(axes[rows[-1][0]].centre @ main.across) < 0.5 * line.height:
            rows[-1].append(index)
        else:
            rows.append([index])
    return [sorted(row, key=lambda index: float(axes[index].centre @ main.along)) for row in rows]


def _is_grid(sign: Sequence[int], axes: Sequence[LineAxes]) -> bool:
    """Whether most rows of a sign fall into pieces that are too far apart for words."""
    rows = _rows(sign, axes)
    apart = sum(any(_gap(axes[a], axes[b]) >= ROW_GAP_HEIGHTS for a, b in pairwise(row)) for row in rows)
    return len(rows) > 1 and apart > GRID_SHARE * len(rows)


def _gap(first: LineAxes, second: LineAxes) -> float:
    """Gap between two pieces of a row, in heights of the lower one."""
    distance = float((second.centre - first.centre) @ first.along)
    return (distance - (first.length + second.length) / 2) / max(min(first.height, second.height), 1e-9)


def _price_lists(signs: Sequence[Sequence[int]], axes: Sequence[LineAxes], numbers: Sequence[bool]) -> list[list[int]]:
    """Columns of numbers together with the columns whose rows they belong to."""
    lists: list[list[int]] = []
    for prices in signs:
        if len(prices) < 2 or sum(numbers[index] for index in prices) < PRICE_SHARE * len(prices):
            continue
        best: tuple[float, Sequence[int]] | None = None
        for other in signs:
            if other is prices or len(other) < 2:
                continue
            beside = [_gap(axes[a], axes[b]) for b in prices for a in other if same_row(axes[a], axes[b])]
            if len(beside) >= PRICE_SHARE * min(len(prices), len(other)) and min(beside) > 0:
                distance = float(np.median(beside))
                best = (distance, other) if best is None or distance < best[0] else best
        if best is None:
            continue
        for table in lists:
            if best[1][0] in table:
                table.extend(prices)
                break
        else:
            lists.append([*best[1], *prices])
    return lists


def same_row(first: LineAxes, second: LineAxes) -> bool:
    """Whether two lines run in the same direction at the same height."""
    if float(first.along @ second.along) < ANGLE_COSINE:
        return False
    offset = second.centre - first.centre
    return abs(float(offset @ first.across)) < 0.5 * min(first.height, second.height)


def block_order(outlines: Sequence[npt.NDArray[np.floating]], axes: Sequence[LineAxes]) -> list[int]:
    """The order in which blocks are read.

    A block comes after those above it that share columns with it, and after those to its left that share rows with it.
    Where this says nothing, or goes round in a circle, the highest one is next. Left and above are those of the longest
    line.

    Args:
        outlines: points around each block, shape (n, 2).
        axes: of all lines.
    """
    if not outlines:
        return []
    # In the frame of the text: rows that slope are level in it, and columns from right to left run down a page that was
    # turned a quarter anticlockwise.
    along = max(axes, key=lambda line: line.length).along
    across = np.array([-along[1], along[0]])
    turned = [np.stack([points @ along, points @ across], axis=1) for points in outlines]
    boxes = np.array([[*points.min(axis=0), *points.max(axis=0)] for points in turned])
    x0, y0, x1, y1 = boxes.T
    wide = np.minimum(x1[:, None], x1) - np.maximum(x0[:, None], x0)
    high = np.minimum(y1[:, None], y1) - np.maximum(y0[:, None], y0)
    shares_columns = wide > 0.1 * np.minimum((x1 - x0)[:, None], x1 - x0)
    shares_rows = high > 0.5 * np.minimum((y1 - y0)[:, None], y1 - y0)
    middle_x, middle_y = (x0 + x1) / 2, (y0 + y1) / 2
    above = shares_columns & ~shares_rows & (middle_y[:, None] < middle_y)
    left = shares_rows & (middle_x[:, None] < middle_x)
    before = above | left
    waiting = set(range(len(outlines)))
    order = []
    while waiting:
        rest = sorted(waiting, key=lambda place: (float(y0[place]), float(x0[place])))
        ready = [place for place in rest if not any(before[other, place] for other in waiting if other != place)]
        order.append((ready or rest)[0])
        waiting.remove(order[-1])
    return order
