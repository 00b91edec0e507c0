"""Which rows of text a strip holds. Pure geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.geometry import Quad
from shared.models.detection import DetectedLine

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels."""


@dataclass(frozen=True, slots=True)
class Row:
    """Pieces of one row of text in a strip: their common box, and the confidence of the least sure piece."""

    box: Box
    confidence: float


def rows_inside(found: Sequence[DetectedLine], inner: Quad) -> list[Row]:
    """Rows of the detected pieces whose centre lies in the line's own quad, from top to bottom.

    Args:
        found: pieces in a rectified strip, so that rows are level.
        inner: where the line was expected; what lies outside is a neighbour seen through the margin.
    """
    left, top, right, bottom = _box(inner)
    rows: list[Row] = []
    for piece in sorted(found, key=lambda item: float(item.quad[:, 1].mean())):
        box = _box(piece.quad)
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        if not (left <= x <= right and top <= y <= bottom):
            continue
        if rows and y <= rows[-1].box[3] - (rows[-1].box[3] - rows[-1].box[1]) / 4:
            rows[-1] = Row(_union(rows[-1].box, box), min(rows[-1].confidence, piece.confidence))
        else:
            rows.append(Row(box, piece.confidence))
    return [
        Row((max(row.box[0], 0.0), max(row.box[1], 0.0), max(row.box[2], 0.0), max(row.box[3], 0.0)), row.confidence)
        for row in rows
    ]


def _box(quad: Quad) -> Box:
    (x0, y0), (x1, y1) = quad.min(axis=0), quad.max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)


def _union(one: Box, other: Box) -> Box:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])
