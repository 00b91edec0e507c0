"""The keyframe Lucas-Kanade stabiliser follows signs of known motion."""

from __future__ import annotations

import numpy as np
from signboards import Wall, errors_between, shift

from glasses.camera import luma_of
from glasses.stabiliser import PoseState
from glasses.stabiliser.keyframe_lk import KeyframeLkStabiliser
from shared.geometry import Homography, Quad, transform
from simulations.scene import StreetWalk


def _wall() -> Wall:
    wall = Wall(2000, 1100)
    wall.sign("Saída de\nemergência", 600, 350)
    wall.sign("Bilheteira", 1150, 500, paper=(200, 200, 200), ink=(0, 0, 0))
    return wall


def _swaying(step: int) -> Homography:
    """A head that turns, tilts and walks."""
    angle = 0.05 * np.sin(step / 17)
    scale = 0.9 + 0.15 * np.sin(step / 30)
    rotated = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    perspective = np.array([[1, 0, 0], [0, 1, 0], [2e-5 * np.sin(step / 11), 1e-5 * np.sin(step / 15), 1]])
    return shift(-300 + 60 * np.sin(step / 9), -150 + 30 * np.sin(step / 7), scale) @ rotated @ perspective


def test_signs_are_followed_within_three_pixels_over_sixty_frames() -> None:
    wall = _wall()
    noise = np.random.default_rng(5)
    stabiliser = KeyframeLkStabiliser()
    worst = 0.0
    for step in range(61):
        luma = luma_of(wall.seen(_swaying(step))).astype(np.int16) + noise.normal(0, 3, (720, 1280)).astype(np.int16)
        view = stabiliser.observe(step, np.clip(luma, 0, 255).astype(np.uint8), step / 30)
        if step == 0:
            for region, quads in enumerate(wall.quads):
                stabiliser.add(region, [transform(_swaying(0), quad) for quad in quads], 0)
            continue
        for region, quads in enumerate(wall.quads):
            pose = view.poses[region]
            assert pose.state is PoseState.TRACKED
            assert pose.quality > 0.8
            for quad in quads:
                expected = transform(_swaying(step), quad)
                found = transform(pose.homography, transform(_swaying(0), quad))
                worst = max(worst, errors_between(expected, found))
    assert worst < 3


def test_a_sign_detected_in_an_old_frame_lands_where_it_is_now() -> None:
    wall = _wall()
    stabiliser = KeyframeLkStabiliser()
    for step in range(25):
        stabiliser.observe(step, luma_of(wall.seen(_swaying(step))), step / 30)
    quads = [transform(_swaying(5), quad) for quad in wall.quads[0]]
    pose = stabiliser.add(7, quads, 5)
    assert pose.state is PoseState.TRACKED
    for quad, now in zip(quads, wall.quads[0], strict=True):
        assert errors_between(transform(_swaying(24), now), transform(pose.homography, quad)) < 3


def test_a_frame_that_is_no_longer_remembered_gives_a_lost_pose() -> None:
    wall = _wall()
    stabiliser = KeyframeLkStabiliser()
    luma = luma_of(wall.seen(shift(-300, -150)))
    for step in range(100, 103):
        stabiliser.observe(step, luma, step / 30)
    assert stabiliser.add(1, wall.quads[0], 99).state is PoseState.LOST
    assert 1 not in stabiliser.observe(103, luma, 3.5).poses


def _panning(step: int) -> Homography:
    """Away to the right until the signs are out of view, and back."""
    return shift(-300 - 50 * (step if step <= 26 else max(52 - step, 0)), -150)


def test_a_sign_that_leaves_is_lost_and_one_that_returns_is_found_again() -> None:
    wall = Wall(3200, 1100)
    wall.sign("Saída de\nemergência", 600, 350)
    stabiliser = KeyframeLkStabiliser()
    states = {}
    error = np.inf
    quads = [transform(_panning(0), quad) for quad in wall.quads[0]]
    for step in range(60):
        view = stabiliser.observe(step, luma_of(wall.seen(_panning(step))), step / 30)
        if step == 0:
            stabiliser.add(1, quads, 0)
            continue
        states[step] = view.poses[1].state
        expected = transform(_panning(step), wall.quads[0][0])
        error = errors_between(expected, transform(view.poses[1].homography, quads[0]))
    assert states[4] is PoseState.TRACKED
    assert states[26] is PoseState.LOST
    assert states[59] is PoseState.TRACKED
    assert error < 3


def test_a_sign_that_is_covered_is_predicted_and_then_lost() -> None:
    wall = _wall()
    stabiliser = KeyframeLkStabiliser()
    still = shift(-300, -150)
    clear = luma_of(wall.seen(still))
    covered = clear.copy()
    covered[150:480, 250:800] = 128
    quads = [transform(still, quad) for quad in wall.quads[0]]
    stabiliser.observe(0, clear, 0.0)
    stabiliser.add(1, quads, 0)
    states = [stabiliser.observe(step, covered, step / 30).poses[1].state for step in range(1, 20)]
    assert PoseState.PREDICTED in states
    assert states[-1] is PoseState.LOST


def test_the_motion_of_the_view_is_measured_and_unknown_on_a_blank_wall() -> None:
    wall = _wall()
    stabiliser = KeyframeLkStabiliser()
    stabiliser.observe(0, luma_of(wall.seen(shift(-300, -150))), 0.0)
    motion = stabiliser.observe(1, luma_of(wall.seen(shift(-288, -154))), 1 / 30).motion
    assert motion is not None
    moved = transform(motion, np.array([[640.0, 360.0]]))[0]
    np.testing.assert_allclose(moved, [652, 356], atol=1)
    blank = np.full((720, 1280), 90, np.uint8)
    stabiliser.observe(2, blank, 2 / 30)
    assert stabiliser.observe(3, blank, 3 / 30).motion is None


def test_a_removed_region_is_followed_no_longer() -> None:
    wall = _wall()
    stabiliser = KeyframeLkStabiliser()
    luma = luma_of(wall.seen(shift(-300, -150)))
    stabiliser.observe(0, luma, 0.0)
    stabiliser.add(1, [transform(shift(-300, -150), quad) for quad in wall.quads[0]], 0)
    stabiliser.remove(1)
    stabiliser.remove(2)
    assert stabiliser.observe(1, luma, 0.1).poses == {}


def _slant(quad: Quad) -> float:
    """Degrees by which the left edge of a quad leans away from upright on its top edge."""
    top, left = quad[1] - quad[0], quad[3] - quad[0]
    cosine = float(top @ left) / float(np.linalg.norm(top) * np.linalg.norm(left))
    return abs(90.0 - float(np.degrees(np.arccos(cosine))))


def test_the_label_of_a_single_line_does_not_slant_when_the_wearer_walks_past_a_street_sign() -> None:
    walk = StreetWalk(seed=11)
    stabiliser = KeyframeLkStabiliser()
    followed: dict[int, Quad] = {}
    worst = 0.0
    for step in range(120):
        t = 4.8 + step / 20
        view = stabiliser.observe(step, luma_of(walk.render(t)), t)
        truth = walk.sign_quads(t)
        for sign, quads in truth.items():
            if len(quads) == 1 and len(walk.signs[sign].lines[0]) > 12:
                if sign not in followed:
                    followed[sign] = quads[0]
                    stabiliser.add(sign, quads, step)
                elif sign in view.poses and view.poses[sign].state is PoseState.TRACKED:
                    label = transform(view.poses[sign].homography, followed[sign])
                    worst = max(worst, _slant(label) - _slant(quads[0]))
    assert len(followed) >= 3
    assert worst < 8
