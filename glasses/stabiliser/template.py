"""From a keyframe to a template: which of its points are worth following, and how the alignment sees them."""

from __future__ import annotations

from typing import Final

import numpy as np

from glasses.stabiliser.compiled import compiled, internal
from glasses.stabiliser.limits import LEVEL_SCALE, POINTS, POINTS_WANTED
from glasses.stabiliser.memory import Bytes, Floats, Ints, Templates

STEEP: Final = 4.0
"""Grey levels a pixel: flatter places tell nothing above the noise."""
PER_CELL: Final = 3
"""Points taken from one cell of the grid that spreads them over the sign."""
DOF: Final = (8, 6, 4)
"""Degrees of freedom on levels 0, 1 and 2: what is left of a sign on the coarse ones says nothing about perspective."""
MARGIN_SHARE: Final = 0.25
"""The template reaches so much beyond a line, in line heights: the plate around letters holds on well."""
MARGIN_PX: Final = (1.5, 8.0)
"""Limits of that margin, working pixels."""
CHANGE_PX: Final = 0.7
"""How far a plane is expected from its predicted place, working pixels, one standard deviation a frame: the motion of
the view and the plane's own drift against it are in the prediction already."""
CHANGE: Final = (0.02, 0.02, 0.01, 0.01, 0.005, 0.005)
"""Likewise for the other parameters, at the spread of the points. From walking past a sign at arm's reach of the
pavement (1.4 m/s at 3 m: 1.5 % of scale a frame)."""
THIN: Final = 0.35
"""A region whose points spread less across than this share of along tells nothing about slant: its change is taken
for smaller by the square of the ratio."""
SMALLEST_SPREAD: Final = 2.0
"""Least scale of the parameters' coordinates, in pixels of the level."""


@internal
def _paint(mask: Bytes, quad: Floats, mark: int) -> None:
    """Mark the pixels inside a convex quad that nobody has marked."""
    height, width = mask.shape
    turn = 0.0
    for i in range(4):
        j = (i + 1) % 4
        turn += quad[i, 0] * quad[j, 1] - quad[j, 0] * quad[i, 1]
    sign = 1.0 if turn > 0 else -1.0
    x0 = max(1, int(np.floor(quad[:, 0].min())))
    x1 = min(width - 2, int(np.ceil(quad[:, 0].max())))
    y0 = max(1, int(np.floor(quad[:, 1].min())))
    y1 = min(height - 2, int(np.ceil(quad[:, 1].max())))
    for y in range(y0, y1 + 1):
        for x in range(x0, x1 + 1):
            within = True
            for i in range(4):
                j = (i + 1) % 4
                ex, ey = quad[j, 0] - quad[i, 0], quad[j, 1] - quad[i, 1]
                if sign * (ex * (y - quad[i, 1]) - ey * (x - quad[i, 0])) < 0.0:
                    within = False
                    break
            if within and mask[y, x] == 0:
                mask[y, x] = mark


@internal
def _choose(image: Bytes, mask: Bytes, mark: int, wanted: int, rows: Ints, columns: Ints) -> int:
    """The steepest pixels of a region, spread over it; returns how many, at most `wanted`."""
    height, width = mask.shape
    x0, x1, y0, y1, size = width, -1, height, -1, 0
    for y in range(height):
        for x in range(width):
            if mask[y, x] == mark:
                size += 1
                x0, x1, y0, y1 = min(x0, x), max(x1, x), min(y0, y), max(y1, y)
    if size == 0:
        return 0
    cell = max(2, int(np.sqrt(size / wanted * PER_CELL)))
    across, down = (x1 - x0) // cell + 1, (y1 - y0) // cell + 1
    best = np.zeros((across * down, PER_CELL))
    where = np.zeros((across * down, PER_CELL, 2), np.int64)
    for y in range(y0, y1 + 1):
        for x in range(x0, x1 + 1):
            if mask[y, x] != mark:
                continue
            gx = (np.float64(image[y, x + 1]) - np.float64(image[y, x - 1])) * 0.5
            gy = (np.float64(image[y + 1, x]) - np.float64(image[y - 1, x])) * 0.5
            steep = gx * gx + gy * gy
            if steep < STEEP * STEEP:
                continue
            at = (y - y0) // cell * across + (x - x0) // cell
            for rank in range(PER_CELL):
                if steep > best[at, rank]:
                    for lower in range(PER_CELL - 1, rank, -1):
                        best[at, lower] = best[at, lower - 1]
                        where[at, lower] = where[at, lower - 1]
                    best[at, rank] = steep
                    where[at, rank, 0] = y
                    where[at, rank, 1] = x
                    break
    taken = 0
    for rank in range(PER_CELL):
        here = best[:, rank]
        order = np.argsort(-here)
        for at in order:
            if here[at] <= 0.0 or taken >= wanted:
                break
            rows[taken], columns[taken] = where[at, rank, 0], where[at, rank, 1]
            taken += 1
    return taken


@internal
def _level(
    image: Bytes, index: int, quads: Floats, quad_region: Ints, regions: int, templates: Templates, slot: int
) -> None:
    """Choose the points of one level and prepare them."""
    scale = LEVEL_SCALE[index]
    height, width = image.shape
    mask = np.zeros((height, width), np.uint8)
    here = np.empty((4, 2))
    for k in range(quads.shape[0]):
        centre_x, centre_y = quads[k, :, 0].mean(), quads[k, :, 1].mean()
        left = np.hypot(quads[k, 3, 0] - quads[k, 0, 0], quads[k, 3, 1] - quads[k, 0, 1])
        top = np.hypot(quads[k, 1, 0] - quads[k, 0, 0], quads[k, 1, 1] - quads[k, 0, 1])
        margin = min(max(MARGIN_SHARE * min(left, top), MARGIN_PX[0]), MARGIN_PX[1])
        for i in range(4):
            # Out from the middle of both sides that meet in the corner, by the margin each.
            x, y = quads[k, i, 0], quads[k, i, 1]
            for j in ((i + 1) % 4, (i + 3) % 4):
                dx, dy = quads[k, i, 0] - quads[k, j, 0], quads[k, i, 1] - quads[k, j, 1]
                length = max(np.hypot(dx, dy), 1e-6)
                x += dx / length * margin
                y += dy / length * margin
            here[i, 0] = (x + 0.5) / scale - 0.5
            here[i, 1] = (y + 0.5) / scale - 0.5
        if np.isfinite(centre_x + centre_y):
            _paint(mask, here, quad_region[k] + 1)
    rows, columns = np.empty(POINTS, np.int64), np.empty(POINTS, np.int64)
    count = 0
    wanted = POINTS_WANTED[index]
    for r in range(regions):
        share = min(max(wanted // regions, 16), POINTS - count)
        if share <= 0:
            break
        found = _choose(image, mask, r + 1, share, rows[count:], columns[count:])
        for i in range(count, count + found):
            templates.region[slot, index, i] = r
        count += found
    templates.points[slot, index] = count
    if count == 0:
        return
    sum_x, sum_y, sum_xx, sum_yy = 0.0, 0.0, 0.0, 0.0
    for i in range(count):
        sum_x += columns[i]
        sum_y += rows[i]
    cx, cy = sum_x / count, sum_y / count
    for i in range(count):
        sum_xx += (columns[i] - cx) ** 2
        sum_yy += (rows[i] - cy) ** 2
    spread = max(np.sqrt(max(sum_xx, sum_yy) / count), SMALLEST_SPREAD)
    templates.frame[slot, index, 0] = (cx + 0.5) * scale - 0.5
    templates.frame[slot, index, 1] = (cy + 0.5) * scale - 0.5
    templates.frame[slot, index, 2] = spread * scale
    templates.dof[slot, index] = DOF[index] if count >= 60 else min(DOF[index], 4) if count >= 25 else 2
    thin = min(np.sqrt(sum_xx / max(sum_yy, 1.0)), np.sqrt(sum_yy / max(sum_xx, 1.0))) / THIN
    narrow = max(min(thin * thin, 1.0), 0.05)
    for p in range(2):
        templates.prior[slot, index, p] = (spread * scale / CHANGE_PX) ** 2
    for p in range(6):
        templates.prior[slot, index, 2 + p] = 1.0 / CHANGE[p] ** 2
    # Slant is the part of rotation and of the second stretch that moves points along the line by their height in it;
    # its change along the line is the perspective across it.
    templates.prior[slot, index, 5] /= narrow * narrow
    templates.prior[slot, index, 7 if sum_xx > sum_yy else 6] /= narrow * narrow
    jacobian = templates.jacobian[slot, index]
    for i in range(count):
        row, column = rows[i], columns[i]
        gx = (np.float64(image[row, column + 1]) - np.float64(image[row, column - 1])) * 0.5 * spread
        gy = (np.float64(image[row + 1, column]) - np.float64(image[row - 1, column])) * 0.5 * spread
        x, y = (column - cx) / spread, (row - cy) / spread
        templates.x[slot, index, i] = (column + 0.5) * scale - 0.5
        templates.y[slot, index, i] = (row + 0.5) * scale - 0.5
        templates.value[slot, index, i] = image[row, column]
        jacobian[0, i] = gx
        jacobian[1, i] = gy
        jacobian[2, i] = gx * x + gy * y
        jacobian[3, i] = gy * x - gx * y
        jacobian[4, i] = gx * x - gy * y
        jacobian[5, i] = gx * y + gy * x
        jacobian[6, i] = -x * (gx * x + gy * y)
        jacobian[7, i] = -y * (gx * x + gy * y)
    for p in range(8):
        for q in range(p + 1):
            total = 0.0
            for i in range(count):
                total += np.float64(jacobian[p, i]) * np.float64(jacobian[q, i])
            templates.normal[slot, index, p, q] = total
            templates.normal[slot, index, q, p] = total


@compiled
def build(
    half: Bytes,
    quarter: Bytes,
    eighth: Bytes,
    quads: Floats,
    quad_region: Ints,
    regions: int,
    templates: Templates,
    slot: int,
) -> int:
    """Make the template of some regions of a keyframe.

    Args:
        half: level 0 of the keyframe, uint8 (height, width).
        quarter: level 1.
        eighth: level 2.
        quads: lines of the regions, working pixels, float64 (n, 4, 2).
        quad_region: which region each belongs to, 0 to `regions` - 1, int64 (n,).
        regions: how many there are.
        templates: all templates.
        slot: which one is written.

    Returns:
        Points on level 0.
    """
    _level(half, 0, quads, quad_region, regions, templates, slot)
    _level(quarter, 1, quads, quad_region, regions, templates, slot)
    _level(eighth, 2, quads, quad_region, regions, templates, slot)
    return int(templates.points[slot, 0])
