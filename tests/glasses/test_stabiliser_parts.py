"""The stabiliser's parts by themselves: gyro, grouping, sizes of frames, the picture that does not move."""

from __future__ import annotations

import numpy as np
import pytest

from glasses.camera import luma_of
from glasses.stabiliser import GyroSamples, PoseState
from glasses.stabiliser.alignment import align, assess
from glasses.stabiliser.grouping import corners_of, disagreement, group_by_layout, stretches, travel
from glasses.stabiliser.gyro import GyroBuffer
from glasses.stabiliser.inline import InlineStabiliser
from glasses.stabiliser.limits import GYRO_SAMPLES
from glasses.stabiliser.memory import Memory, memory_bytes
from glasses.stabiliser.planes import collect, judge, step
from glasses.stabiliser.pyramid import FrameGeometry
from glasses.stabiliser.still import StillStabiliser
from glasses.stabiliser.template import build
from glasses.stabiliser.view_rotation import gyro_rotation, view_homography, view_rotation
from glasses.stabiliser.warm import warm
from shared.errors import FrameRefused, RegionRefused
from simulations.scene import StreetWalk

pytestmark = pytest.mark.timeout(240)


def _rotation(axis: int, angle: float) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    c, s = np.cos(angle), np.sin(angle)
    i, j = ((1, 2), (2, 0), (0, 1))[axis]
    result = np.eye(3)
    result[i, i], result[i, j], result[j, i], result[j, j] = c, -s, s, c
    return result


def _steady(rate: float, axis: int = 1, start: float = 0.0, seconds: float = 0.1) -> GyroSamples:
    times = start + np.arange(0, seconds, 0.005)
    rates = np.zeros((len(times), 3))
    rates[:, axis] = rate
    return GyroSamples(times, rates)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_directions_turn_against_the_camera(axis: int) -> None:
    buffer = GyroBuffer()
    buffer.take(_steady(2.0, axis))
    result = np.zeros((3, 3))
    assert buffer.rotation(0.0123, 0.0456, result)
    np.testing.assert_allclose(result, _rotation(axis, -2.0 * 0.0333), atol=1e-9)


def test_the_offset_moves_the_readings_to_the_frames_clock() -> None:
    buffer = GyroBuffer(0.05)
    buffer.take(_steady(1.0))
    assert not buffer.rotation(0.0, 0.04, np.zeros((3, 3)))
    assert buffer.rotation(0.06, 0.1, np.zeros((3, 3)))


def test_a_gap_is_not_covered_and_a_single_missing_reading_is() -> None:
    whole = _steady(1.0)
    result = np.zeros((3, 3))
    gap = GyroBuffer()
    keep = (whole.times < 0.03) | (whole.times > 0.065)
    gap.take(GyroSamples(whole.times[keep], whole.rates[keep]))
    assert not gap.rotation(0.02, 0.06, result)
    missing = GyroBuffer()
    keep = np.arange(len(whole.times)) != 8
    missing.take(GyroSamples(whole.times[keep], whole.rates[keep]))
    assert missing.rotation(0.02, 0.06, result)
    np.testing.assert_allclose(result, _rotation(1, -0.04), atol=1e-9)


def test_what_is_no_reading_is_left_out_and_counted() -> None:
    buffer = GyroBuffer()
    good = _steady(1.0)
    times, rates = good.times.copy(), good.rates.copy()
    rates[3] = np.nan
    rates[5] = 1e6
    times[7] = np.inf
    times[9] = -1.0
    buffer.take(GyroSamples(times, rates))
    assert buffer.refused == 4
    result = np.zeros((3, 3))
    assert buffer.rotation(0.0, 0.09, result)
    np.testing.assert_allclose(result, _rotation(1, -0.09), atol=1e-9)


def test_memory_of_readings_is_bounded_and_keeps_the_newest() -> None:
    buffer = GyroBuffer()
    for start in range(30):
        buffer.take(_steady(float(start), start=0.1 * start))
    result = np.zeros((3, 3))
    assert buffer.rotation(2.95, 2.99, result)
    np.testing.assert_allclose(result, _rotation(1, -29 * 0.04), atol=1e-9)
    assert not buffer.rotation(0.0, 0.05, result)
    buffer.take(_steady(1.0, start=10.0, seconds=0.005 * (GYRO_SAMPLES + 50)))
    assert buffer.rotation(11.2, 11.5, result)


def _line(
    x: float, y: float, width: float = 100, height: float = 16, slope: float = 0.0
) -> np.ndarray[tuple[int, int, int], np.dtype[np.float64]]:
    quad = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], np.float64)
    quad[:, 1] += slope * (quad[:, 0] - x)
    return quad[None]


def test_regions_laid_out_like_one_sign_are_guessed_to_share_a_plane() -> None:
    groups = group_by_layout([_line(50, 50), _line(60, 75), _line(300, 50), _line(52, 100), _line(50, 300)])
    assert sorted(sorted(group) for group in groups) == [[0, 1, 3], [2], [4]]


@pytest.mark.parametrize(
    "other", [_line(50, 75, slope=0.1), _line(50, 75, height=40), _line(50, 100)], ids=["askew", "larger", "far"]
)
def test_regions_that_differ_are_not_guessed_to_share_a_plane(
    other: np.ndarray[tuple[int, int, int], np.dtype[np.float64]],
) -> None:
    assert sorted(group_by_layout([_line(50, 50), other])) == [[0], [1]]


def test_travel_is_nought_for_a_turn_and_the_share_of_the_distance_for_a_step() -> None:
    camera = np.array([[500, 0, 319.5], [0, 500, 179.5], [0, 0, 1.0]])
    back = np.linalg.inv(camera)
    assert travel(camera @ _rotation(1, 0.3) @ back, 500, 640, 360) < 1e-9
    step, normal = np.array([[0.2], [0], [0]]), np.array([[0, 0, 1 / 4.0]])
    moved = camera @ (_rotation(0, 0.2) @ (np.eye(3) + step @ normal)) @ back
    assert travel(moved, 500, 640, 360) == pytest.approx(0.05, rel=0.1)


def test_disagreement_is_in_pixels_and_stretches_are_ratios() -> None:
    box = _line(10, 10)[0]
    moved = np.array([[1, 0, 3], [0, 1, -4], [0, 0, 1.0]])
    assert disagreement(np.eye(3), moved, box) == pytest.approx(4)
    assert stretches(np.diag([2.0, 0.5, 1.0]), box) == pytest.approx((0.5, 2))
    x, y = box.mean(axis=0)
    tilted = np.array([[1, 0, 0], [0, 1, 0], [0.001, 0, 1.0]])
    w = 1 + 0.001 * x
    nearby = np.array([[x + 0.01, y]])
    moved = (corners_of(tilted, nearby) - corners_of(tilted, np.array([[x, y]])))[0] / 0.01
    assert float(np.linalg.norm(moved)) < stretches(tilted, box)[1] < 1 / w + 0.01


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (640, 480), (431, 323), (64, 64)])
def test_every_level_halves_without_a_rest(size: tuple[int, int]) -> None:
    geometry = FrameGeometry.of(*size)
    (w0, h0), (w1, h1), (w2, h2) = geometry.sizes
    assert (w0, h0) == (2 * w1, 2 * h1) == (4 * w2, 4 * h2)
    assert 0 <= size[0] - w0 * geometry.factor < 4 * geometry.factor
    point = np.array([[100.0, 50.0]])
    scaled = geometry.scaling @ np.array([100.0, 50.0, 1.0])
    np.testing.assert_allclose(geometry.to_working(point)[0], scaled[:2])


def test_memory_over_a_buffer_is_as_large_as_announced_and_shared() -> None:
    geometry = FrameGeometry.of(256, 192)
    buffer = bytearray(memory_bytes(geometry))
    one, other = Memory(geometry, memoryview(buffer)), Memory(geometry, memoryview(buffer))
    one.clear()
    one.planes.homography[3] = np.eye(3)
    np.testing.assert_array_equal(other.planes.homography[3], np.eye(3))
    with pytest.raises(ValueError, match="smaller"):
        Memory(geometry, memoryview(buffer)[:-64])


def test_in_a_picture_that_does_not_move_every_region_stays() -> None:
    still = StillStabiliser()
    picture = np.zeros((90, 120), np.uint8)
    still.observe(0, picture, 0.0)
    quad = np.array([[10, 10], [60, 10], [60, 30], [10, 30]], np.float32)
    still.add(1, [quad], 0)
    pose = still.observe(1, picture, 0.2).poses[1]
    assert pose.state is PoseState.TRACKED
    np.testing.assert_array_equal(pose.homography, np.eye(3))
    with pytest.raises(RegionRefused):
        still.add(2, [quad * np.nan], 1)
    with pytest.raises(FrameRefused):
        still.observe(1, picture, 0.3)
    still.remove(1)
    assert still.observe(2, picture, 0.4).poses == {}


def test_once_warm_nothing_is_compiled_any_more() -> None:
    warm()
    kernels = [step, collect, judge, align, assess, build, view_rotation, view_homography, gyro_rotation]
    compiled = {kernel.__name__: len(kernel.signatures) for kernel in kernels}  # type: ignore[attr-defined]  # Numba's
    assert all(compiled.values()), compiled
    walk = StreetWalk(seed=12)
    stabiliser = InlineStabiliser(focal_px=1000.0)
    for number in range(40):
        t = number / 15
        stabiliser.observe(number, luma_of(walk.render(t)), t, _steady(0.0, start=t - 0.06, seconds=0.06))
        if number in (0, 20):
            for sign, quads in walk.sign_quads(t).items():
                stabiliser.add(sign + number, quads, number)
    assert stabiliser.counters["followed"] >= 4
    assert compiled == {kernel.__name__: len(kernel.signatures) for kernel in kernels}  # type: ignore[attr-defined]  # Numba's
