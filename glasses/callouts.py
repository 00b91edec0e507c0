"""Boxes beside signs: where there is room for one that stays where it was. Pure geometry: no picture, no state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from shared.geometry import Quad

CROWDED_SHARE: Final = 0.1
"""A box that would cover this share of another label is left out."""
TAKEN_COST: Final = 5.0
"""Lying on another label costs so much more than on another sign: it may be letters that are covered."""
SLOT_COST: Final = 0.04
"""Each place further down the list counts like so much of the box lying on another sign."""
STAY_BONUS: Final = 0.5
"""The place the box had before: another one is only taken when it is clearly better."""
SLOTS: Final = (
    (0, 0),
    (0, 1),
    (0, 2),
    (1, 0),
    (2, 0),
    (1, 1),
    (2, 1),
    (1, 2),
    (2, 2),
    (0, 3),
    (0, 4),
    (1, 3),
    (2, 3),
    (1, 4),
    (2, 4),
)
"""Places for a box around its sign: column (over, right, left) and row (over, below, above, further), best first."""

Rectangle = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels."""


def bounds(quad: Quad, shape: tuple[int, int], pad: int = 4) -> Rectangle:
    """The upright rectangle around a quad within a picture of `shape` (height, width)."""
    height, width = shape
    xs, ys = quad[:, 0].tolist(), quad[:, 1].tolist()
    return (
        _clamped(math.floor(min(xs)) - pad, width),
        _clamped(math.floor(min(ys)) - pad, height),
        _clamped(math.ceil(max(xs)) + pad + 1, width),
        _clamped(math.ceil(max(ys)) + pad + 1, height),
    )


def _clamped(value: int, limit: int) -> int:
    return max(0, min(value, limit))


def shared_area(first: Rectangle, second: Rectangle) -> int:
    """Area two rectangles have in common, in square pixels."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(0, width) * max(0, height)


def place(
    quad: Quad,
    size: tuple[int, int],
    shape: tuple[int, int],
    *,
    taken: Sequence[Rectangle],
    others: Sequence[Rectangle],
    before: int | None,
) -> tuple[Rectangle, int] | None:
    """Where a box fits: over its sign if possible, else beside it.

    Args:
        quad: of the sign.
        size: of the box: width, height.
        shape: of the picture: height, width.
        taken: labels drawn already.
        others: other signs; a box may lie on them where there is nowhere else.
        before: the place the box had in the frame before.

    Returns:
        The rectangle, and the index of its place in `SLOTS`; None where it is too crowded.
    """
    height, width = shape
    box_width, box_height = size
    if box_width >= width or box_height >= height:
        return None
    x0, y0, x1, y1 = bounds(quad, shape, pad=2)
    columns = ((x0 + x1 - box_width) // 2, x1, x0 - box_width)
    rows = ((y0 + y1 - box_height) // 2, y1, y0 - box_height, y1 + box_height, y0 - 2 * box_height)
    best: tuple[float, Rectangle, int] | None = None
    for slot, (column, row) in enumerate(SLOTS):
        x = _clamped(columns[column], width - box_width)
        y = _clamped(rows[row], height - box_height)
        rectangle = (x, y, x + box_width, y + box_height)
        if any(shared_area(rectangle, one) > CROWDED_SHARE * _smaller(rectangle, one) for one in taken):
            continue
        cost = sum(shared_area(rectangle, one) for one in others) / (box_width * box_height) + SLOT_COST * slot
        cost += TAKEN_COST * sum(shared_area(rectangle, one) for one in taken) / (box_width * box_height)
        cost -= STAY_BONUS if slot == before else 0.0
        if best is None or cost < best[0]:
            best = (cost, rectangle, slot)
    return None if best is None else best[1:]


def _smaller(first: Rectangle, second: Rectangle) -> int:
    return min((first[2] - first[0]) * (first[3] - first[1]), (second[2] - second[0]) * (second[3] - second[1]))
