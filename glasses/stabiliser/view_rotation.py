"""How the head turned between two frames, seen in the reduced pictures and checked against the gyro.

Everything in view moves, to a first approximation, as if the camera had only turned; that is what predicts the planes.
Candidates (the gyro's rotation, the one before, none, and a shift of the picture's steepness by row and column) are
compared on steep points spread over the view; the best is refined by inverse-compositional alignment with three degrees
of freedom. So a gyro that is late, biased or dead costs accuracy of a prediction and nothing else.

The rotation of the camera about its axes by w maps a direction X to exp([w]x) X; derivatives as in Baker & Matthews
2004, section 3.2, for that warp.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from glasses.stabiliser.compiled import compiled, internal
from glasses.stabiliser.matrices import copy, multiply, rotation_homography, rotation_of, solve
from glasses.stabiliser.memory import Bytes, Floats, Singles

CELL: Final = 8
"""Pixels of level 2: one point is taken from each such square."""
LEFT_OUT: Final = 2
"""Of each cell only every so many rows and columns are looked at: a steep edge of a blurred picture is wider."""
VIEW_POINTS: Final = 1024
STEEP: Final = 1.5
"""Grey levels a pixel."""
ITERATIONS: Final = 6
CLIP: Final = 2.0
KNOWN: Final = 0.5
"""Correlation above which the rotation is taken for measured."""
FAVOUR: Final = 0.05
"""A candidate must be so much better than the gyro to be believed instead."""
WORSE: Final = 0.01
"""A refined rotation may agree so much less than the candidate it came from: it leaves out what moves by itself."""
SEARCH_SHARE: Final = (0.35, 0.3)
"""Largest shift looked for by rows and columns, as a share of the width and of the height."""


class ViewScratch:
    """Working memory: one per frame path."""

    def __init__(self) -> None:
        self.points: Singles = np.zeros((16, VIEW_POINTS), np.float32)
        self.profiles: Floats = np.zeros((4, 2048))
        self.matrices: Floats = np.zeros((12, 3, 3))


@internal
def _points(image: Bytes, focal: float, points: Singles) -> int:
    """Steepest point of each cell: rows of `points` are x, y (as directions), value and three derivatives."""
    height, width = image.shape
    cx, cy = (width - 1) / 2.0, (height - 1) / 2.0
    count = 0
    for top in range(1, height - CELL, CELL):
        for left in range(1, width - CELL, CELL):
            steepest, row, column = STEEP * STEEP * 4, -1, -1
            for y in range(top, top + CELL, LEFT_OUT):
                for x in range(left, left + CELL, LEFT_OUT):
                    gx = np.float64(image[y, x + 1]) - np.float64(image[y, x - 1])
                    gy = np.float64(image[y + 1, x]) - np.float64(image[y - 1, x])
                    if gx * gx + gy * gy > steepest:
                        steepest, row, column = gx * gx + gy * gy, y, x
            if row >= 0 and count < VIEW_POINTS:
                gx = (np.float64(image[row, column + 1]) - np.float64(image[row, column - 1])) * 0.5 * focal
                gy = (np.float64(image[row + 1, column]) - np.float64(image[row - 1, column])) * 0.5 * focal
                x, y = (column - cx) / focal, (row - cy) / focal
                points[0, count], points[1, count] = x, y
                points[2, count] = image[row, column]
                points[3, count] = -gx * x * y - gy * (1.0 + y * y)
                points[4, count] = gx * (1.0 + x * x) + gy * x * y
                points[5, count] = gy * x - gx * y
                count += 1
    return count


@internal
def _sample(image: Bytes, focal: float, points: Singles, count: int, r: Floats) -> float:
    """Sample where a rotation puts the points (row 6, usable in row 7); the correlation, or -1 if too few are inside.

    Leaves gain and bias in points[8, 0..1] and the number of usable points in points[8, 2].
    """
    height, width = image.shape
    cx, cy = np.float32((width - 1) / 2.0), np.float32((height - 1) / 2.0)
    f = np.float32(focal)
    right, bottom = np.float32(width - 1.01), np.float32(height - 1.01)
    n, si, sii, st, stt, sit = 0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(count):
        x, y = points[0, i], points[1, i]
        points[7, i] = np.float32(0.0)
        points[6, i] = np.float32(0.0)
        z = np.float32(r[2, 0]) * x + np.float32(r[2, 1]) * y + np.float32(r[2, 2])
        if not (z > np.float32(0.1)):
            continue
        u = f * (np.float32(r[0, 0]) * x + np.float32(r[0, 1]) * y + np.float32(r[0, 2])) / z + cx
        v = f * (np.float32(r[1, 0]) * x + np.float32(r[1, 1]) * y + np.float32(r[1, 2])) / z + cy
        if u >= 0 and v >= 0 and u < right and v < bottom:
            column, row = int(u), int(v)
            fu, fv = u - np.float32(column), v - np.float32(row)
            a, b = np.float32(image[row, column]), np.float32(image[row, column + 1])
            c, d = np.float32(image[row + 1, column]), np.float32(image[row + 1, column + 1])
            top = a + (b - a) * fu
            s = top + (c + (d - c) * fu - top) * fv
            t = points[2, i]
            points[6, i], points[7, i] = s, np.float32(1.0)
            n += 1
            si += s
            sii += s * s
            st += t
            stt += t * t
            sit += s * t
    if n < 16 or n < 0.25 * count:
        return -1.0
    spread_i = max(sii / n - (si / n) ** 2, 1e-3)
    spread_t = max(stt / n - (st / n) ** 2, 1e-3)
    gain = np.sqrt(spread_t / spread_i)
    points[8, 0], points[8, 1], points[8, 2] = gain, st / n - gain * si / n, n
    return float((sit / n - si / n * st / n) / np.sqrt(spread_i * spread_t))


@internal
def _profile(image: Bytes, columns: Floats, rows: Floats) -> None:
    """Mean steepness of each column and row: survives changes of exposure once its mean is taken off."""
    height, width = image.shape
    columns[:width] = 0.0
    rows[:height] = 0.0
    for y in range(1, height):
        for x in range(1, width):
            value = np.float64(image[y, x])
            across, down = abs(value - image[y, x - 1]), abs(value - image[y - 1, x])
            columns[x] += across + down
            rows[y] += across + down
    mean = 0.0
    for x in range(1, width):
        mean += columns[x]
    mean /= width - 1
    if mean > 0.0:
        for x in range(1, width):
            columns[x] /= mean
        mean *= (width - 1) / (height - 1)
        for y in range(1, height):
            rows[y] /= mean


@internal
def _shift(before: Floats, now: Floats, length: int, most: int) -> int:
    """The shift that makes two profiles most alike."""
    best, found = 1e18, 0
    for shift in range(-most, most + 1):
        start, end = max(1, 1 - shift), min(length, length - shift)
        total = 0.0
        for i in range(start, end):
            total += abs(before[i] - now[i + shift])
        total /= end - start
        if total < best:
            best, found = total, shift
    return found


@internal
def _refine(image: Bytes, focal: float, points: Singles, count: int, r: Floats, m: Floats) -> float:
    """Refine a rotation in place; returns the correlation."""
    normal, factor, step, result = m[0], m[1], m[2], m[3]
    right, d = m[4, 0], m[4, 1]
    correlation = -1.0
    for _ in range(ITERATIONS):
        correlation = _sample(image, focal, points, count, r)
        if correlation < 0.0:
            return correlation
        gain, bias, inside = points[8, 0], points[8, 1], points[8, 2]
        size = np.float32(0.0)
        for i in range(count):
            rest = (gain * points[6, i] + bias - points[2, i]) * points[7, i]
            points[6, i] = rest
            size += abs(rest)
        limit = np.float32(CLIP) * size / inside + np.float32(1.0)
        # What does not fit at all is left out: people and cars have motions of their own.
        for i in range(count):
            if abs(points[6, i]) > limit:
                points[6, i], points[7, i] = np.float32(0.0), np.float32(0.0)
        for p in range(3):
            total = np.float32(0.0)
            for i in range(count):
                total += points[3 + p, i] * points[6, i]
            right[p] = total
            for q in range(p + 1):
                total = np.float32(0.0)
                for i in range(count):
                    total += points[3 + p, i] * points[3 + q, i] * points[7, i]
                normal[p, q] = total
                normal[q, p] = total
            normal[p, p] = normal[p, p] * 1.001 + 1e-3
        solve(normal, right, 3, factor, d)
        rotation_of(-d[0], -d[1], -d[2], step)
        multiply(r, step, result)
        copy(result, r)
        if (abs(d[0]) + abs(d[1]) + abs(d[2])) * focal < 0.02:
            break
    return _sample(image, focal, points, count, r)


@compiled
def view_rotation(
    before: Bytes,
    now: Bytes,
    focal: float,
    gyro_known: bool,
    gyro: Floats,
    last: Floats,
    rotation: Floats,
    points: Singles,
    profiles: Floats,
    m: Floats,
) -> float:
    """Rotation of the view from one frame to the next.

    Args:
        before: level 2 of the frame before, blurred a little, uint8 (height, width).
        now: level 2 of this one.
        focal: focal length in pixels of level 2.
        gyro_known: whether there is a gyro's rotation.
        gyro: directions of the frame before → this one, shape (3, 3).
        last: the rotation one frame earlier.
        rotation: receives the result, likewise.
        points: scratch, likewise the rest.

    Returns:
        Correlation of the two frames under the rotation; at most `KNOWN` when it was not measured, and `rotation` is
        then the gyro's, or none.
    """
    height, width = now.shape
    count = _points(before, focal, points)
    best = -1.0
    candidate, tried = m[5], m[6]
    for i in range(3):
        for j in range(3):
            rotation[i, j] = 1.0 if i == j else 0.0
    if gyro_known:
        copy(gyro, rotation)
    if count < 16:
        return -1.0
    if gyro_known:
        best = _sample(now, focal, points, count, gyro) + FAVOUR
    if best < 0.9:
        # The head goes on as it went; or it has stopped.
        correlation = _sample(now, focal, points, count, last)
        if correlation > best:
            best = correlation
            copy(last, rotation)
        for i in range(3):
            for j in range(3):
                candidate[i, j] = 1.0 if i == j else 0.0
        correlation = _sample(now, focal, points, count, candidate)
        if correlation > best:
            best = correlation
            copy(candidate, rotation)
    if best < 0.8:
        _profile(before, profiles[0], profiles[1])
        _profile(now, profiles[2], profiles[3])
        dx = _shift(profiles[0], profiles[2], width, int(SEARCH_SHARE[0] * width))
        dy = _shift(profiles[1], profiles[3], height, int(SEARCH_SHARE[1] * height))
        rotation_of(-dy / focal, dx / focal, 0.0, tried)
        correlation = _sample(now, focal, points, count, tried)
        if correlation > best:
            best = correlation
            copy(tried, rotation)
    copy(rotation, candidate)
    best = _sample(now, focal, points, count, candidate)
    refined = _refine(now, focal, points, count, rotation, m)
    if refined < best - WORSE:
        copy(candidate, rotation)
        refined = best
    if refined < KNOWN:
        for i in range(3):
            for j in range(3):
                rotation[i, j] = 1.0 if i == j else 0.0
        if gyro_known:
            copy(gyro, rotation)
    return refined


@compiled
def gyro_rotation(
    times: Floats, rates: Floats, count: int, start: float, end: float, gap: float, r: Floats, m: Floats
) -> bool:
    """Integrate the gyro from one time to another.

    Args:
        times: of the readings, rising, seconds, shape (n,).
        rates: angular velocity of the camera in its own axes, rad/s, shape (n, 3).
        count: readings in use.
        start: seconds.
        end: seconds, later.
        gap: readings further apart than this do not cover the time between them.
        r: receives directions at `start` → directions at `end`, shape (3, 3).
        m: scratch, shape (n, 3, 3).

    Returns:
        Whether the readings cover the time.
    """
    step, result = m[0], m[1]
    for i in range(3):
        for j in range(3):
            r[i, j] = 1.0 if i == j else 0.0
    covered = 0.0
    for k in range(count):
        until = times[k + 1] if k + 1 < count else times[k] + gap
        if until - times[k] > gap:
            until = times[k] + gap
        a, b = max(start, times[k]), min(end, until)
        if b <= a:
            continue
        covered += b - a
        # Directions turn against the camera.
        rotation_of(-rates[k, 0] * (b - a), -rates[k, 1] * (b - a), -rates[k, 2] * (b - a), step)
        multiply(step, r, result)
        copy(result, r)
    return bool(covered > 0.8 * (end - start))


@compiled
def view_homography(rotation: Floats, focal: float, width: int, height: int, result: Floats) -> None:
    """The homography of a rotation in working pixels; `focal` in those."""
    rotation_homography(rotation, focal, (width - 1) / 2.0, (height - 1) / 2.0, result)
