"""The baseline "LK + keyframe anchor" follows signs of known motion: a bench against a broken baseline flatters."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from glasses.stabiliser import GyroSamples, Luma, PoseState
from shared.geometry import Homography, Quad, transform
from simulations.bench.stabiliser.contenders import CameraFacts, named
from simulations.bench.stabiliser.late import late_figures, late_readings
from simulations.bench.stabiliser.lk_anchor import REMEMBERED_FRAMES, LkAnchorStabiliser
from simulations.bench.stabiliser.measures import measure
from simulations.bench.stabiliser.play import play
from simulations.sequences import FOCAL_PX, FRAME_RATE, SequenceFrame
from simulations.sequences.catalogue import sequence

cv2.setNumThreads(1)  # as the process does


def _wall() -> tuple[Luma, Quad]:
    """A textured wall with a two-line sign, and the quad of the sign."""
    noise = np.random.default_rng(1).integers(70, 134, (138, 400), np.uint8)
    wall = np.asarray(cv2.resize(noise, (3200, 1100), interpolation=cv2.INTER_CUBIC), np.uint8)
    cv2.rectangle(wall, (600, 350), (1000, 500), 40, -1)
    for row, text in enumerate(("Saida de", "emergencia")):
        cv2.putText(wall, text, (630, 410 + 60 * row), cv2.FONT_HERSHEY_SIMPLEX, 1.8, 255, 4)
    return wall, np.array([[625, 365], [975, 365], [975, 490], [625, 490]], np.float32)


def _shift(x: float) -> Homography:
    return np.array([[1, 0, x], [0, 1, -150], [0, 0, 1.0]])


def _seen(wall: Luma, homography: Homography) -> Luma:
    return np.asarray(cv2.warpPerspective(wall, homography, (1280, 720), flags=cv2.INTER_AREA), np.uint8)


@pytest.fixture(scope="module")
def walk() -> list[SequenceFrame]:
    return list(sequence("walk", 11, 1.1).frames())


def test_signs_of_a_walk_are_followed_within_four_pixels(walk: list[SequenceFrame]) -> None:
    figures = measure(play(walk, named(["lk"])[0], CameraFacts(FOCAL_PX)))
    assert figures.samples > 100
    assert figures.error_median < 1
    assert figures.under_4 > 0.9


def test_signs_read_in_an_old_frame_land_where_they_are_now(walk: list[SequenceFrame]) -> None:
    figures = late_figures(late_readings(walk, named(["lk"])[0], CameraFacts(FOCAL_PX), 0.5))
    stale = late_figures(late_readings(walk, named(["stale"])[0], CameraFacts(FOCAL_PX), 0.5))
    assert figures.count == stale.count > 0
    assert figures.frames_max == 1
    assert figures.error_median < 3 < stale.error_median


def test_a_frame_that_is_no_longer_remembered_gives_no_pose() -> None:
    wall, quad = _wall()
    luma = cv2.resize(_seen(wall, _shift(-300)), (320, 180))
    stabiliser = LkAnchorStabiliser()
    for step in range(REMEMBERED_FRAMES + 1):
        stabiliser.observe(step, luma, step / FRAME_RATE)
    stabiliser.add(1, [quad / 4], 0)
    assert stabiliser.observe(step + 1, luma, 100.0).poses == {}


def test_a_blank_region_gives_no_pose() -> None:
    stabiliser = LkAnchorStabiliser()
    blank = np.full((720, 1280), 90, np.uint8)
    stabiliser.observe(0, blank, 0.0)
    stabiliser.add(1, [_wall()[1]], 0)
    assert stabiliser.observe(1, blank, 0.1).poses == {}


def _panning(step: int) -> Homography:
    """Away to the right until the sign is out of view, and back."""
    return _shift(-300 - 50 * (step if step <= 26 else max(52 - step, 0)))


def test_a_sign_that_leaves_is_lost_and_one_that_returns_is_found_again() -> None:
    wall, quad = _wall()
    stabiliser = LkAnchorStabiliser()
    start = transform(_panning(0), quad)
    states = {}
    for step in range(60):
        view = stabiliser.observe(step, _seen(wall, _panning(step)), step / FRAME_RATE)
        if step == 0:
            stabiliser.add(1, [start], 0)
        else:
            states[step] = view.poses[1].state
    assert states[4] is PoseState.TRACKED
    assert states[26] is PoseState.LOST
    assert states[59] is PoseState.TRACKED
    there = transform(_panning(59), quad)
    assert np.linalg.norm(transform(view.poses[1].homography, start) - there, axis=1).max() < 3


def test_a_sign_that_is_covered_is_predicted_and_then_lost() -> None:
    wall, quad = _wall()
    clear = _seen(wall, _shift(-300))
    covered = clear.copy()
    covered[150:480, 250:800] = 128
    stabiliser = LkAnchorStabiliser()
    stabiliser.observe(0, clear, 0.0)
    stabiliser.add(1, [transform(_shift(-300), quad)], 0)
    states = [stabiliser.observe(step, covered, step / FRAME_RATE).poses[1].state for step in range(1, 20)]
    assert PoseState.PREDICTED in states
    assert states[-1] is PoseState.LOST


def test_the_gyro_tells_the_motion_where_there_is_nothing_to_see() -> None:
    blank = np.full((720, 1280), 90, np.uint8)
    stabiliser = LkAnchorStabiliser(focal_px=FOCAL_PX)
    gyro = GyroSamples(np.array([0.0, 0.05]), np.tile([0.0, 0.5, 0.0], (2, 1)))
    stabiliser.observe(0, blank, 0.0)
    motion = stabiliser.observe(1, blank, 0.1, gyro).motion
    assert motion is not None
    middle = transform(motion, np.array([[639.5, 359.5]]))[0]
    np.testing.assert_allclose(middle, [639.5 - FOCAL_PX * np.tan(0.05), 359.5], atol=0.01)
    assert stabiliser.observe(2, blank, 0.2).motion is None


def test_a_removed_region_is_followed_no_longer_and_a_pose_names_its_keyframe() -> None:
    wall, quad = _wall()
    luma = _seen(wall, _shift(-300))
    stabiliser = LkAnchorStabiliser()
    stabiliser.observe(7, luma, 0.0)
    stabiliser.add(1, [transform(_shift(-300), quad)], 7)
    assert stabiliser.observe(8, luma, 0.1).poses[1].keyframe == 7
    stabiliser.remove(1)
    stabiliser.remove(2)
    assert stabiliser.observe(9, luma, 0.2).poses == {}
