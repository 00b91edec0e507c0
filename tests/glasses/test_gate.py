"""The gate opens on a new, sharp, resting view with something to read, and not more often than its budget allows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signboards import shift

from glasses.gate import GateInput, GatePolicy, GateReason, GateState, LookReport, decide
from glasses.view_stats import Texture, ViewStats
from shared.geometry import Homography, Quad, transform

SIZE = (1280, 720)
SHAPE = (45, 80)
RATE = 30
REST = np.eye(3)
SHARP, SMEARED = 0.5, 0.35
TEXT = 0.12
LATEST_S = 0.8
"""A strong reason in a frame that can be read waits at most so long, plus the frames a look takes."""
LONGEST_S = max(GatePolicy().despair_s, 1 / GatePolicy().looks_per_s) + 0.1
"""Between two looks at a view that is always new and never at rest: despair, or the budget when it is used up."""


def _box(left: float, top: float, right: float, bottom: float) -> Quad:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


def _texture(*signs: Quad) -> Texture:
    """A plain wall with text in these places."""
    texture = np.zeros(SHAPE, np.float32)
    for sign in signs:
        (left, top), (right, bottom) = np.clip((sign / 16).round().astype(int), 0, [80, 45])[[0, 2]]
        texture[top:bottom, left:right] = TEXT
    return texture


@dataclass
class Film:
    """A wall with signs, seen by a head that moves by whole frames; each attribute is a function of the frame number.

    Attributes:
        signs: of the wall, in pixels of the first frame.
        motion: previous frame → this one; None for not measured. The wall moves along by `moves`, if that is given.
        known: whether signs seen in a look are followed.
    """

    signs: tuple[Quad, ...] = ()
    motion: Callable[[int], Homography | None] = lambda step: REST
    moves: Callable[[int], Homography] | None = None
    sharpness: Callable[[int], float | None] = lambda step: SHARP
    lost: Callable[[int], tuple[Quad, ...]] = lambda step: ()
    looked: Callable[[int], LookReport | None] = lambda step: None
    busy: Callable[[int], bool] = lambda step: False
    time: Callable[[int], float] = lambda step: step / RATE
    policy: GatePolicy = field(default_factory=GatePolicy)

    def play(self, seconds: float) -> list[tuple[float, GateReason]]:
        """When the gate opened, by the frame number, in seconds, and why."""
        state, where, opened = GateState(), np.eye(3), []
        for step in range(round(seconds * RATE)):
            motion = self.motion(step)
            moved = self.moves(step) if self.moves is not None else motion
            where = where if moved is None else moved @ where
            stats = ViewStats(_texture(*(transform(where, sign) for sign in self.signs)), self.sharpness(step))
            seen = GateInput(
                self.time(step),
                SIZE,
                motion,
                stats,
                lost=self.lost(step),
                looked=self.looked(step),
                busy=self.busy(step),
            )
            opens, reason, state = decide(self.policy, state, seen)
            if opens:
                opened.append((step / RATE, reason))
        return opened


def _slides(left_px: float, start: int, end: int) -> Callable[[int], Homography]:
    return lambda step: shift(-left_px, 0) if start <= step < end else REST


def test_the_first_frame_is_looked_at_even_when_it_is_smeared() -> None:
    assert Film(sharpness=lambda step: SMEARED).play(0.1) == [(0.0, GateReason.FIRST)]


def test_a_static_view_is_looked_at_less_and_less_often() -> None:
    opened = Film(signs=(_box(400, 300, 800, 360),)).play(60)
    assert [reason for _, reason in opened[1:]] == [GateReason.PERIODIC] * 4
    waits = np.diff([time for time, _ in opened])
    assert waits == pytest.approx([5, 10, 20, 20], abs=0.1)


def test_text_that_comes_in_is_looked_at_once_and_in_time() -> None:
    # A sign beyond the right edge slides in and is completely in at frame 45; the view then stops.
    sign = _box(1400, 300, 1700, 380)
    opened = Film(signs=(sign,), motion=_slides(40, 30, 45)).play(4)
    assert [reason for _, reason in opened] == [GateReason.FIRST, GateReason.UNCOVERED]
    assert 45 / RATE - 0.1 < opened[1][0] < 45 / RATE + LATEST_S


def test_a_speck_of_text_is_looked_at_when_nothing_better_is_to_be_expected() -> None:
    speck = _box(1400, 320, 1432, 352)
    opened = Film(signs=(speck,), motion=_slides(20, 30, 45)).play(4)
    assert [reason for _, reason in opened] == [GateReason.FIRST, GateReason.SPECK]


def test_a_plain_wall_that_comes_in_is_not_looked_at() -> None:
    opened = Film(motion=_slides(40, 30, 45)).play(1.9)
    assert [reason for _, reason in opened] == [GateReason.FIRST]


def test_a_view_without_anything_like_text_is_checked_when_there_is_nothing_better_to_do() -> None:
    opened = Film(motion=_slides(40, 30, 60)).play(4)
    assert [reason for _, reason in opened] == [GateReason.FIRST, GateReason.NEW_VIEW]


def test_a_sign_half_in_is_waited_for_while_the_view_moves() -> None:
    # 200 px a second: the sign's first letters come in at frame 36, its end at frame 96.
    sign = _box(1300, 300, 1700, 380)
    opened = Film(signs=(sign,), motion=lambda step: shift(-200 / RATE, 0)).play(3.5 + LATEST_S)
    reasons = [time for time, reason in opened if reason is GateReason.UNCOVERED]
    assert len(reasons) == 1
    assert (1700 - 1280) / 200 < reasons[0] < (1700 - 1280) / 200 + LATEST_S


def test_a_sign_half_in_is_looked_at_as_it_is_once_the_view_has_stopped() -> None:
    sign = _box(1300, 300, 1700, 380)
    opened = Film(signs=(sign,), motion=_slides(20, 30, 40)).play(3)
    assert opened[1][1] is GateReason.UNCOVERED
    assert opened[1][0] == pytest.approx(40 / RATE + GatePolicy().stopped_s, abs=0.15)
    assert len(opened) == 2


def test_a_line_that_was_cut_off_is_looked_at_when_it_has_come_in() -> None:
    # The texture says nothing: only the report of the first look tells of the line.
    report = LookReport((_box(1100, 300, 1279, 340),))
    looked: Callable[[int], LookReport | None] = lambda step: report if step == 3 else None  # noqa: E731
    assert [reason for _, reason in Film(looked=looked).play(3)] == [GateReason.FIRST]
    opened = Film(looked=looked, motion=_slides(5, 30, 60)).play(3)
    assert [reason for _, reason in opened] == [GateReason.FIRST, GateReason.CUT_OFF]


def test_a_line_cut_off_during_a_turn_is_where_the_view_has_carried_it() -> None:
    # The look's report comes 30 frames late; meanwhile the line has come in by 150 px.
    report = LookReport((_box(1100, 300, 1279, 340),))
    opened = Film(
        motion=_slides(5, 0, 30),
        busy=lambda step: 1 <= step < 30,
        looked=lambda step: report if step == 30 else None,
    ).play(2)
    assert opened[1][1] is GateReason.CUT_OFF


def test_a_line_at_the_edge_may_come_in_by_little_once_the_view_has_stopped() -> None:
    report = LookReport((_box(600, 690, 800, 719),))
    opened = Film(
        looked=lambda step: report if step == 3 else None,
        motion=lambda step: shift(0, -3) if 30 <= step < 38 else REST,
    ).play(3)
    assert [reason for _, reason in opened] == [GateReason.FIRST, GateReason.CUT_OFF]
    assert opened[1][0] == pytest.approx(38 / RATE, abs=0.1)


def test_a_line_that_was_too_small_is_looked_at_when_it_has_grown() -> None:
    report = LookReport(too_small=(_box(600, 355, 700, 365),))
    closer = np.array([[1.003, 0, -1.92], [0, 1.003, -1.08], [0, 0, 1]])
    opened = Film(
        looked=lambda step: report if step == 3 else None, motion=lambda step: closer if step >= 30 else REST
    ).play(3.5)
    assert [reason for _, reason in opened] == [GateReason.FIRST, GateReason.GROWN]
    # 10 px become 12 px after ln(1.2) / ln(1.003) = 61 frames.
    assert opened[1][0] == pytest.approx((30 + 61) / RATE, abs=0.1)


def test_a_smeared_view_waits_until_it_is_sharp() -> None:
    sign = _box(1400, 300, 1700, 380)
    opened = Film(
        signs=(sign,),
        motion=_slides(40, 30, 45),
        sharpness=lambda step: SMEARED if 30 <= step < 75 else SHARP,
    ).play(3)
    assert opened[1] == (pytest.approx(75 / RATE, abs=0.05), GateReason.UNCOVERED)


def test_a_stiller_frame_is_waited_for_but_not_for_long() -> None:
    # After a cut the view moves by 10 px a frame, which can be read: at that speed for good, or slower and slower.
    def cut_then(speed: Callable[[int], float]) -> list[tuple[float, GateReason]]:
        signs = tuple(_box(400 * index, 300, 400 * index + 200, 380) for index in range(-20, 4))
        moved = lambda step: REST if step < 30 else shift(speed(step - 30), 0)  # noqa: E731
        return Film(signs=signs, motion=lambda step: None if step == 30 else moved(step), moves=moved).play(1.9)

    slowing, steady = cut_then(lambda step: max(0, 10 - step)), cut_then(lambda step: 10)
    assert slowing[1][0] == pytest.approx(36 / RATE, abs=0.05)
    assert steady[1][0] == pytest.approx(30 / RATE + GatePolicy().patience_s, abs=0.15)


def test_a_head_that_never_rests_is_not_waited_for_for_ever() -> None:
    signs = tuple(_box(600 * index, 300, 600 * index + 200, 380) for index in range(40))
    opened = Film(signs=signs, motion=lambda step: shift(-30, 0), sharpness=lambda step: SMEARED).play(12)
    assert np.diff([time for time, _ in opened]).max() < LONGEST_S
    assert len(opened) >= 4


def test_an_exposure_jump_is_no_reason_to_look() -> None:
    # The measures are ratios: at most a few per cent change with the exposure.
    opened = Film(signs=(_box(400, 300, 800, 360),), sharpness=lambda step: SHARP * (1.03 if step > 40 else 1)).play(4)
    assert [reason for _, reason in opened] == [GateReason.FIRST]


def test_a_cut_is_looked_at_once() -> None:
    opened = Film(
        signs=(_box(400, 300, 800, 360),),
        motion=lambda step: None if step == 40 else REST,
        moves=lambda step: shift(300, 200) if step == 40 else REST,
    ).play(4)
    assert [reason for _, reason in opened] == [GateReason.FIRST, GateReason.UNCOVERED]
    assert opened[1][0] == pytest.approx(41 / RATE, abs=0.05)


def test_unknown_motion_of_a_view_that_did_not_change_is_rest() -> None:
    for signs in ((_box(400, 300, 800, 360),), ()):
        assert [reason for _, reason in Film(signs=signs, motion=lambda step: None).play(4)] == [GateReason.FIRST]


def test_a_moving_view_whose_motion_is_never_known_is_still_looked_at() -> None:
    signs = tuple(_box(600 * index, 300, 600 * index + 200, 380) for index in range(40))
    opened = Film(signs=signs, motion=lambda step: None, moves=lambda step: shift(-30, 0)).play(20)
    assert np.diff([time for time, _ in opened]).max() < LONGEST_S
    assert len(opened) >= 6


def test_a_lost_sign_that_should_be_in_view_is_looked_for_and_one_that_left_is_not() -> None:
    middle, edge = _box(500, 300, 800, 360), _box(-60, 300, 200, 360)
    found = Film(lost=lambda step: (middle,) if step == 30 else ()).play(3)
    assert found[1] == (pytest.approx(1.0, abs=0.05), GateReason.LOST)
    assert len(found) == 2
    assert len(Film(lost=lambda step: (edge,) if step == 30 else ()).play(3)) == 1


def test_coming_closer_to_a_wall_is_a_reason_to_look_again() -> None:
    zoom = np.array([[1.005, 0, -3.2], [0, 1.005, -1.8], [0, 0, 1]])
    opened = Film(motion=lambda step: zoom).play(4.5)
    assert [reason for _, reason in opened] == [GateReason.FIRST, GateReason.SCALE]


def test_followed_signs_are_no_news() -> None:
    sign = _box(400, 300, 800, 360)
    _, _, state = decide(GatePolicy(), GateState(), GateInput(0, SIZE, None, ViewStats(_texture(), SHARP)))
    seen = GateInput(2, SIZE, REST, ViewStats(_texture(sign), SHARP), known=(sign,))
    assert decide(GatePolicy(), state, seen)[1] is GateReason.NOTHING_NEW


def test_a_turn_during_a_look_is_a_reason_for_the_next_one() -> None:
    sign = _box(1400, 300, 1700, 380)
    opened = Film(signs=(sign,), motion=_slides(50, 2, 15), busy=lambda step: 1 <= step < 30).play(2)
    assert [reason for _, reason in opened] == [GateReason.FIRST, GateReason.UNCOVERED]
    assert opened[1][0] == pytest.approx(1.0, abs=0.05)


def test_the_gate_never_opens_during_a_look() -> None:
    everywhere = Film(lost=lambda step: (_box(500, 300, 800, 360),), busy=lambda step: step % 60 >= 10)
    assert all(round(time * RATE) % 60 < 10 for time, _ in everywhere.play(20))


def test_a_clock_that_jumps_back_or_stands_still_does_not_keep_the_gate_shut() -> None:
    middle = _box(500, 300, 800, 360)
    back = Film(lost=lambda step: (middle,) if step == 60 else (), time=lambda step: step / RATE - 3600 * (step >= 50))
    assert back.play(3)[1] == (pytest.approx(2.0, abs=0.1), GateReason.LOST)
    nan = Film(
        lost=lambda step: (middle,) if step == 60 else (), time=lambda step: math.nan if step == 40 else step / RATE
    )
    assert nan.play(3)[1] == (pytest.approx(2.0, abs=0.1), GateReason.LOST)


def test_measurements_that_went_wrong_count_as_none() -> None:
    sign = _box(400, 300, 800, 360)
    for wrong in (np.full((3, 3), np.nan), np.zeros((3, 3)), np.full((3, 3), np.inf)):
        opened = Film(
            signs=(sign,),
            motion=lambda step, wrong=wrong: wrong if step == 40 else REST,  # type: ignore[misc]
            moves=lambda step: shift(300, 200) if step == 40 else REST,
            sharpness=lambda step: math.nan if step % 7 == 0 else SHARP,
        ).play(4)
        assert [reason for _, reason in opened] == [GateReason.FIRST, GateReason.UNCOVERED]


numbers = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def _steps(draw: st.DrawFn) -> tuple[float, Homography | None, float | None, tuple[Quad, ...], bool]:
    """Time since the frame before, motion, sharpness, lost signs, busy: anything at all, sane or not."""
    motion = draw(
        st.one_of(
            st.none(),
            st.builds(shift, st.floats(-200, 200), st.floats(-200, 200), st.floats(0.5, 2)),
            st.lists(st.sampled_from([0.0, 1.0, -1.0, 1e9, math.nan, math.inf]), min_size=9, max_size=9).map(
                lambda values: np.array(values).reshape(3, 3)
            ),
        )
    )
    lost = (_box(500, 300, 800, 360),) if draw(st.booleans()) else ()
    return draw(st.floats(0, 0.5)), motion, draw(st.one_of(st.none(), numbers)), lost, draw(st.booleans())


@settings(max_examples=60, deadline=None)
@given(st.lists(_steps(), min_size=1, max_size=80))
def test_no_window_ever_sees_more_looks_than_the_budget(
    steps: list[tuple[float, Homography | None, float | None, tuple[Quad, ...], bool]],
) -> None:
    policy, state, now, times = GatePolicy(), GateState(), 0.0, []
    for seconds, motion, sharpness, lost, busy in steps:
        now += seconds
        seen = GateInput(
            now, SIZE, motion, ViewStats(_texture(_box(400, 300, 800, 360)), sharpness), lost=lost, busy=busy
        )
        opens, _, state = decide(policy, state, seen)
        if opens:
            times.append(now)
    assert all(later - earlier > policy.minimum_interval_s - 1e-9 for earlier, later in pairwise(times))
    for index, start in enumerate(times):
        for count, end in enumerate(times[index:], start=1):
            assert count <= policy.burst + policy.looks_per_s * (end - start) + 1e-6
