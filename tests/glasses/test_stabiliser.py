"""The stabiliser follows signs of known motion, tells planes apart, and never says it knows what it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from signboards import Wall, errors_between, shift

from glasses.camera import luma_of
from glasses.stabiliser import GyroSamples, Luma, PoseState, Stabiliser, View
from glasses.stabiliser.inline import InlineStabiliser
from glasses.stabiliser.limits import REMEMBERED_FRAMES
from shared.errors import FrameRefused, RegionRefused
from shared.geometry import Homography, Quad, transform
from simulations.scene import StreetWalk

pytestmark = pytest.mark.timeout(240)  # the first test of a new checkout compiles the kernels

FRAME = 1 / 30


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


STILL = shift(-300, -150)


def _seen(wall: Wall, homography: Homography) -> Luma:
    return luma_of(wall.seen(homography))


def _started(wall: Wall, start: Homography = STILL, **options: float) -> tuple[InlineStabiliser, list[list[Quad]]]:
    """A stabiliser that follows the signs of a wall, caught up; four frames have passed."""
    stabiliser = InlineStabiliser(**options)
    quads = [[transform(start, quad) for quad in lines] for lines in wall.quads]
    luma = _seen(wall, start)
    for step in range(4):
        view = stabiliser.observe(step, luma, step * FRAME)
        if step == 0:
            for region, lines in enumerate(quads):
                stabiliser.add(region, lines, 0)
    assert all(view.poses[region].state is PoseState.TRACKED for region in range(len(quads)))
    return stabiliser, quads


def _play(stabiliser: Stabiliser, pictures: Iterable[Luma], first: int = 4) -> list[View]:
    return [stabiliser.observe(step, luma, step * FRAME) for step, luma in enumerate(pictures, first)]


def _error(view: View, region: int, quads: list[Quad], wall: Wall, homography: Homography) -> float:
    return max(
        errors_between(transform(homography, there), transform(view.poses[region].homography, quad))
        for there, quad in zip(wall.quads[region], quads, strict=True)
    )


# Following -----------------------------------------------------------------------------------------------------------


def test_signs_are_followed_within_a_pixel_over_sixty_noisy_frames() -> None:
    wall = _wall()
    noise = np.random.default_rng(5)
    stabiliser = InlineStabiliser()
    worst = 0.0
    quads = [[transform(_swaying(0), quad) for quad in lines] for lines in wall.quads]
    for step in range(61):
        luma = _seen(wall, _swaying(step)).astype(np.int16) + noise.normal(0, 3, (720, 1280)).astype(np.int16)
        view = stabiliser.observe(step, np.clip(luma, 0, 255).astype(np.uint8), step * FRAME)
        if step == 0:
            for region, lines in enumerate(quads):
                stabiliser.add(region, lines, 0)
        elif step > 3:
            for region, lines in enumerate(quads):
                assert view.poses[region].state is PoseState.TRACKED
                assert view.poses[region].quality > 0.8
                worst = max(worst, _error(view, region, lines, wall, _swaying(step)))
    assert worst < 1


def test_the_same_frames_give_the_same_poses() -> None:
    wall = _wall()
    pictures = [_seen(wall, _swaying(step)) for step in range(4, 24)]
    views = []
    for _ in range(2):
        stabiliser, _ = _started(wall, _swaying(0))
        views.append(_play(stabiliser, pictures))
    for one, other in zip(*views, strict=True):
        assert one.poses.keys() == other.poses.keys()
        for region in one.poses:
            np.testing.assert_array_equal(one.poses[region].homography, other.poses[region].homography)


@pytest.mark.parametrize("change", [lambda p: p // 2, lambda p: np.clip(p.astype(int) + 60, 0, 255).astype(np.uint8)])
def test_a_jump_of_the_exposure_does_not_move_a_sign(change: Callable[[Luma], Luma]) -> None:
    wall = _wall()
    stabiliser, quads = _started(wall)
    (view,) = _play(stabiliser, [change(_seen(wall, STILL))])
    assert view.poses[0].state is PoseState.TRACKED
    assert _error(view, 0, quads[0], wall, STILL) < 0.3


def test_a_sign_twice_as_large_as_when_it_was_found_is_still_followed() -> None:
    wall = _wall()
    stabiliser, quads = _started(wall, shift(-100, 0, 0.6))
    path = [shift(-100 - 8 * step, -4 * step, 0.6 + 0.01 * step) for step in range(60)]
    views = _play(stabiliser, [_seen(wall, homography) for homography in path])
    assert views[-1].poses[0].state is PoseState.TRACKED
    assert views[-1].poses[0].keyframe == 0
    assert _error(views[-1], 0, quads[0], wall, path[-1]) < 1.5
    assert stabiliser.counters["rekeyed"] >= 1


def test_the_label_of_a_single_line_does_not_slant_when_the_wearer_walks_past_a_street_sign() -> None:
    walk = StreetWalk(seed=11)
    stabiliser = InlineStabiliser()
    followed: dict[int, Quad] = {}
    worst = 0.0
    for step in range(120):
        t = 4.8 + step / 20
        view = stabiliser.observe(step, luma_of(walk.render(t)), t)
        for sign, quads in walk.sign_quads(t).items():
            if len(quads) == 1 and len(walk.signs[sign].lines[0]) > 12:
                if sign not in followed:
                    followed[sign] = quads[0]
                    stabiliser.add(sign, quads, step)
                elif sign in view.poses and view.poses[sign].state is PoseState.TRACKED:
                    label = transform(view.poses[sign].homography, followed[sign])
                    worst = max(worst, _slant(label) - _slant(quads[0]))
    assert len(followed) >= 3
    assert worst < 8


def _slant(quad: Quad) -> float:
    """Degrees by which the left edge of a quad leans away from upright on its top edge."""
    top, left = quad[1] - quad[0], quad[3] - quad[0]
    cosine = float(top @ left) / float(np.linalg.norm(top) * np.linalg.norm(left))
    return abs(90.0 - float(np.degrees(np.arccos(cosine))))


# The motion of the view ----------------------------------------------------------------------------------------------


def test_the_motion_of_the_view_is_measured_and_unknown_on_a_blank_wall() -> None:
    wall = _wall()
    stabiliser = InlineStabiliser()
    stabiliser.observe(0, _seen(wall, STILL), 0.0)
    motion = stabiliser.observe(1, _seen(wall, shift(-288, -154)), FRAME).motion
    assert motion is not None
    moved = transform(motion, np.array([[640.0, 360.0]]))[0]
    np.testing.assert_allclose(moved, [652, 356], atol=3)
    blank = np.full((720, 1280), 90, np.uint8)
    stabiliser.observe(2, blank, 2 * FRAME)
    assert stabiliser.observe(3, blank, 3 * FRAME).motion is None


def _turned(degrees: float, focal: float = 1000.0) -> Homography:
    angle = np.radians(degrees)
    camera = np.array([[focal, 0, 639.5], [0, focal, 359.5], [0, 0, 1]])
    rotation = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
    return camera @ rotation @ np.linalg.inv(camera) @ shift(-300, -150)


def _turn(step: int) -> float:
    """Degrees: at rest, then 180 degrees a second to the right, then at rest."""
    return min(max(6.0 * (step - 4), 0.0), 18.0)


def _gyro(step: int, rate: float, offset: float = 0.0) -> GyroSamples:
    times = step * FRAME - np.arange(6, -1, -1) / 200 + offset
    rates = np.zeros((7, 3))
    rates[:, 1] = rate
    return GyroSamples(times, rates)


@pytest.mark.parametrize("with_gyro", [True, False])
def test_a_glance_of_180_degrees_a_second_is_followed(with_gyro: bool) -> None:
    wall = Wall(2600, 1100)
    wall.sign("Saída de\nemergência", 900, 350)
    stabiliser, quads = _started(wall, _turned(0), focal_px=1000.0)
    for step in range(4, 12):
        gyro = _gyro(step, np.radians(180.0) if 5 <= step <= 7 else 0.0) if with_gyro else None
        view = stabiliser.observe(step, _seen(wall, _turned(_turn(step))), step * FRAME, gyro)
        assert _error(view, 0, quads[0], wall, _turned(_turn(step))) < 4
    assert view.poses[0].state is PoseState.TRACKED


def _nan_gyro(step: int) -> GyroSamples:
    return replace(_gyro(step, 0.0), rates=np.full((7, 3), np.nan))


@pytest.mark.parametrize(
    "gyro",
    [
        lambda step: _gyro(step, 3.0),
        lambda step: _gyro(step, 0.0, 0.02),
        lambda step: _gyro(-step, 0.5),
        _nan_gyro,
        lambda step: GyroSamples(np.zeros(0), np.zeros((0, 3))),
        lambda step: GyroSamples(np.zeros(3), np.zeros((2, 3))),
        lambda step: _gyro(step, 1e9),
    ],
    ids=["lies", "late", "backwards", "nan", "silent", "ragged", "huge"],
)
def test_a_gyro_that_lies_or_fails_does_not_move_a_sign(gyro: Callable[[int], GyroSamples]) -> None:
    wall = _wall()
    stabiliser, quads = _started(wall, focal_px=1000.0)
    for step in range(4, 12):
        homography = shift(-300 + 6 * np.sin(step), -150)
        view = stabiliser.observe(step, _seen(wall, homography), step * FRAME, gyro(step))
        assert view.poses[0].state is PoseState.TRACKED
        assert _error(view, 0, quads[0], wall, homography) < 0.5


# Losing and finding --------------------------------------------------------------------------------------------------


def _panning(step: int) -> Homography:
    """Away to the right until the signs are out of view, and back."""
    return shift(-300 - 50 * (step if step <= 26 else max(52 - step, 0)), -150)


def test_a_sign_that_leaves_is_lost_and_one_that_returns_is_found_again() -> None:
    wall = Wall(3200, 1100)
    wall.sign("Saída de\nemergência", 600, 350)
    stabiliser, quads = _started(wall)
    views = _play(stabiliser, [_seen(wall, _panning(step)) for step in range(1, 60)])
    assert views[3].poses[0].state is PoseState.TRACKED
    assert views[26].poses[0].state is PoseState.LOST
    assert views[-1].poses[0].state is PoseState.TRACKED
    assert _error(views[-1], 0, quads[0], wall, _panning(59)) < 1


def test_a_sign_that_is_covered_is_predicted_then_lost_and_found_when_it_is_uncovered() -> None:
    wall = _wall()
    stabiliser, quads = _started(wall)
    clear = _seen(wall, STILL)
    covered = clear.copy()
    covered[150:480, 250:800] = 128
    views = _play(stabiliser, [covered] * 30 + [clear] * 6)
    states = [view.poses[0].state for view in views]
    assert states[0] is PoseState.PREDICTED
    assert states[29] is PoseState.LOST
    assert states[-1] is PoseState.TRACKED
    assert _error(views[-1], 0, quads[0], wall, STILL) < 0.5


def test_a_lost_sign_that_comes_back_elsewhere_is_searched_for_and_found() -> None:
    wall = _wall()
    stabiliser, quads = _started(wall)
    dark = np.zeros((720, 1280), np.uint8)
    elsewhere = shift(-420, -60)
    views = _play(stabiliser, [dark] * 25 + [_seen(wall, elsewhere)] * 15)
    assert views[24].poses[0].state is PoseState.LOST
    assert views[-1].poses[0].state is PoseState.TRACKED
    assert _error(views[-1], 0, quads[0], wall, elsewhere) < 0.5


@pytest.mark.parametrize("grey", [0, 255])
def test_a_black_or_saturated_camera_is_never_a_measurement(grey: int) -> None:
    stabiliser, _ = _started(_wall())
    for view in _play(stabiliser, [np.full((720, 1280), grey, np.uint8)] * 15):
        assert view.poses[0].state is not PoseState.TRACKED


def test_pure_noise_is_never_a_measurement() -> None:
    stabiliser, _ = _started(_wall())
    noise = np.random.default_rng(3)
    for view in _play(stabiliser, [noise.integers(0, 256, (720, 1280), np.uint8) for _ in range(30)]):
        assert view.poses[0].state is not PoseState.TRACKED


def test_another_sign_in_the_same_place_is_never_taken_for_the_known_one() -> None:
    wall, other = _wall(), Wall(2000, 1100)
    other.sign("Cuidado com\no degrau alto", 600, 350)
    stabiliser, _ = _started(wall)
    for view in _play(stabiliser, [_seen(other, STILL)] * 30):
        assert view.poses[0].state is not PoseState.TRACKED


# Late results --------------------------------------------------------------------------------------------------------


def test_a_sign_found_in_an_old_frame_lands_where_it_is_now() -> None:
    wall = _wall()
    stabiliser = InlineStabiliser()
    quads = [transform(_swaying(5), quad) for quad in wall.quads[0]]
    for step in range(70):
        view = stabiliser.observe(step, _seen(wall, _swaying(step)), step * FRAME)
        if step == 65:
            stabiliser.add(7, quads, 5)
            wall.quads = {7: wall.quads[0]}  # type: ignore[assignment]  # the region's number is the sign's
    assert view.poses[7].state is PoseState.TRACKED
    assert view.poses[7].keyframe == 5
    assert _error(view, 7, quads, wall, _swaying(69)) < 1


def test_a_frame_that_is_no_longer_remembered_gives_no_pose() -> None:
    wall = _wall()
    luma = _seen(wall, STILL)
    stabiliser = InlineStabiliser()
    for step in range(REMEMBERED_FRAMES + 5):
        stabiliser.observe(step, luma, step * FRAME)
    stabiliser.add(1, [transform(STILL, quad) for quad in wall.quads[0]], 2)
    assert all(1 not in view.poses for view in _play(stabiliser, [luma] * 5, REMEMBERED_FRAMES + 5))


def test_a_region_followed_anew_keeps_its_old_pose_until_the_new_one_is_there() -> None:
    wall = _wall()
    stabiliser, quads = _started(wall)
    stabiliser.add(0, quads[0], 3)
    keyframes = [view.poses[0].keyframe for view in _play(stabiliser, [_seen(wall, STILL)] * 5)]
    assert keyframes[0] == 0
    assert keyframes[-1] == 3
    assert sorted(keyframes) == keyframes


def test_a_removed_region_is_followed_no_longer() -> None:
    wall = _wall()
    stabiliser, quads = _started(wall)
    stabiliser.remove(0)
    stabiliser.remove(99)
    (view,) = _play(stabiliser, [_seen(wall, STILL)])
    assert view.poses.keys() == {1}
    stabiliser.add(0, quads[0], 4)
    stabiliser.remove(0)  # while the mapper is at work on it
    assert all(view.poses.keys() == {1} for view in _play(stabiliser, [_seen(wall, STILL)] * 5, 5))


# Planes --------------------------------------------------------------------------------------------------------------


def _boards(offset: float) -> tuple[Luma, list[Quad], list[Quad]]:
    """Two boards that look like one sign; the lower one stands nearer and moves `offset` pixels more."""
    wall = Wall(1280, 720)
    (upper,) = wall.sign("Museu aberto", 300, 200)
    picture = wall.seen(np.eye(3)).copy()
    other = Wall(1280, 720)
    (lower,) = other.sign("Entrada livre", 300, 290)
    moved = other.seen(shift(offset, 0))
    x0 = round(float(lower[0, 0]) + offset)
    picture[285:380, max(x0 - 30, 0) : x0 + 420] = moved[285:380, max(x0 - 30, 0) : x0 + 420]
    return luma_of(picture), [upper], [lower + np.array([offset, 0], np.float32)]


def test_lines_laid_out_like_one_sign_begin_as_one_plane_and_part_when_they_move_apart() -> None:
    stabiliser = InlineStabiliser()
    picture, upper, lower = _boards(0)
    for step in range(4):
        stabiliser.observe(step, picture, step * FRAME)
        if step == 0:
            stabiliser.add(0, upper, 0)
            stabiliser.add(1, lower, 0)
    views = _play(stabiliser, [_boards(0.25 * step)[0] for step in range(80)])
    assert stabiliser.counters["split"] == 1
    _, _, there = _boards(0.25 * 79)
    # While they were one plane their shape was a compromise, and the slant of a single line cannot be told afterwards.
    assert errors_between(there[0], transform(views[-1].poses[1].homography, lower[0])) < 4
    assert errors_between(upper[0], transform(views[-1].poses[0].homography, upper[0])) < 4


# Refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((720, 1280), np.float32),
        np.zeros((360, 640), np.uint8),
        np.zeros((720, 1280, 3), np.uint8),
        np.zeros((720, 2560), np.uint8)[:, ::2],
        None,
    ],
    ids=["floats", "smaller", "colour", "gaps", "nothing"],
)
def test_what_is_no_frame_is_refused_and_nothing_is_lost(frame: Luma) -> None:
    wall = _wall()
    stabiliser, quads = _started(wall)
    with pytest.raises(FrameRefused):
        stabiliser.observe(4, frame, 4 * FRAME)
    (view,) = _play(stabiliser, [_seen(wall, STILL)], 4)
    assert _error(view, 0, quads[0], wall, STILL) < 0.5


@pytest.mark.parametrize(("frame_id", "captured"), [(3, 1.0), (9, 0.0), (9, np.nan), (9, -np.inf)])
def test_time_that_runs_backwards_is_refused(frame_id: int, captured: float) -> None:
    wall = _wall()
    stabiliser, _ = _started(wall)
    with pytest.raises(FrameRefused):
        stabiliser.observe(frame_id, _seen(wall, STILL), captured)


@pytest.mark.parametrize("size", [(8, 8), (4, 4000), (9000, 64)])
def test_a_size_that_cannot_be_followed_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(FrameRefused):
        InlineStabiliser().observe(0, np.zeros(size, np.uint8), 0.0)


def _quad(*corners: float) -> Quad:
    return np.array(corners, np.float32).reshape(4, 2)


@pytest.mark.parametrize(
    "quads",
    [
        [],
        [_quad(0, 0, 10, 0, 10, 0, 0, 0)],
        [_quad(100, 100, 200, 150, 200, 100, 100, 150)],
        [_quad(100, 100, 200, 100, np.nan, 150, 100, 150)],
        [_quad(-500, -500, -400, -500, -400, -450, -500, -450)],
        [_quad(2000, 100, 2100, 100, 2100, 150, 2000, 150)],
        [_quad(-1e8, 0, 1e8, 0, 1e8, 700, -1e8, 700)],
        [np.zeros((3, 2), np.float32)],
        [_quad(100, 100, 200, 100, 200, 150, 100, 150)] * 100,
    ],
    ids=["none", "line", "crossed", "nan", "left", "right", "huge", "triangle", "many"],
)
def test_a_quad_that_is_none_is_refused(quads: list[Quad]) -> None:
    stabiliser, _ = _started(_wall())
    with pytest.raises(RegionRefused):
        stabiliser.add(9, quads, 3)


def test_a_region_without_texture_never_gets_a_pose() -> None:
    stabiliser = InlineStabiliser()
    grey = np.full((720, 1280), 90, np.uint8)
    stabiliser.observe(0, grey, 0.0)
    stabiliser.add(1, [_quad(100, 100, 200, 100, 200, 150, 100, 150)], 0)
    assert all(1 not in view.poses for view in _play(stabiliser, [grey] * 5, 1))


def test_a_quad_partly_out_of_the_picture_and_dropped_frames_are_survived() -> None:
    wall = _wall()
    stabiliser, quads = _started(wall)
    stabiliser.add(5, [_quad(-60, 300, 200, 300, 200, 380, -60, 380)], 3)
    for step in (4, 5, 19, 20, 60, 61):
        view = stabiliser.observe(step, _seen(wall, shift(-300 + step / 6, -150)), step * FRAME)
    assert _error(view, 0, quads[0], wall, shift(-300 + 61 / 6, -150)) < 1


@pytest.mark.parametrize("size", [(640, 360), (1280, 720), (1920, 1080), (430, 322), (900, 1601)])
def test_any_usual_size_of_frames_is_followed(size: tuple[int, int]) -> None:
    wall = Wall(*size)
    (quad,) = wall.sign("Saída", size[0] // 4, size[1] // 4, size=size[0] // 24)
    luma = luma_of(wall.picture)
    stabiliser = InlineStabiliser()
    for step in range(8):
        moved = np.asarray(cv2.warpAffine(luma, np.float32([[1, 0, 2 * step], [0, 1, step]]), size), np.uint8)
        view = stabiliser.observe(step, moved, step * FRAME)
        if step == 0:
            stabiliser.add(1, [quad], 0)
    assert errors_between(quad + np.array([14, 7], np.float32), transform(view.poses[1].homography, quad)) < 1
