"""Finding the lines of a whole picture: one pass of the detector, and a closer look where the letters are small.

A detector sees the picture at one size. Where its lines come out only a few pixels high, letters run together and
neighbouring lines merge; those parts are looked at again as tiles, larger. Of overlapping finds the closer look wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from shared.geometry import ImageBgr, area
from shared.layout import axes_of, line_height, overlap
from shared.limits import MAX_DETECTION_SIDE, MAX_READING_LINES
from shared.models.detection import DetectedLine, TextDetector, reading_order
from shared.models.images import require_bgr

MIN_SIDE: Final = 32
"""Smallest side the detector takes, in pixels."""
MIN_AREA: Final = 4.0
"""Smaller lines, in square pixels, are no lines: a picture of a few pixels is enlarged, and looks like one."""
CLOSE_PX: Final = 26.0
"""Height at which small lines are looked at again, in pixels, as far as the picture and the plan allow."""
ENLARGE_LIMIT: Final = 1.5
"""A tile is enlarged at most so much beyond the picture's own pixels."""
LEAST_ZOOM: Final = 1.3
"""A look that is closer by less shows nothing new."""
ZOOM_STEP: Final = 0.85
"""Where more tiles would be needed than the plan allows, they are seen less close, step by step."""
SHRUNK: Final = 0.8
"""A picture seen at less than this scale lost detail."""
SAME_PLACE: Final = 0.5
"""Two finds are one when they share this much of the smaller one's area."""
BORDER: Final = 2.0
"""A line that comes so close to the edge of a tile, in pixels of the tile, may go on beyond it."""

INSIDE: Final = 0.7
"""A find with this share of its area in another one lies in it."""
CELL_GAP: Final = 0.5
"""Least gap between cells, in heights of the line: twice a word space."""
FILLED: Final = 0.8
"""Cells take up this share of their line's length, gaps included."""

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels; x1 and y1 exclusive."""


@dataclass(frozen=True, slots=True)
class FindingPlan:
    """How much work finding lines may cost.

    Attributes:
        side: longest side at which the whole picture is looked at, in pixels.
        small_px: lines lower than this at that size are looked at again; 0 for never.
        tile_side: longest side at which a tile is looked at, in pixels.
        tiles: most tiles of one picture.
        everywhere: whether tiles cover the whole picture, not only the places where small lines were found, when the
            first pass saw it scaled down.
    """

    side: int = 960
    small_px: float = 0.0
    tile_side: int = 960
    tiles: int = 4
    everywhere: bool = False


def find_lines(
    detector: TextDetector, image: ImageBgr, plan: FindingPlan, *, second: TextDetector | None = None
) -> list[DetectedLine]:
    """The lines of a picture.

    Args:
        detector: looks at the picture and at its tiles.
        image: uint8 of shape (height, width, 3).
        plan: what it may cost.
        second: another detector that looks at the same, see `combined`.

    Returns:
        At most `limits.MAX_READING_LINES` lines, the surest ones, rows from the top and in a row from the left.

    Raises:
        InputError: the picture is not BGR.
        PackUnsupported: the model does not answer as a detector does.
    """
    require_bgr(image, what="the picture")
    lines = _find(detector, image, plan)
    if second is not None:
        lines = combined(lines, _find(second, image, plan))
    if len(lines) > MAX_READING_LINES:
        lines = sorted(lines, key=lambda line: line.confidence, reverse=True)[:MAX_READING_LINES]
    return reading_order(lines)


def _find(detector: TextDetector, image: ImageBgr, plan: FindingPlan) -> list[DetectedLine]:
    height, width = image.shape[:2]
    longest = max(height, width)
    side = min(max(plan.side, MIN_SIDE), MAX_DETECTION_SIDE)
    first = [line for line in detector.detect(image, longest_side=side) if area(line.quad) >= MIN_AREA]
    scale = side / longest
    boxes, closer = tiles_for(first, (width, height), scale, plan)
    # Large lines fall to pieces seen close up, small ones come apart as they should.
    looks = [(not _small(line, scale, plan), line) for line in first]
    return distinct(looks, [line for box in boxes for line in _look_closer(detector, image, box, closer)])


def tiles_for(
    lines: Sequence[DetectedLine], size: tuple[int, int], scale: float, plan: FindingPlan
) -> tuple[list[Box], float]:
    """Which parts of a picture deserve a closer look.

    Args:
        lines: of the first pass, in pixels of the picture.
        size: width and height of the picture.
        scale: pixels of the first pass over pixels of the picture.
        plan: what it may cost.

    Returns:
        At most `plan.tiles` boxes, and the scale to look at them; no box where nothing is small, or the picture has no
        more pixels to show.
    """
    small = [line.quad for line in lines if _small(line, scale, plan)]
    everywhere = plan.everywhere and scale < SHRUNK
    if plan.tiles <= 0 or not (small or everywhere):
        return [], scale
    if everywhere:
        region = (0.0, 0.0, float(size[0]), float(size[1]))
    else:
        margin = 3.0 * float(np.median([line_height(quad) for quad in small]))
        low = np.maximum(np.concatenate(small).min(axis=0) - margin, 0.0)
        high = np.minimum(np.concatenate(small).max(axis=0) + margin, size)
        region = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    height = float(np.median([line_height(quad) for quad in small])) if small else CLOSE_PX
    closer = min(CLOSE_PX / height, ENLARGE_LIMIT)
    while closer >= LEAST_ZOOM * scale:
        boxes = _cover(region, plan.tile_side / closer)
        if not everywhere:  # only tiles with something in them
            centres = np.array([quad.mean(axis=0) for quad in small])
            boxes = [box for box in boxes if _holds(box, centres)]
        if len(boxes) <= plan.tiles:
            return boxes, closer
        closer *= ZOOM_STEP
    return [], scale


def distinct(first: Sequence[tuple[bool, DetectedLine]], closer: Sequence[DetectedLine]) -> list[DetectedLine]:
    """One line for each place: what was large in the first pass, then what was seen closer up, then the rest.

    Args:
        first: lines of the first pass, each with whether it is large.
        closer: lines seen closer up.
    """
    ranked = [(2 if large else 0, line) for large, line in first] + [(1, line) for line in closer]
    order = sorted(ranked, key=lambda item: (item[0], area(item[1].quad)), reverse=True)
    kept: list[DetectedLine] = []
    boxes = np.zeros((0, 4))
    areas: list[float] = []
    for _, line in order:
        low, high = line.quad.min(axis=0), line.quad.max(axis=0)
        own = area(line.quad)
        near = np.flatnonzero(
            (boxes[:, 0] < high[0]) & (boxes[:, 2] > low[0]) & (boxes[:, 1] < high[1]) & (boxes[:, 3] > low[1])
        )
        covered = 0.0
        for index in near:
            shared = overlap(line.quad, kept[index].quad)
            if shared > SAME_PLACE * min(own, areas[index]):
                covered = own
                break
            covered += shared
        if covered <= SAME_PLACE * own:
            kept.append(line)
            areas.append(own)
            boxes = np.vstack([boxes, [*low, *high]])
    return kept


def combined(base: Sequence[DetectedLine], other: Sequence[DetectedLine]) -> list[DetectedLine]:
    """The finds of two detectors as one.

    What one detector takes for a line, the other may see as several: cells of a row are believed to be apart when one
    of the two leaves a gap between them. What only one has found is added.

    Args:
        base: finds that are kept, unless they hold cells.
        other: finds of the other detector in the same picture.
    """
    lines: list[DetectedLine] = []
    used: set[int] = set()
    for line in base:
        inside = [
            index
            for index, piece in enumerate(other)
            if overlap(line.quad, piece.quad) > INSIDE * area(piece.quad) and area(piece.quad) < area(line.quad)
        ]
        if _are_cells(line, [other[index] for index in inside]):
            used.update(inside)
        else:
            lines.append(line)
    lines += [other[index] for index in sorted(used)]
    for index, line in enumerate(other):
        if index not in used and all(
            overlap(line.quad, kept.quad) <= SAME_PLACE * min(area(line.quad), area(kept.quad)) for kept in lines
        ):
            lines.append(line)
    return lines


def _are_cells(line: DetectedLine, pieces: Sequence[DetectedLine]) -> bool:
    """Whether pieces found within a line fill it, one beside the other, with gaps wider than a word space."""
    if len(pieces) < 2:
        return False
    axes = axes_of(line.quad)
    spans = []
    for piece in pieces:
        along = (piece.quad.astype(np.float64) - axes.centre) @ axes.along
        spans.append((float(along.min()), float(along.max())))
    spans.sort()
    gaps = [right[0] - left[1] for left, right in pairwise(spans)]
    filled = sum(end - start for start, end in spans) + sum(gaps)
    return min(gaps) >= CELL_GAP * axes.height and filled >= FILLED * axes.length


def _small(line: DetectedLine, scale: float, plan: FindingPlan) -> bool:
    return line_height(line.quad) * scale < plan.small_px


def _look_closer(detector: TextDetector, image: ImageBgr, box: Box, scale: float) -> list[DetectedLine]:
    """Lines of one tile, without those that the tile's edge cuts."""
    x0, y0, x1, y1 = box
    tile = image[y0:y1, x0:x1]
    side = int(np.clip(round(max(tile.shape[:2]) * scale), MIN_SIDE, MAX_DETECTION_SIDE))
    height, width = image.shape[:2]
    found = []
    for line in detector.detect(np.ascontiguousarray(tile), longest_side=side):
        low, high = line.quad.min(axis=0), line.quad.max(axis=0)
        cut = (
            (low[0] <= BORDER and x0 > 0)
            or (low[1] <= BORDER and y0 > 0)
            or (high[0] >= x1 - x0 - 1 - BORDER and x1 < width)
            or (high[1] >= y1 - y0 - 1 - BORDER and y1 < height)
        )
        if not cut:
            found.append(replace(line, quad=np.asarray(line.quad + np.array([x0, y0]), dtype=np.float32)))
    return found


def _cover(region: tuple[float, float, float, float], most: float) -> list[Box]:
    """Boxes of at most `most` pixels a side that cover a region, overlapping by a quarter where there are several."""
    left, top, right, bottom = region

    def spans(low: float, high: float) -> list[tuple[int, int]]:
        if high - low <= most:
            return [(int(low), int(np.ceil(high)))]
        count = int(np.ceil((high - low - 0.25 * most) / (0.75 * most)))
        step = (high - low - most) / max(count - 1, 1)
        return [(int(low + index * step), int(np.ceil(low + index * step + most))) for index in range(count)]

    return [
        (x0, y0, min(x1, int(np.ceil(right))), min(y1, int(np.ceil(bottom))))
        for y0, y1 in spans(top, bottom)
        for x0, x1 in spans(left, right)
    ]


def _holds(box: Box, points: npt.NDArray[np.floating]) -> bool:
    x0, y0, x1, y1 = box
    within = (points[:, 0] >= x0) & (points[:, 0] < x1) & (points[:, 1] >= y0) & (points[:, 1] < y1)
    return bool(within.any())
