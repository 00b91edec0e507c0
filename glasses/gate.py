"""When to look for text, and in which frame: a pure function of what is known about each frame.

Detection is the dearest thing the glasses do, and a sign that can be read should not wait for it. Rules, in order:

1. The first view is looked at.
2. A look needs a reason. Strong ones: something that looks like text, is in the view completely, and was in no look
   (`coverage.news`); a line that a look found cut off at the edge of the view, or too small, and that has come in
   or grown; a sign that was lost although it should be in view. Weak ones: a speck that may be text; a view that is
   new, closer or cut, though nothing in it looks like text; and the time, for signs may change.
3. Text that runs over the edge of the view is waited for until it is in, or the view has stopped.
4. A look waits for the one under way; what moves meanwhile counts.
5. Looks keep a distance, and a budget that allows short bursts (a leaky bucket). Weak reasons leave the last look of
   the budget to strong ones, and weak looks in a row come less and less often.
6. A look waits for a frame that is sharp compared with the best of late, and at rest. The longer frames that might do
   are passed over, the less is asked for; after `patience_s` of them the next is taken, after `despair_s` any frame.

A view whose motion is unknown and whose texture changed was cut: nothing is known of it.
All times are summed up from frame to frame, so a clock that jumps back delays nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from glasses.coverage import PastLook, inside, news, scale_of, unchanged, usable, visible
from glasses.view_stats import Texture, ViewStats
from shared.geometry import Homography, Quad, side_lengths, transform


class GateReason(Enum):
    """Why the gate is open, or shut."""

    FIRST = "first"
    UNCOVERED = "uncovered"
    CUT_OFF = "cut_off"
    GROWN = "grown"
    LOST = "lost"
    NEW_VIEW = "new_view"
    SPECK = "speck"
    SCALE = "scale"
    PERIODIC = "periodic"
    NOTHING_NEW = "nothing_new"
    TOO_SOON = "too_soon"
    BUDGET = "budget"
    BUSY = "busy"
    UNREST = "unrest"


STRONG = (GateReason.FIRST, GateReason.UNCOVERED, GateReason.CUT_OFF, GateReason.GROWN, GateReason.LOST)


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """Numbers of the gate; `wayword-sim bench gate` measures what they lead to.

    Attributes:
        minimum_interval_s: shortest time between two looks.
        burst: so many looks may follow each other before the budget counts.
        looks_per_s: budget in the long run; in any time t there are at most `burst + looks_per_s * t` looks.
        idle_interval_s: earliest time after a look for one at a new view without text.
        periodic_interval_s: a view is looked at again after this.
        idle_growth: both grow by this factor with every weak look in a row …
        idle_limit_s: … up to this.
        text_floor: texture that looks like text (`ViewStats.texture`).
        text_growth: and it is news when it is so many times what the looks saw in that place.
        text_mass: a piece of news is text when it weighs so much (`coverage.News`) …
        speck_mass: … and from here on it may be a little text.
        uncovered_share: a view is new when this share of it was in no look.
        scale_ratio: a look's word no longer counts when the view came so much closer.
        edge_margin: a line that was cut off is in, and a lost sign should be seen, this share of the view's width
            away from the edge …
        stopped_margin: … or, once the view has stopped, this share.
        readable_px: a line that was too small is looked at again when it is so high.
        stopped_widths_per_s: below this speed nothing more comes in by itself …
        stopped_s: … and after so long at it, text at the edge is taken as it is.
        still_widths_per_s: how slow the view has to be at first, in frame widths a second …
        slow_widths_per_s: … and how slow in a frame that might do.
        sharpness_asked: share of the best sharpness of late that is asked for at first …
        sharpness_enough: … and in a frame that might do.
        sharpness_decay: the best of late fades by this factor a second.
        sharper_ratio: a look's word does not count for a frame that is so many times as sharp.
        patience_s: for so long frames that might do are passed over for better ones.
        despair_s: after so long without a frame that might do, any will.
        looks_kept: so many looks are remembered.
    """

    minimum_interval_s: float = 0.5
    burst: int = 3
    looks_per_s: float = 0.25
    idle_interval_s: float = 2.0
    periodic_interval_s: float = 5.0
    idle_growth: float = 2.0
    idle_limit_s: float = 20.0
    text_floor: float = 0.04
    text_growth: float = 2.0
    text_mass: float = 1.2
    speck_mass: float = 0.3
    uncovered_share: float = 0.5
    scale_ratio: float = 1.5
    edge_margin: float = 0.06
    stopped_margin: float = 0.012
    readable_px: float = 12.0
    stopped_widths_per_s: float = 0.04
    stopped_s: float = 0.3
    still_widths_per_s: float = 0.05
    slow_widths_per_s: float = 0.3
    sharpness_asked: float = 0.97
    sharpness_enough: float = 0.9
    sharpness_decay: float = 0.9
    sharper_ratio: float = 1.1
    patience_s: float = 0.4
    despair_s: float = 2.0
    looks_kept: int = 5


@dataclass(frozen=True, slots=True, eq=False)
class LookReport:
    """What the gate is told when the last look it allowed is done.

    Attributes:
        cut_off: lines that run over the edge of the view, each float32 of shape (4, 2), pixels of the frame looked at.
        too_small: lines not high enough to be read, likewise.
    """

    cut_off: tuple[Quad, ...] = ()
    too_small: tuple[Quad, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class GateInput:
    """One frame, as the gate sees it.

    Attributes:
        now: capture time, monotonic seconds.
        size: width and height of the frame, in pixels.
        motion: previous frame → this one; None when it could not be measured.
        stats: measured in this frame.
        known: quads of the signs in view that are followed, in this frame.
        lost: quads of the signs lost with this frame, where they were last seen.
        looked: what the last look found, once, when it is done.
        busy: whether a look is under way.
    """

    now: float
    size: tuple[int, int]
    motion: Homography | None
    stats: ViewStats
    known: tuple[Quad, ...] = ()
    lost: tuple[Quad, ...] = ()
    looked: LookReport | None = None
    busy: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class GateState:
    """What the gate remembers.

    Attributes:
        last_seen: time of the previous frame; None before the first.
        looks: the last ones, oldest first, none from before a cut.
        cut_off: lines cut off in the last look, where they are in the newest frame.
        too_small: lines too small in the last look, likewise.
        lost: signs lost since the last look, where they should be in the newest frame.
        spent: looks charged to the budget and not yet worked off.
        since_look_s: time since the last look.
        idle_looks: looks for weak reasons since the last one for a strong reason.
        unfit_s: how long no frame might have done.
        passed_s: how long frames that might do, and had something new, have been passed over.
        stopped_s: how long the view has stood still.
        best_sharpness: of late, fading.
        texture: of the previous frame; None before the first.
    """

    last_seen: float | None = None
    looks: tuple[PastLook, ...] = ()
    cut_off: tuple[Quad, ...] = ()
    too_small: tuple[Quad, ...] = ()
    lost: tuple[Quad, ...] = ()
    spent: float = 0.0
    since_look_s: float = math.inf
    idle_looks: int = 0
    unfit_s: float = 0.0
    passed_s: float = 0.0
    stopped_s: float = 0.0
    best_sharpness: float = 0.0
    texture: Texture | None = None


def decide(policy: GatePolicy, state: GateState, seen: GateInput) -> tuple[bool, GateReason, GateState]:
    """Whether to look for text in this frame, why (or why not), and what to remember."""
    seconds = _elapsed(state, seen)
    motion = _motion(state, seen)
    speed = _speed(motion, seen.size, seconds)
    sharpness, best = _sharpness(policy, state, seen, seconds)
    might_do = speed <= policy.slow_widths_per_s and sharpness >= policy.sharpness_enough
    after = replace(
        _carry(state, seen, motion),
        last_seen=seen.now if math.isfinite(seen.now) else state.last_seen,
        spent=max(0.0, state.spent - policy.looks_per_s * seconds),
        since_look_s=state.since_look_s + seconds,
        unfit_s=0.0 if might_do else state.unfit_s + seconds,
        stopped_s=state.stopped_s + seconds if speed < policy.stopped_widths_per_s else 0.0,
        best_sharpness=best,
        texture=seen.stats.texture,
    )
    first = state.last_seen is None
    despairing = after.unfit_s >= policy.despair_s
    shut = _shut(policy, after, seen)
    if shut is None and not (first or might_do or despairing):
        shut = GateReason.UNREST
    if shut is not None:
        # Whether there is a reason is not even asked: it costs more than all the rest.
        return False, shut, after

    reason = GateReason.FIRST if first else _reason(policy, after, seen)
    strong = reason in STRONG
    if reason is GateReason.NOTHING_NEW:
        # A reason that flickers keeps most of its time.
        return False, reason, replace(after, passed_s=max(0.0, state.passed_s - seconds))
    if not strong and after.spent + 2 > policy.burst:
        return False, GateReason.BUDGET, after
    if not (first or despairing or _good(policy, after, sharpness, speed)):
        return False, GateReason.UNREST, replace(after, passed_s=state.passed_s + seconds)
    look = PastLook(np.eye(3), seen.stats.texture, _measured(seen))
    return (
        True,
        reason,
        replace(
            after,
            looks=(*after.looks, look)[-policy.looks_kept :],
            cut_off=(),
            too_small=(),
            lost=(),
            spent=after.spent + 1,
            since_look_s=0.0,
            idle_looks=0 if strong else after.idle_looks + 1,
            unfit_s=0.0,
            passed_s=0.0,
        ),
    )


def _elapsed(state: GateState, seen: GateInput) -> float:
    """Seconds since the previous frame; 0 for the first, and when the clock ran backwards."""
    seconds = 0.0 if state.last_seen is None else seen.now - state.last_seen
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


def _motion(state: GateState, seen: GateInput) -> Homography | None:
    """The motion since the previous frame; None for a cut. What could not be measured, but changed nothing, is rest."""
    motion = usable(seen.motion)
    if motion is None and state.texture is not None and unchanged(state.texture, seen.stats.texture):
        return np.eye(3)
    return motion


def _speed(motion: Homography | None, size: tuple[int, int], seconds: float) -> float:
    """Frame widths a second at the middle of the view; infinite when unknown."""
    if motion is None or seconds <= 0:
        return math.inf
    x, y, w = (motion @ (size[0] / 2, size[1] / 2, 1.0)).tolist()
    return math.hypot(x / w - size[0] / 2, y / w - size[1] / 2) / size[0] / seconds if w > 0 else math.inf


def _sharpness(policy: GatePolicy, state: GateState, seen: GateInput, seconds: float) -> tuple[float, float]:
    """Sharpness relative to the best of late, and that best. A view without edges is as sharp as any."""
    best = state.best_sharpness * policy.sharpness_decay**seconds
    measured = _measured(seen)
    if measured is None:
        return 1.0, best
    best = max(best, measured)
    return (measured / best if best > 0 else 1.0), best


def _measured(seen: GateInput) -> float | None:
    sharpness = seen.stats.sharpness
    return sharpness if sharpness is not None and math.isfinite(sharpness) else None


def _carry(state: GateState, seen: GateInput, motion: Homography | None) -> GateState:
    """Bring what is remembered into the newest frame; after a cut nothing is."""
    if motion is None:
        return replace(state, looks=(), cut_off=(), too_small=(), lost=())
    looks = tuple(replace(look, since=motion @ look.since) for look in state.looks)
    if looks and not math.isfinite(scale_of(looks[-1].since, seen.size)):
        looks = ()  # turned away from
    cut_off = _moved(state.cut_off, motion)
    too_small = _moved(state.too_small, motion)
    if seen.looked is not None and looks:
        cut_off += _moved(seen.looked.cut_off, looks[-1].since)
        too_small += _moved(seen.looked.too_small, looks[-1].since)
    return replace(
        state,
        looks=tuple(look for look in looks if math.isfinite(scale_of(look.since, seen.size))),
        cut_off=tuple(quad for quad in cut_off if visible(quad, seen.size)),
        too_small=tuple(quad for quad in too_small if visible(quad, seen.size)),
        lost=tuple(quad for quad in (*_moved(state.lost, motion), *seen.lost) if visible(quad, seen.size)),
    )


def _moved(quads: tuple[Quad, ...], motion: Homography) -> tuple[Quad, ...]:
    return tuple(transform(motion, quad) for quad in quads)


def _reason(policy: GatePolicy, state: GateState, seen: GateInput) -> GateReason:
    """Why a look would be worth while, whatever it costs."""
    counted = [
        look
        for look in state.looks
        if scale_of(look.since, seen.size) < policy.scale_ratio and not _sharper(policy, seen, look)
    ]
    found = news(
        seen.stats.texture,
        seen.size,
        counted,
        seen.known,
        floor=policy.text_floor,
        growth=policy.text_growth,
    )
    text = max(found.whole, found.cut) if state.stopped_s >= policy.stopped_s else found.whole
    if text >= policy.text_mass:
        return GateReason.UNCOVERED
    margin = policy.edge_margin * seen.size[0]
    within = policy.stopped_margin * seen.size[0] if state.stopped_s > 0 else margin
    if any(inside(quad, seen.size, within) for quad in state.cut_off):
        return GateReason.CUT_OFF
    if any(min(side_lengths(quad)) >= policy.readable_px and inside(quad, seen.size, 0) for quad in state.too_small):
        return GateReason.GROWN
    if any(inside(quad, seen.size, margin) for quad in state.lost):
        return GateReason.LOST
    backed_off = policy.idle_growth**state.idle_looks
    if state.since_look_s >= min(policy.idle_limit_s, policy.idle_interval_s * backed_off):
        if state.looks and not counted:
            return GateReason.SCALE
        if found.uncovered > policy.uncovered_share:
            return GateReason.NEW_VIEW
        if text >= policy.speck_mass:
            return GateReason.SPECK
    if state.since_look_s >= min(policy.idle_limit_s, policy.periodic_interval_s * backed_off):
        return GateReason.PERIODIC
    return GateReason.NOTHING_NEW


def _sharper(policy: GatePolicy, seen: GateInput, look: PastLook) -> bool:
    measured = _measured(seen)
    return measured is not None and look.sharpness is not None and measured > policy.sharper_ratio * look.sharpness


def _shut(policy: GatePolicy, state: GateState, seen: GateInput) -> GateReason | None:
    """Why there can be no look now, whatever there is to see."""
    if seen.busy:
        return GateReason.BUSY
    if state.since_look_s < policy.minimum_interval_s:
        return GateReason.TOO_SOON
    return GateReason.BUDGET if state.spent + 1 > policy.burst else None


def _good(policy: GatePolicy, state: GateState, sharpness: float, speed: float) -> bool:
    """Whether a frame that might do is as good as can be asked for by now."""
    eased = min(1.0, state.passed_s / policy.patience_s)
    slow = policy.still_widths_per_s + (policy.slow_widths_per_s - policy.still_widths_per_s) * eased
    asked = policy.sharpness_asked + (policy.sharpness_enough - policy.sharpness_asked) * eased
    return speed <= slow and sharpness >= asked
