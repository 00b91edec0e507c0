"""Alignment of a plane with a frame: sparse, inverse-compositional, anchored to the keyframe.

A template holds points of a keyframe with steep grey-level gradients. For each level, coarse to fine, the frame is
sampled where the present homography puts the points, brightness and contrast are matched (so exposure does not
matter), residuals are clipped (so a leaf in front of a letter does not matter much), and one Gauss-Newton step in the
keyframe's coordinates is inverted and composed with the homography. The gradients and their normal matrix belong to
the keyframe and are computed once (the matrix anew for points of which many are out of the frame).

A prediction is also a measurement: a plane's shape on the screen changes little from frame to frame beyond what the
turning head explains. Each parameter is drawn towards its predicted value with the strength that this deserves
(`Templates.prior`), which decides where the points cannot tell: the slant of a single line of text, for one.

The 8 parameters are, in coordinates centred on the points and scaled by their spread: shift x, shift y, scale,
rotation, two for the rest of the affine part, two for perspective.

Source: Baker & Matthews, "Lucas-Kanade 20 Years On: A Unifying Framework", IJCV 56(3), 2004, sections 3.2 and 4.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from glasses.stabiliser.compiled import compiled, internal
from glasses.stabiliser.matrices import copy, invert, multiply, normalise, solve
from glasses.stabiliser.memory import Bytes, Floats, Ints, Singles, Templates

ITERATIONS: Final = (5, 6, 8)
"""On levels 0, 1 and 2, at most."""
TOLERANCE_PX: Final = 0.02
"""Iterations on a level end when the largest shift of a point within the spread is below this (pixels of the level)."""
MINIMUM_POINTS: Final = 12
MINIMUM_SHARE: Final = 0.3
"""Points of a level that must be within the frame for it to count."""
WHOLE_SHARE: Final = 0.8
"""With fewer of its points in the frame a plane keeps the shape it is predicted to have, however uncertain it is."""
CLIP: Final = 2.0
"""Residuals are clipped at so many times their mean size."""
NOISE: Final = (2.0, 1.5)
"""Standard deviation of a residual: grey levels, plus so many times the residuals' mean size."""
ALIKE: Final = 30.0
"""Points whose residuals err together, as under motion blur, which smears all of them the same way: so many count as
one against the prediction."""
MATCH: Final = 0.6
"""Correlation at which an alignment is believed. The coarse levels alone are not: they agree with too much."""


class Scratch:
    """Working memory of an alignment: one per thread."""

    def __init__(self, points: int) -> None:
        self.sampled: Singles = np.zeros(points, np.float32)
        self.residual: Singles = np.zeros(points, np.float32)
        self.usable: Singles = np.zeros(points, np.float32)
        self.matrices: Floats = np.zeros((10, 8, 8))


@internal
def _sample(
    image: Bytes,
    xs: Singles,
    ys: Singles,
    regions: Ints,
    count: int,
    covered: Ints,
    level: int,
    h: Floats,
    sampled: Singles,
    usable: Singles,
) -> int:
    """Grey levels of a frame where a homography puts the template's points; returns how many lie inside."""
    height, width = image.shape
    scale = np.float32(1.0 / level)
    offset = np.float32(0.5 / level - 0.5)
    h00, h01, h02 = np.float32(h[0, 0]), np.float32(h[0, 1]), np.float32(h[0, 2])
    h10, h11, h12 = np.float32(h[1, 0]), np.float32(h[1, 1]), np.float32(h[1, 2])
    h20, h21, h22 = np.float32(h[2, 0]), np.float32(h[2, 1]), np.float32(h[2, 2])
    right, bottom = np.float32(width - 1.01), np.float32(height - 1.01)
    inside = 0
    for i in range(count):
        x, y = xs[i], ys[i]
        w = h20 * x + h21 * y + h22
        usable[i] = np.float32(0.0)
        sampled[i] = np.float32(0.0)
        if not (w > np.float32(1e-6)) or covered[regions[i]] != 0:
            continue
        z = scale / w
        u = (h00 * x + h01 * y + h02) * z + offset
        v = (h10 * x + h11 * y + h12) * z + offset
        if u >= 0 and v >= 0 and u < right and v < bottom:
            column, row = int(u), int(v)
            fu, fv = u - np.float32(column), v - np.float32(row)
            a, b = np.float32(image[row, column]), np.float32(image[row, column + 1])
            c, d = np.float32(image[row + 1, column]), np.float32(image[row + 1, column + 1])
            top = a + (b - a) * fu
            sampled[i] = top + (c + (d - c) * fu - top) * fv
            usable[i] = np.float32(1.0)
            inside += 1
    return inside


@internal
def _match(values: Singles, sampled: Singles, usable: Singles, count: int, inside: int, result: Floats) -> None:
    """Gain and bias that make the samples most like the template, and their correlation: result[0..2]."""
    si, sii = np.float32(0.0), np.float32(0.0)
    st, stt, sit = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    middle = np.float32(128.0)
    for i in range(count):
        use = usable[i]
        s, t = (sampled[i] - middle) * use, (values[i] - middle) * use
        si += s
        sii += s * s
        st += t
        stt += t * t
        sit += s * t
    n = float(max(inside, 1))
    mean_i, mean_t = float(si) / n, float(st) / n
    spread_i = max(float(sii) / n - mean_i * mean_i, 1e-3)
    spread_t = max(float(stt) / n - mean_t * mean_t, 1e-3)
    gain = np.sqrt(spread_t / spread_i)
    result[0] = gain
    result[1] = mean_t + 128.0 - gain * (mean_i + 128.0)
    result[2] = (float(sit) / n - mean_i * mean_t) / np.sqrt(spread_i * spread_t)


@internal
def _step(d: Floats, frame: Floats, h: Floats, m: Floats) -> bool:
    """Compose a homography with the inverse of a step, in place; False when that makes no sense."""
    cx, cy, scale = frame[0], frame[1], frame[2]
    step, inverse, result = m[4, :3, :3], m[5, :3, :3], m[6, :3, :3]
    step[0, 0], step[0, 1], step[0, 2] = 1.0 + d[2] + d[4], d[5] - d[3], d[0]
    step[1, 0], step[1, 1], step[1, 2] = d[3] + d[5], 1.0 + d[2] - d[4], d[1]
    step[2, 0], step[2, 1], step[2, 2] = d[6], d[7], 1.0
    # From the points' own coordinates to working pixels: N⁻¹ D N.
    for j in range(3):
        step[0, j] = step[0, j] * scale + cx * step[2, j]
        step[1, j] = step[1, j] * scale + cy * step[2, j]
    for i in range(3):
        a, b = step[i, 0] / scale, step[i, 1] / scale
        step[i, 2] = step[i, 2] - a * cx - b * cy
        step[i, 0], step[i, 1] = a, b
    if not invert(step, inverse):
        return False
    multiply(h, inverse, result)
    if not normalise(result):
        return False
    copy(result, h)
    return True


@internal
def _level(
    image: Bytes,
    level: int,
    templates: Templates,
    slot: int,
    index: int,
    covered: Ints,
    iterations: int,
    slack: float,
    h: Floats,
    sampled: Singles,
    residual: Singles,
    usable: Singles,
    m: Floats,
) -> float:
    """Align on one level, in place; returns the correlation before the last step, or -1.

    m[9, 0] holds how far the parameters are from the prediction.
    """
    count = templates.points[slot, index]
    xs, ys = templates.x[slot, index], templates.y[slot, index]
    values, regions = templates.value[slot, index], templates.region[slot, index]
    jacobian = templates.jacobian[slot, index]
    frame = templates.frame[slot, index]
    dof = templates.dof[slot, index]
    normal, factor, right, d, matched, away, pull = m[0], m[1], m[2, 0], m[3, 0], m[7, 0], m[9, 0], m[9, 1]
    scale = frame[2]
    have_normal = False
    correlation = -1.0
    for _ in range(iterations):
        inside = _sample(image, xs, ys, regions, count, covered, level, h, sampled, usable)
        if inside < MINIMUM_POINTS or inside < MINIMUM_SHARE * count:
            return -1.0
        _match(values, sampled, usable, count, inside, matched)
        gain, bias, correlation = np.float32(matched[0]), np.float32(matched[1]), matched[2]
        size = np.float32(0.0)
        for i in range(count):
            r = (gain * sampled[i] + bias - values[i]) * usable[i]
            residual[i] = r
            size += abs(r)
        limit = np.float32(CLIP) * size / np.float32(inside) + np.float32(0.5)
        for i in range(count):
            residual[i] = min(max(residual[i], -limit), limit)
        for p in range(dof):
            total = np.float32(0.0)
            row = jacobian[p]
            for i in range(count):
                total += row[i] * residual[i]
            right[p] = total
        noise = NOISE[0] + NOISE[1] * size / inside
        shape = slack if inside > WHOLE_SHARE * count else 1.0
        for p in range(dof):
            may = slack if p < 2 else shape
            pull[p] = ALIKE * noise * noise * templates.prior[slot, index, p] / (may * may)
            right[p] -= pull[p] * away[p]
        if not have_normal:
            if inside > 0.95 * count:
                for p in range(dof):
                    for q in range(dof):
                        normal[p, q] = templates.normal[slot, index, p, q]
            else:
                for p in range(dof):
                    for q in range(p + 1):
                        total = np.float32(0.0)
                        one, other = jacobian[p], jacobian[q]
                        for i in range(count):
                            total += one[i] * other[i] * usable[i]
                        normal[p, q] = total
                        normal[q, p] = total
            for p in range(dof):
                normal[p, p] += pull[p] + 1e-3 * normal[p, p] + 1e-3
            have_normal = True
        for p in range(8):
            d[p] = 0.0
        solve(normal, right, dof, factor, d)
        moved = 0.0
        for p in range(dof):
            moved += abs(d[p])
            away[p] += d[p]
        moved *= scale / level
        if not (moved < 1e3) or not _step(d, frame, h, m):
            return -1.0
        if moved < TOLERANCE_PX:
            break
    return float(correlation)


@internal
def _assess(
    image: Bytes,
    templates: Templates,
    slot: int,
    regions_used: int,
    covered: Ints,
    h: Floats,
    sampled: Singles,
    usable: Singles,
    nothing_covered: Ints,
    quality: Floats,
    m: Floats,
) -> float:
    """Correlation of all uncovered points of level 0, and of each region; -1 without enough points in the frame."""
    count = templates.points[slot, 0]
    xs, ys = templates.x[slot, 0], templates.y[slot, 0]
    values, regions = templates.value[slot, 0], templates.region[slot, 0]
    matched = m[7, 0]
    _sample(image, xs, ys, regions, count, nothing_covered, 1, h, sampled, usable)
    whole = 0
    start = 0
    for r in range(regions_used):
        end = start
        while end < count and regions[end] == r:
            end += 1
        inside = 0
        for i in range(start, end):
            inside += int(usable[i])
        quality[r] = -1.0
        if inside >= 8 and 2 * inside >= end - start:
            _match(values[start:end], sampled[start:end], usable[start:end], end - start, inside, matched)
            quality[r] = matched[2]
        if covered[r] != 0:
            for i in range(start, end):
                usable[i] = np.float32(0.0)
        else:
            whole += inside
        start = end
    if whole < MINIMUM_POINTS:
        return -1.0
    _match(values, sampled, usable, count, whole, matched)
    return float(matched[2])


@compiled
def align(
    half: Bytes,
    quarter: Bytes,
    eighth: Bytes,
    templates: Templates,
    slot: int,
    regions_used: int,
    covered: Ints,
    nothing_covered: Ints,
    effort: int,
    slack: float,
    h: Floats,
    quality: Floats,
    sampled: Singles,
    residual: Singles,
    usable: Singles,
    m: Floats,
) -> float:
    """Align a template with a frame.

    Args:
        half: level 0 of the frame, uint8 (height, width).
        quarter: level 1.
        eighth: level 2.
        templates: all templates.
        slot: which one.
        regions_used: regions of the template.
        covered: per region, not 0 to leave it out; shape (regions,).
        nothing_covered: zeros, shape (regions,).
        effort: multiplies the iterations; 0 leaves out level 2, for a prediction within a pixel or two.
        slack: how many frames' worth of change the prediction may be off by.
        h: keyframe → frame, working pixels: the prediction, replaced by what was found.
        quality: receives the correlation of each region, -1 for those out of the frame; shape (regions,).
        sampled: scratch, likewise the rest.

    Returns:
        Correlation with the template on level 0; -1 when there is none, and `h` is then of no use.
    """
    for p in range(8):
        m[9, 0, p] = 0.0
    near = effort == 0
    effort = max(effort, 1)
    if not near and templates.points[slot, 2] >= MINIMUM_POINTS:
        match = _level(
            eighth, 4, templates, slot, 2, covered, effort * ITERATIONS[2], slack, h, sampled, residual, usable, m
        )
        if match < 0.0:
            return -1.0
    if templates.points[slot, 1] >= MINIMUM_POINTS:
        match = _level(
            quarter, 2, templates, slot, 1, covered, effort * ITERATIONS[1], slack, h, sampled, residual, usable, m
        )
        if match < 0.0:
            return -1.0
    match = _level(half, 1, templates, slot, 0, covered, effort * ITERATIONS[0], slack, h, sampled, residual, usable, m)
    if match < 0.0:
        return -1.0
    return _assess(half, templates, slot, regions_used, covered, h, sampled, usable, nothing_covered, quality, m)


@compiled
def assess(
    half: Bytes,
    templates: Templates,
    slot: int,
    regions_used: int,
    nothing_covered: Ints,
    h: Floats,
    quality: Floats,
    sampled: Singles,
    usable: Singles,
    m: Floats,
) -> float:
    """Compare a template with a frame where a homography puts it; arguments and result as those of `align`."""
    return _assess(
        half, templates, slot, regions_used, nothing_covered, h, sampled, usable, nothing_covered, quality, m
    )
