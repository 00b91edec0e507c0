"""A sign is the same sign when it is seen again, and is sent again only when that can help."""

from __future__ import annotations

import numpy as np
import pytest
from signboards import Wall, lines_of, shift

from glasses import strips
from glasses.exchange import ReadingRank, SignReading
from glasses.outbox import SendPolicy, needs_resend
from glasses.signs import (
    FOLLOW_LOST_S,
    KEEP_LOST_S,
    MAX_SIGNS,
    Change,
    Delivery,
    Found,
    Sign,
    SignRegistry,
    match,
    text_height,
    worth_resending,
)
from glasses.stabiliser import Pose, PoseState
from shared.geometry import Homography, Quad, transform


@pytest.fixture
def wall() -> Wall:
    wall = Wall()
    wall.sign("Saída de\nemergência", 200, 150)
    wall.sign("Bilheteira", 750, 200, paper=(200, 200, 200), ink=(0, 0, 0))
    return wall


def _found(wall: Wall, quads: list[Quad], view: Homography) -> Found:
    picture = wall.seen(view)
    lines = lines_of(quads, view)
    looks = tuple(strips.look_of(picture, line.quad) for line in lines)
    return Found(lines, np.array([40.0, 90.0, 20.0]), looks)


def _sign(found: Found, region_id: int = 1, state: PoseState = PoseState.TRACKED, seen: float = 0.0) -> Sign:
    pose = Pose(np.eye(3), state, 1.0, 0)
    return Sign(region_id, found, 0, pose, seen, found.outer, text_height(found.lines))


def _reading(**fields: object) -> SignReading:
    values: dict[str, object] = dict.fromkeys(
        (
            "text",
            "translation",
            "source",
            "target",
            "tier",
            "engine",
            "unreadable",
            "recognition_pack",
            "translation_pack",
        ),
        "",
    )
    values |= {
        "frame_id": 1,
        "region_id": 1,
        "captured_us": 1,
        "rank": ReadingRank.KEPT,
        "lines": (),
        "stage_times": {},
    }
    values |= {"confidence": {"recognition": 0.95}}
    return SignReading(**(values | fields))  # type: ignore[arg-type]


def test_a_sign_at_its_tracked_place_is_known_and_another_is_new(wall: Wall) -> None:
    known = _sign(_found(wall, wall.quads[0], shift(0, 0)))
    view = shift(6, 4)
    found = [_found(wall, wall.quads[1], view), _found(wall, wall.quads[0], view)]
    new, same = match(found, [(known, transform(view, known.outer))])
    assert new is None
    assert same == (known, Change.SAME)


def test_parts_of_a_known_sign_are_no_new_signs(wall: Wall) -> None:
    known = _sign(_found(wall, wall.quads[0], shift(0, 0)))
    parts = [_found(wall, [quad], shift(0, 0)) for quad in wall.quads[0]]
    assert match(parts, [(known, known.outer)]) == [(known, Change.SAME)] * 2


def test_a_sign_of_which_more_is_seen_has_grown(wall: Wall) -> None:
    known = _sign(_found(wall, wall.quads[0][1:], shift(0, 0)))
    whole = _found(wall, wall.quads[0], shift(0, 0))
    assert match([whole], [(known, known.outer)]) == [(known, Change.GROWN)]
    known.delivery = Delivery.DELIVERED
    assert worth_resending(known, Change.GROWN, whole)


def test_a_lost_sign_is_known_by_its_look_elsewhere_and_at_another_size(wall: Wall) -> None:
    lost = _sign(_found(wall, wall.quads[0], shift(0, 0)), state=PoseState.LOST)
    view = shift(150, -60, 1.2)
    found = [_found(wall, wall.quads[1], view), _found(wall, wall.quads[0], view)]
    assert match(found, [(lost, None)]) == [None, (lost, Change.RETURNED)]


def _answered(wall: Wall, **fields: object) -> Sign:
    sign = _sign(_found(wall, wall.quads[0], shift(0, 0)))
    sign.delivery = Delivery.DELIVERED
    sign.reading = _reading(**fields)
    return sign


def test_an_answered_sign_is_not_sent_again(wall: Wall) -> None:
    sign = _answered(wall)
    assert not worth_resending(sign, Change.SAME, sign.found)
    assert not worth_resending(sign, Change.RETURNED, sign.found)


def test_a_poor_answer_is_asked_for_again_when_the_sign_is_much_closer(wall: Wall) -> None:
    sign = _answered(wall, unreadable="too_small")
    assert not worth_resending(sign, Change.SAME, _found(wall, wall.quads[0], shift(0, 0, 1.3)))
    assert worth_resending(sign, Change.SAME, _found(wall, wall.quads[0], shift(0, 0, 1.7)))


def test_a_good_answer_is_not_asked_for_again_however_close(wall: Wall) -> None:
    assert not worth_resending(_answered(wall), Change.SAME, _found(wall, wall.quads[0], shift(0, 0, 3)))


def test_a_sign_on_its_way_is_not_sent_twice_and_a_failed_one_is_sent_again(wall: Wall) -> None:
    sign = _sign(_found(wall, wall.quads[0], shift(0, 0)))
    for delivery, again in ((Delivery.WAITING, False), (Delivery.SENDING, False), (Delivery.FAILED, True)):
        sign.delivery = delivery
        assert worth_resending(sign, Change.SAME, sign.found) is again


POLICY = SendPolicy(2, 8, 8.0, attempts=3, answer_patience_s=10.0, reconnect_patience_s=2.0)


def test_silence_after_delivery_leads_to_another_try_but_not_forever(wall: Wall) -> None:
    sign = _sign(_found(wall, wall.quads[0], shift(0, 0)))
    sign.delivery, sign.delivered, sign.attempts = Delivery.DELIVERED, 100.0, 1
    assert not needs_resend(sign, POLICY, 109.0, None)
    assert needs_resend(sign, POLICY, 111.0, None)
    sign.attempts = 3
    assert not needs_resend(sign, POLICY, 111.0, None)


def test_a_phone_that_came_back_is_asked_again_soon_even_after_a_provisional_answer(wall: Wall) -> None:
    sign = _answered(wall, rank=ReadingRank.PROVISIONAL)
    sign.delivered = 100.0
    assert not needs_resend(sign, POLICY, 200.0, None)
    assert not needs_resend(sign, POLICY, 106.0, 105.0)
    assert needs_resend(sign, POLICY, 107.5, 105.0)
    sign.reading = _reading()
    assert not needs_resend(sign, POLICY, 107.5, 105.0)


def test_a_refused_sign_is_not_sent_again(wall: Wall) -> None:
    sign = _sign(_found(wall, wall.quads[0], shift(0, 0)))
    sign.delivery, sign.refused = Delivery.FAILED, True
    assert not needs_resend(sign, POLICY, 500.0, None)


def test_lost_signs_are_unfollowed_then_forgotten(wall: Wall) -> None:
    registry = SignRegistry()
    found = _found(wall, wall.quads[0], shift(0, 0))
    registry.put(_sign(found, 1, PoseState.LOST, seen=100.0))
    registry.put(_sign(found, 2, PoseState.TRACKED, seen=100.0))
    assert registry.unfollowed(100.0 + FOLLOW_LOST_S + 1) == [1]
    assert registry.unfollowed(100.0 + FOLLOW_LOST_S + 2) == []  # the stabiliser was told already
    assert registry.forget(100.0 + FOLLOW_LOST_S + 1) == []
    assert registry.forget(100.0 + KEEP_LOST_S + 1) == [1]
    assert registry.get(1) is None


def test_the_number_of_known_signs_is_bounded(wall: Wall) -> None:
    registry = SignRegistry()
    found = _found(wall, wall.quads[0], shift(0, 0))
    for region_id in range(MAX_SIGNS + 3):
        state = PoseState.LOST if region_id < 5 else PoseState.TRACKED
        registry.put(_sign(found, region_id, state, seen=100.0 + region_id))
    assert registry.forget(110.0) == [0, 1, 2]


def test_poses_are_taken_and_losses_counted(wall: Wall) -> None:
    registry = SignRegistry()
    registry.put(_sign(_found(wall, wall.quads[0], shift(0, 0)), 1))
    moved = Pose(shift(5, 0), PoseState.TRACKED, 0.9, 0)
    assert registry.update({1: moved}, 1.0) == 0
    sign = registry.get(1)
    assert sign is not None
    np.testing.assert_allclose(sign.now, sign.outer + np.array([5, 0]))
    assert registry.update({1: Pose(shift(5, 0), PoseState.LOST, 0.0, 0)}, 1.1) == 1
    assert sign.seen == 1.0


def test_a_newer_detection_counts_from_the_first_pose_that_belongs_to_it(wall: Wall) -> None:
    registry = SignRegistry()
    first, second = (_found(wall, wall.quads[0], shift(x, 0)) for x in (0, 7))
    registry.put(_sign(first, 1))
    sign = registry.get(1)
    assert sign is not None
    sign.follow_from(second, 9)
    registry.update({1: Pose(shift(8, 0), PoseState.TRACKED, 0.9, 0)}, 1.0)
    assert sign.found is first
    np.testing.assert_allclose(sign.now, first.outer + np.array([8, 0]))
    registry.update({1: Pose(shift(1, 0), PoseState.TRACKED, 0.9, 9)}, 1.1)
    assert sign.found is second
    np.testing.assert_allclose(sign.now, second.outer + np.array([1, 0]))
    registry.update({}, 1.2)
    assert not sign.in_view
