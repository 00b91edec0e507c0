"""The gate opens on a new, sharp, resting view, and not more often than its budget allows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from signboards import shift

from glasses.gate import GateInput, GatePolicy, GateReason, GateState, decide, uncovered_share
from shared.geometry import Homography

SIZE = (1280, 720)
REST = np.eye(3)


def _play(
    seconds: float,
    motion: Callable[[int], Homography | None],
    sharpness: Callable[[int], float] = lambda step: 100.0,
    lost: Callable[[int], int] = lambda step: 0,
    busy: Callable[[int], bool] = lambda step: False,
) -> list[tuple[float, GateReason]]:
    """Run the gate at 30 frames a second; returns when it opened, and why."""
    state = GateState()
    opened = []
    for step in range(round(seconds * 30)):
        seen = GateInput(step / 30, SIZE, motion(step), sharpness(step), lost(step), busy(step))
        opens, reason, state = decide(GatePolicy(), state, seen)
        if opens:
            opened.append((seen.now, reason))
    return opened


def test_the_first_frame_is_looked_at_and_a_resting_view_only_now_and_then() -> None:
    opened = _play(9, lambda step: REST)
    assert opened[0] == (0.0, GateReason.FIRST)
    assert [reason for _, reason in opened[1:]] == [GateReason.PERIODIC] * 2
    assert opened[1][0] == pytest.approx(3.0, abs=0.1)


def test_a_new_view_is_looked_at_once_the_head_rests() -> None:
    # A turn by 30 px a frame (0.7 widths a second) for half a second, then rest.
    opened = _play(2.5, lambda step: shift(30, 0) if 30 <= step < 45 else REST)
    assert [reason for _, reason in opened] == [GateReason.FIRST, GateReason.UNCOVERED]
    assert opened[1][0] == pytest.approx(45 / 30, abs=0.05)


def test_a_blurred_view_is_not_looked_at_until_it_is_sharp() -> None:
    opened = _play(
        2.6,
        lambda step: shift(30, 0) if 30 <= step < 45 else REST,
        sharpness=lambda step: 20.0 if 30 <= step < 60 else 100.0,
    )
    assert opened[1][0] == pytest.approx(2.0, abs=0.05)


def test_patience_with_a_head_that_never_rests_has_an_end() -> None:
    opened = _play(6, lambda step: shift(30, 0))
    waits = np.diff([time for time, _ in opened])
    assert len(opened) >= 3
    assert waits.max() < 2.5


def test_coming_closer_is_a_reason_to_look() -> None:
    zoom = np.array([[1.02, 0, -12.8], [0, 1.02, -7.2], [0, 0, 1]])
    opened = _play(1.5, lambda step: zoom)
    assert opened[1][1] is GateReason.SCALE


def test_a_lost_sign_is_a_reason_to_look() -> None:
    opened = _play(1.5, lambda step: REST, lost=lambda step: int(30 <= step < 33))
    assert opened[1] == (pytest.approx(1.0, abs=0.05), GateReason.LOST)


def test_a_turn_during_a_look_is_a_reason_for_the_next_one() -> None:
    # The look of the first frame takes 20 frames, in which the head turns by half a view and comes to rest.
    opened = _play(2, lambda step: shift(50, 0) if 2 <= step < 15 else REST, busy=lambda step: 1 <= step < 20)
    assert [reason for _, reason in opened] == [GateReason.FIRST, GateReason.UNCOVERED]
    assert opened[1][0] == pytest.approx(GatePolicy().minimum_interval_s, abs=0.05)


def test_looks_keep_their_distance_and_their_budget() -> None:
    policy = GatePolicy()
    opened = _play(30, lambda step: REST, lost=lambda step: 1)
    times = [time for time, _ in opened]
    assert np.diff(times).min() >= policy.minimum_interval_s - 0.001
    for start in times:
        assert sum(start <= time < start + policy.window_s for time in times) <= policy.looks_per_window


def test_the_uncovered_share_is_what_the_last_look_did_not_see() -> None:
    assert uncovered_share(np.eye(3), SIZE) == 0
    assert uncovered_share(shift(320, 0), SIZE) == pytest.approx(0.25)
    assert uncovered_share(shift(5000, 0), SIZE) == 1
    assert uncovered_share(None, SIZE) == 1
