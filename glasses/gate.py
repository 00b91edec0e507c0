"""When to look for text: on a new, sharp, resting view, not on every frame. A pure function.

Rules, in order:

1. The first view is looked at.
2. At most one look per `minimum_interval_s`, and at most `looks_per_window` in `window_s`: detection is the dearest
   thing the glasses do.
3. A look needs a reason: enough of the view is uncovered since the last look, its scale changed, a sign was lost,
   or `maximum_interval_s` have passed.
4. A look waits for the one under way; what moves meanwhile counts.
5. A look waits for rest and sharpness; after `patience_s` with a reason it takes what there is.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np

from glasses.regions import overlap
from shared.geometry import Homography, Quad, area, transform


class GateReason(Enum):
    """Why the gate is open, or shut."""

    FIRST = "first"
    UNCOVERED = "uncovered"
    SCALE = "scale"
    LOST = "lost"
    PERIODIC = "periodic"
    NOTHING_NEW = "nothing_new"
    TOO_SOON = "too_soon"
    BUDGET = "budget"
    BUSY = "busy"
    UNREST = "unrest"


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """Numbers of the gate.

    Attributes:
        minimum_interval_s: shortest time between two looks.
        maximum_interval_s: a view is looked at again after this, signs may have changed.
        window_s: length of the budget's window.
        looks_per_window: budget.
        uncovered_share: a view is new when this share of it was not in the last look.
        scale_ratio: or when it came so much closer (or went away).
        rest_widths_per_s: the view rests when it moves less, in frame widths a second.
        sharpness_ratio: it is sharp when its sharpness is this share of the best of late.
        sharpness_decay: the best of late fades by this factor a second.
        patience_s: a reason waits at most so long for rest and sharpness.
    """

    minimum_interval_s: float = 0.7
    maximum_interval_s: float = 3.0
    window_s: float = 10.0
    looks_per_window: int = 6
    uncovered_share: float = 0.2
    scale_ratio: float = 1.35
    rest_widths_per_s: float = 0.25
    sharpness_ratio: float = 0.6
    sharpness_decay: float = 0.8
    patience_s: float = 1.5


@dataclass(frozen=True, slots=True)
class GateInput:
    """One frame, as the gate sees it.

    Attributes:
        now: capture time, monotonic seconds.
        size: width and height of the frame, in pixels.
        motion: previous frame → this one; None when it could not be measured.
        sharpness: variance of the Laplacian of the luma.
        lost_signs: signs lost since the last look.
        busy: whether a look is under way.
    """

    now: float
    size: tuple[int, int]
    motion: Homography | None
    sharpness: float
    lost_signs: int
    busy: bool = False


@dataclass(frozen=True, slots=True)
class GateState:
    """What the gate remembers.

    Attributes:
        looks: times of the looks within the window.
        since_look: last look → newest frame; None when the view was cut since.
        best_sharpness: of late, fading.
        last_seen: time of the previous frame.
        reason_since: since when there has been a reason to look; None when there is none.
    """

    looks: tuple[float, ...] = ()
    since_look: Homography | None = field(default=None)
    best_sharpness: float = 0.0
    last_seen: float | None = None
    reason_since: float | None = None


def uncovered_share(since_look: Homography | None, size: tuple[int, int]) -> float:
    """Share of the frame that the last look did not see, 0..1; 1 when the motion is unknown."""
    if since_look is None:
        return 1.0
    width, height = size
    frame: Quad = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    seen = transform(since_look, frame)
    return float(np.clip(1 - overlap(seen, frame) / (width * height), 0.0, 1.0))


def _scale(since_look: Homography | None, size: tuple[int, int]) -> float:
    if since_look is None:
        return 1.0
    width, height = size
    middle: Quad = np.array([[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]], np.float32)
    middle = middle * np.array([width, height], np.float32)
    ratio = float(np.sqrt(area(transform(since_look, middle)) / area(middle)))
    return max(ratio, 1 / max(ratio, 1e-6))


def _speed(motion: Homography | None, size: tuple[int, int], seconds: float) -> float:
    """Frame widths a second at the middle of the view; infinite when unknown."""
    if motion is None or seconds <= 0:
        return float("inf")
    centre = np.array([[size[0] / 2, size[1] / 2]])
    return float(np.linalg.norm(transform(motion, centre) - centre)) / size[0] / seconds


def decide(policy: GatePolicy, state: GateState, seen: GateInput) -> tuple[bool, GateReason, GateState]:
    """Whether to look for text in this frame, why, and what to remember."""
    seconds = 0.0 if state.last_seen is None else seen.now - state.last_seen
    since = None if state.since_look is None or seen.motion is None else seen.motion @ state.since_look
    best = max(seen.sharpness, state.best_sharpness * policy.sharpness_decay**seconds)
    looks = tuple(look for look in state.looks if seen.now - look < policy.window_s)
    after = replace(state, looks=looks, since_look=since, best_sharpness=best, last_seen=seen.now)

    reason = _reason(policy, state, seen, since)
    if reason is GateReason.NOTHING_NEW:
        return False, reason, replace(after, reason_since=None)
    reason_since = seen.now if state.reason_since is None else state.reason_since
    after = replace(after, reason_since=reason_since)
    if seen.busy:
        return False, GateReason.BUSY, after
    if reason is not GateReason.FIRST:
        if looks and seen.now - looks[-1] < policy.minimum_interval_s:
            return False, GateReason.TOO_SOON, after
        if len(looks) >= policy.looks_per_window:
            return False, GateReason.BUDGET, after
        resting = _speed(seen.motion, seen.size, seconds) < policy.rest_widths_per_s
        sharp = seen.sharpness >= policy.sharpness_ratio * best
        if not (resting and sharp) and seen.now - reason_since < policy.patience_s:
            return False, GateReason.UNREST, after
    return True, reason, replace(after, looks=(*looks, seen.now), since_look=np.eye(3), reason_since=None)


def _reason(policy: GatePolicy, state: GateState, seen: GateInput, since: Homography | None) -> GateReason:
    """Why a look would be worth while, whatever it costs."""
    if state.last_seen is None:
        return GateReason.FIRST
    if uncovered_share(since, seen.size) > policy.uncovered_share:
        return GateReason.UNCOVERED
    if _scale(since, seen.size) > policy.scale_ratio:
        return GateReason.SCALE
    if seen.lost_signs:
        return GateReason.LOST
    if not state.looks or seen.now - state.looks[-1] > policy.maximum_interval_s:
        return GateReason.PERIODIC
    return GateReason.NOTHING_NEW
