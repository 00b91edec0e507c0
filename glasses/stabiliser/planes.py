"""One frame for all planes: predict, align, judge. A kernel; it allocates nothing and its work is bounded."""

from __future__ import annotations

from typing import Final

import numpy as np

from glasses.stabiliser.alignment import MATCH, align
from glasses.stabiliser.compiled import compiled, internal
from glasses.stabiliser.limits import PLANES
from glasses.stabiliser.matrices import copy, invert, multiply, normalise
from glasses.stabiliser.memory import Bytes, Floats, Ints, Planes, Shapes, Singles, Templates

TRACKED: Final = 0
PREDICTED: Final = 1
LOST: Final = 2

LOST_AFTER: Final = 24
"""Frames a plane may go unmeasured before it is lost."""
REFOUND_MATCH: Final = 0.7
"""Correlation at which a plane that was lost is taken for found: there are many places to be wrong at."""
SURE_FRAMES: Final = 3
"""After so many frames without a measurement a plane must be refound."""
RELATIVE_MATCH: Final = 0.7
"""A plane that agreed with its keyframe must go on agreeing by this share of its best: a sharp picture that fits half
is a wrong fit, and the prediction is better than that."""
BEST_KEPT: Final = 0.998
"""Share of the best that is left after a frame: light changes over seconds."""
JUMP_PX: Final = 14.0
"""Working pixels the alignment may move a corner away from its prediction …"""
JUMP_MORE_PX: Final = 3.0
"""… and so much more for each frame the plane was not measured, …"""
JUMP_FRAMES: Final = 8
"""… for so many frames."""
OUTSIDE_PX: Final = 20.0
"""A plane whose middle is further out of the frame than this is not looked for."""
OUTSIDE_SLOWER: Final = 4
"""Frames out of view that count as one without a measurement."""
RETRIES: Final = 4
"""Second attempts in one frame, for all planes together."""
LOST_TRIES: Final = 4
"""Lost planes tried in one frame."""
COVERED_BELOW: Final = 0.35
UNCOVERED_ABOVE: Final = 0.5
"""Correlation at which a region of a plane that is otherwise seen well is left out, and taken in again."""
FADE: Final = 0.25
"""Weight of the newest frame in the fading means of the regions."""
DRIFT_FADE: Final = 0.5
"""Weight of the newest frame in a plane's drift against the view: walking past, it changes little in a tenth of a
second."""
DRIFT_SEEN: Final = 0.9
"""Share of the drift that is left with each frame the plane was measured, before the measurement."""
SURE_DRIFT: Final = 0.85
"""A plane's drift is learnt only from frames that agree by this share of its best: motion blur makes up motions."""
DRIFT_KEPT: Final = 0.75
"""Share of the drift that is left with each frame the plane was not measured."""
NEAR_SLACK: Final = 1.5
"""With less slack than this a prediction is within a pixel or two."""
NEW_SLACK: Final = 10.0
"""Frames' worth of change to expect of a plane whose drift is not known yet, or when the view's motion is not."""
MOST_SLACK: Final = 30.0
AREA_RATIO: Final = 40.0
"""A plane's area may change by this factor since its keyframe: it is keyed anew long before."""


@internal
def _corner(h: Floats, x: float, y: float) -> tuple[float, float]:
    w = h[2, 0] * x + h[2, 1] * y + h[2, 2]
    if not (w > 1e-6):
        return 1e9, 1e9
    return (h[0, 0] * x + h[0, 1] * y + h[0, 2]) / w, (h[1, 0] * x + h[1, 1] * y + h[1, 2]) / w


@internal
def _middle(h: Floats, box: Floats) -> tuple[float, float]:
    x = (box[0, 0] + box[1, 0] + box[2, 0] + box[3, 0]) / 4
    y = (box[0, 1] + box[1, 1] + box[2, 1] + box[3, 1]) / 4
    return _corner(h, x, y)


@internal
def plausible(h: Floats, box: Floats) -> bool:
    """Whether a box stays a box: convex, not mirrored, neither a speck nor huge."""
    twice, before = 0.0, 0.0
    for i in range(4):
        j, k = (i + 1) % 4, (i + 2) % 4
        ax, ay = _corner(h, box[i, 0], box[i, 1])
        bx, by = _corner(h, box[j, 0], box[j, 1])
        cx, cy = _corner(h, box[k, 0], box[k, 1])
        if abs(ax) > 1e5 or abs(ay) > 1e5:
            return False
        if (bx - ax) * (cy - by) - (by - ay) * (cx - bx) <= 0.0:
            return False
        twice += ax * by - bx * ay
        before += box[i, 0] * box[j, 1] - box[j, 0] * box[i, 1]
    ratio = twice / max(before, 1e-6)
    return bool(1.0 / AREA_RATIO < ratio < AREA_RATIO)


@internal
def _moved(a: Floats, b: Floats, box: Floats) -> float:
    """Largest distance between where two homographies put the corners of a box."""
    most = 0.0
    for i in range(4):
        ax, ay = _corner(a, box[i, 0], box[i, 1])
        bx, by = _corner(b, box[i, 0], box[i, 1])
        most = max(most, abs(ax - bx), abs(ay - by))
    return most


@internal
def _drifted(h: Floats, box: Floats, drift: Floats, move: Floats, result: Floats) -> bool:
    """Move a homography's picture of a box by its drift."""
    x, y = _middle(h, box)
    grow = 1.0 + drift[2]
    for i in range(3):
        for j in range(3):
            move[i, j] = 0.0
    move[0, 0], move[1, 1], move[2, 2] = grow, grow, 1.0
    move[0, 2] = x * (1.0 - grow) + drift[0]
    move[1, 2] = y * (1.0 - grow) + drift[1]
    multiply(move, h, result)
    return bool(normalise(result))


@compiled
def carry(h: Floats, motion: Floats, box: Floats, drift: Floats, m: Floats) -> bool:
    """Carry a homography to the next frame, in place, by the motion of the view and the plane's own drift.

    Args:
        h: keyframe → a frame, working pixels, (3, 3).
        motion: that frame → the next, working pixels.
        box: corners of the plane in its keyframe, (4, 2).
        drift: see `memory.Planes`, (3,).
        m: scratch, at least (2, 3, 3).

    Returns:
        Whether the result makes sense.
    """
    multiply(motion, h, m[0])
    return normalise(m[0]) and _drifted(m[0], box, drift, m[1], h)


@compiled
def drift_between(found: Floats, carried: Floats, box: Floats, drift: Floats) -> None:
    """Write the drift of a plane that the view's motion puts at `carried` and that was found at `found`."""
    drift[0], drift[1], drift[2] = 0.0, 0.0, 0.0
    _note_drift(found, carried, box, drift)
    for i in range(3):
        drift[i] /= DRIFT_FADE * DRIFT_SEEN


@internal
def _note_drift(found: Floats, carried: Floats, box: Floats, drift: Floats) -> None:
    """Take in how a plane moved against the view: from where the view's motion alone puts it to where it was found."""
    x0, y0 = _middle(carried, box)
    x1, y1 = _middle(found, box)
    before, now = 0.0, 0.0
    for i in range(4):
        ax, ay = _corner(carried, box[i, 0], box[i, 1])
        bx, by = _corner(found, box[i, 0], box[i, 1])
        before += np.hypot(ax - x0, ay - y0)
        now += np.hypot(bx - x1, by - y1)
    drift[0] += DRIFT_FADE * (x1 - x0 - drift[0])
    drift[1] += DRIFT_FADE * (y1 - y0 - drift[1])
    drift[2] += DRIFT_FADE * (now / max(before, 1e-6) - 1.0 - drift[2])
    # A plane found where it was expected because it was expected there must not go on for ever.
    for i in range(3):
        drift[i] *= DRIFT_SEEN


@internal
def _attempt(
    half: Bytes,
    quarter: Bytes,
    eighth: Bytes,
    k: int,
    planes: Planes,
    shapes: Shapes,
    templates: Templates,
    prediction: Floats,
    found: Floats,
    quality: Floats,
    nothing: Ints,
    sampled: Singles,
    residual: Singles,
    usable: Singles,
    effort: int,
    m8: Floats,
) -> float:
    """Align a plane from a prediction; the correlation, or -1 when the result cannot be believed."""
    copy(prediction, found)
    regions = planes.regions[k]
    match = align(
        half, quarter, eighth, templates, planes.template[k], regions, planes.covered[k], nothing, effort,
        planes.slack[k], found,
        quality, sampled, residual, usable, m8,
    )  # fmt: skip
    fails = planes.fails[k]
    needed = max(MATCH if fails < SURE_FRAMES else REFOUND_MATCH, RELATIVE_MATCH * planes.best[k])
    if not (match > needed):
        return -1.0
    limit = JUMP_PX + JUMP_MORE_PX * min(fails, JUMP_FRAMES)
    if not (_moved(found, prediction, shapes.hull[k]) < limit) or not plausible(found, shapes.hull[k]):
        return -1.0
    return match


@internal
def _note_regions(k: int, planes: Planes, quality: Floats) -> None:
    """Take the regions' own measurements into their fading means; leave out what is covered."""
    for r in range(planes.regions[k]):
        if quality[r] < -0.5:
            continue  # out of the frame: nothing was measured
        known = planes.region_quality[k, r]
        planes.region_quality[k, r] = known + FADE * (max(quality[r], 0.0) - known)
    if planes.regions[k] < 2:
        planes.covered[k, 0] = 0
        return
    seen = 0
    for r in range(planes.regions[k]):
        good = planes.region_quality[k, r] > (UNCOVERED_ABOVE if planes.covered[k, r] != 0 else COVERED_BELOW)
        planes.covered[k, r] = 0 if good else 1
        seen += int(good)
    if seen == 0:
        for r in range(planes.regions[k]):
            planes.covered[k, r] = 0


@compiled
def step(
    half: Bytes,
    quarter: Bytes,
    eighth: Bytes,
    planes: Planes,
    shapes: Shapes,
    templates: Templates,
    motion: Floats,
    motion_known: bool,
    turn: int,
    quality: Floats,
    nothing: Ints,
    order: Ints,
    sampled: Singles,
    residual: Singles,
    usable: Singles,
    m: Floats,
    m8: Floats,
) -> int:
    """Carry all planes to a new frame.

    Args:
        half: level 0 of the new frame, uint8 (height, width).
        quarter: level 1.
        eighth: level 2.
        planes: how they were in the frame before; updated in place.
        shapes: of the planes.
        templates: all templates.
        motion: the frame before → this one, working pixels.
        motion_known: whether it was measured.
        turn: a number that rises from frame to frame: which lost planes have their turn.
        quality: scratch, likewise the rest.

    Returns:
        How many alignments were made.
    """
    height, width = half.shape
    prediction, found, other, inverse = m[0], m[1], m[2], m[3]
    correction, result, carried, move = m[4], m[5], m[6], m[7]
    count = 0
    # The well-known first: they tell the others where to look.
    for wanted in range(3):
        for k in range(PLANES):
            if planes.active[k] != 0 and planes.state[k] == wanted:
                order[count] = k
                count += 1
    have_correction = False
    attempts, retries, lost_tries, lost_seen = 0, RETRIES, LOST_TRIES, 0
    for at in range(count):
        k = order[at]
        multiply(motion, planes.homography[k], carried)
        if not normalise(carried):
            planes.active[k] = 0
            continue
        x, y = _middle(carried, shapes.hull[k])
        within = -OUTSIDE_PX < x < width + OUTSIDE_PX and -OUTSIDE_PX < y < height + OUTSIDE_PX
        in_view = within
        if not within or not _drifted(carried, shapes.hull[k], planes.drift[k], move, prediction):
            copy(carried, prediction)
        match = -1.0
        if not motion_known:
            planes.slack[k] = max(planes.slack[k], NEW_SLACK)
        if within and planes.state[k] == LOST:
            # Each frame a few, in turns.
            lost_seen += 1
            within = lost_tries > 0 and (count < 2 * LOST_TRIES or (lost_seen + turn) % 3 == 0)
            lost_tries -= int(within)
        if within:
            if planes.fails[k] > 0 and have_correction and not motion_known:
                # What the view's motion got wrong for a plane nearby, it gets wrong for this one.
                multiply(correction, prediction, other)
                if normalise(other) and _moved(other, prediction, shapes.hull[k]) < 4 * JUMP_PX:
                    copy(other, prediction)
            near = planes.slack[k] < NEAR_SLACK
            match = _attempt(
                half, quarter, eighth, k, planes, shapes, templates, prediction, found, quality, nothing,
                sampled, residual, usable, 0 if near else 1, m8,
            )  # fmt: skip
            attempts += 1
            if match < 0.0 and near and retries > 0:
                retries -= 1
                match = _attempt(
                    half, quarter, eighth, k, planes, shapes, templates, prediction, found, quality, nothing,
                    sampled, residual, usable, 1, m8,
                )  # fmt: skip
                attempts += 1
            if match < 0.0 and planes.fails[k] == 0 and retries > 0:
                retries -= 1
                good = False
                if have_correction:
                    multiply(correction, prediction, other)
                    good = normalise(other)
                elif not motion_known and invert(planes.before[k], inverse):
                    # It goes on as it went.
                    multiply(planes.homography[k], inverse, result)
                    multiply(result, planes.homography[k], other)
                    good = normalise(other)
                if good:
                    match = _attempt(
                        half, quarter, eighth, k, planes, shapes, templates, other, found, quality, nothing,
                        sampled, residual, usable, 1, m8,
                    )  # fmt: skip
                    attempts += 1
                    if match < 0.0 and not motion_known:
                        copy(other, prediction)
        copy(planes.homography[k], planes.before[k])
        if match > 0.0:
            if planes.state[k] == TRACKED and match > 0.7 and not have_correction and invert(prediction, inverse):
                multiply(found, inverse, correction)
                have_correction = normalise(correction)
            if match > SURE_DRIFT * planes.best[k]:
                _note_drift(found, carried, shapes.hull[k], planes.drift[k])
            copy(found, planes.homography[k])
            planes.quality[k] = match
            planes.best[k] = max(match, BEST_KEPT * planes.best[k])
            planes.slack[k] = max(1.0, 0.5 * planes.slack[k])
            planes.fails[k] = 0
            planes.state[k] = TRACKED
            _note_regions(k, planes, quality)
        else:
            copy(prediction, planes.homography[k])
            # Out of view nothing could be measured, and a known motion of the view carries a plane on for seconds.
            if in_view or not motion_known or turn % OUTSIDE_SLOWER == 0:
                planes.fails[k] += 1
            planes.drift[k, 0] *= DRIFT_KEPT
            planes.drift[k, 1] *= DRIFT_KEPT
            planes.drift[k, 2] = 0.0
            planes.quality[k] *= 0.9
            planes.slack[k] = min(planes.slack[k] + 1.0, MOST_SLACK)
            if planes.fails[k] >= LOST_AFTER:
                planes.state[k] = LOST
            elif planes.state[k] == TRACKED:
                planes.state[k] = PREDICTED
    return attempts


@compiled
def collect(
    planes: Planes,
    shapes: Shapes,
    width: int,
    height: int,
    to_working: Floats,
    to_frame: Floats,
    ids: Ints,
    states: Ints,
    keyframes: Ints,
    qualities: Floats,
    homographies: Floats,
    m: Floats,
) -> int:
    """Where every region is, in frame pixels.

    Args:
        planes: as they are in the newest frame.
        shapes: of the planes.
        width: of level 0.
        height: likewise.
        to_working: homography from frame pixels to working pixels.
        to_frame: its inverse.
        ids: receives the regions' names; shape (planes * regions,), likewise the rest.
        states: receives `TRACKED`, `PREDICTED` or `LOST`.
        keyframes: receives the frame ids of the regions' keyframes.
        qualities: receives 0..1.
        homographies: receives region's keyframe → newest frame, frame pixels, shape (..., 3, 3).
        m: scratch.

    Returns:
        How many regions there are.
    """
    first, second = m[6], m[7]
    count = 0
    for k in range(PLANES):
        if planes.active[k] == 0:
            continue
        for r in range(planes.regions[k]):
            if planes.region_id[k, r] < 0:
                continue
            multiply(shapes.base[k, r], to_working, first)
            multiply(planes.homography[k], first, second)
            multiply(to_frame, second, first)
            if not normalise(first):
                continue
            x, y = _middle(planes.homography[k], shapes.box[k, r])
            state = planes.state[k]
            if not (0 <= x < width and 0 <= y < height):
                state = LOST
            elif state == TRACKED and planes.covered[k, r] != 0:
                state = PREDICTED
            copy(first, homographies[count])
            ids[count] = planes.region_id[k, r]
            states[count] = state
            keyframes[count] = shapes.region_keyframe[k, r]
            quality = planes.quality[k]
            if state == PREDICTED and planes.covered[k, r] != 0:
                quality = planes.region_quality[k, r]
            qualities[count] = min(max(quality, 0.0), 1.0)
            count += 1
    return count


@compiled
def judge(h: Floats, prediction: Floats, box: Floats, limit: float) -> bool:
    """Whether a found homography is believable: a box stays a box, and near where it was expected."""
    return plausible(h, box) and _moved(h, prediction, box) < limit
