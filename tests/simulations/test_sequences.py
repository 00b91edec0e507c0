"""Sequences show what their truth says, and turn as their gyro says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest

from glasses.stabiliser import GyroSamples
from glasses.stabiliser.gyro import GyroBuffer
from shared.geometry import Homography, Quad
from simulations.scene import HEIGHT, WIDTH
from simulations.sequences import FRAME_RATE, REPORTING_SEEDS, TUNING_SEEDS
from simulations.sequences.camera import MOST_STEPS, Camera, Painter, Sensor, gains
from simulations.sequences.catalogue import NAMES, WorldSequence, sequence
from simulations.sequences.gyro import BIAS_DEG_S, gaps, nan_bursts, offset
from simulations.sequences.motion import Vector
from simulations.sequences.surfaces import Grey

SEED = TUNING_SEEDS[0]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


@cache
def drawn_once(name: str) -> WorldSequence:
    """Ten seconds of a sequence; building its world takes a while."""
    return sequence(name, SEED)


def painter(drawn: WorldSequence) -> Painter:
    return Painter(drawn.camera, drawn.world, drawn.trajectory)


def turn_rates(drawn: WorldSequence, seconds: float) -> Vector:
    """Speed of the head in degrees a second, every 10 ms from the start."""
    rotations = drawn.trajectory.at(np.arange(0.0, seconds, 0.01))[0]
    turned = np.einsum("nij,nkj->nik", rotations[1:], rotations[:-1])
    cosines = (np.trace(turned, axis1=1, axis2=2) - 1) / 2
    return np.asarray(np.degrees(np.arccos(np.clip(cosines, -1, 1))) / 0.01)


def fastest(drawn: WorldSequence, seconds: float) -> float:
    """When the head turns fastest, in seconds."""
    return float(np.argmax(turn_rates(drawn, seconds)) * 0.01 + 0.005)


def misplacements(drawn: WorldSequence, when: float, camera: Camera | None = None) -> Vector:
    """Pixels by which what is seen at the corners of lines is off what the truth says, (n,).

    The first and last letters of every line of fair size are drawn again where the truth (that of `camera`, if given)
    says they are, from the texture of their board, four times as fine; then they are aligned with the frame.
    """
    frame = painter(drawn).instant(when)
    found = []
    for region, truth in drawn.truth(when).items():
        sign = drawn.world.signs[region]
        board = drawn.world.boards[sign.board]
        for seen, line in zip(truth.lines, sign.lines, strict=True):
            scale = float(np.linalg.norm(seen[3] - seen[0]) / np.linalg.norm(line[3] - line[0]))
            if not truth.visible or np.linalg.norm(seen[3] - seen[0]) < 20:
                continue
            for corner in range(4):
                inward = np.sign(line[(corner + 2) % 4] - line[corner])
                square = line[corner] + inward * np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * 28 / scale
                shown = (camera or drawn.camera).see(board, square, drawn.trajectory, when)[0].astype(np.float32)
                if camera is None:
                    assert np.abs(shown[0] - seen[corner]).max() < 1e-3
                here = np.asarray(cv2.getPerspectiveTransform(square.astype(np.float32), shown), np.float64)
                shift = _shift(frame, board.levels[0][0], here, shown)
                if shift is not None:
                    found.append(shift)
    return np.array(found)


def _shift(frame: Grey, texture: Grey, mapping: Homography, quad: Quad) -> float | None:
    """Pixels between a patch of the frame and the same drawn from a texture; None where there is little to align."""
    left, top = np.floor(quad.min(axis=0)).astype(int) - 3
    right, below = np.ceil(quad.max(axis=0)).astype(int) + 4
    if left < 0 or top < 0 or right > WIDTH or below > HEIGHT:
        return None
    finer = np.array([[4, 0, 1.5 - 4 * left], [0, 4, 1.5 - 4 * top], [0, 0, 1]])
    drawn = cv2.warpPerspective(texture, finer @ mapping, (4 * int(right - left), 4 * int(below - top)))
    drawn = cv2.resize(drawn, (int(right - left), int(below - top)), interpolation=cv2.INTER_AREA)
    if float(cv2.cornerMinEigenVal(drawn, 15)[5:-5, 5:-5].mean()) < 2e-3:
        return None
    warp = np.eye(2, 3, dtype=np.float32)
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 60, 1e-6)
    patch = frame[top:below, left:right]
    try:
        cv2.findTransformECC(drawn, patch, warp, cv2.MOTION_TRANSLATION, stop, np.empty(0, np.uint8), 5)
    except cv2.error:
        return float("inf")  # not the same picture
    return float(np.hypot(warp[0, 2], warp[1, 2]))


def test_seeds_for_tuning_and_for_reporting_are_kept_apart() -> None:
    assert not set(TUNING_SEEDS) & set(REPORTING_SEEDS)


def test_the_same_seed_draws_the_same_frames_with_any_number_of_threads() -> None:
    cv2.setNumThreads(1)
    first = list(sequence("occlusion", SEED, 0.07).frames())
    cv2.setNumThreads(2)
    again = list(sequence("occlusion", SEED, 0.07).frames())
    assert len(first) == 2
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.luma, b.luma)
        assert np.array_equal(a.gyro.rates, b.gyro.rates)
        assert a.regions.keys() == b.regions.keys()
        assert all(np.array_equal(a.regions[r].lines, b.regions[r].lines) for r in a.regions)


def test_frames_can_be_gone_through_again_and_a_short_sequence_starts_a_long_one() -> None:
    short, long = sequence("walk", SEED, 0.07), drawn_once("walk")
    assert (len(short), len(long)) == (2, 300)
    frames = list(short.frames())
    for frame, same, longer in zip(frames, short.frames(), long.frames(), strict=False):
        assert np.array_equal(frame.luma, same.luma)
        assert np.array_equal(frame.luma, longer.luma)
        assert np.array_equal(frame.gyro.rates, longer.gyro.rates)
    assert [frame.frame_id for frame in frames] == [0, 1]
    assert np.allclose(np.diff([frame.captured for frame in frames]), 1 / FRAME_RATE)


def test_another_seed_is_another_world() -> None:
    one, other = (next(drawn.frames()).luma for drawn in (drawn_once("read"), sequence("read", TUNING_SEEDS[1])))
    assert one.shape == (HEIGHT, WIDTH)
    assert one.dtype == np.uint8
    assert np.abs(one.astype(int) - other).mean() > 10


def test_what_there_is_no_sequence_of_is_refused() -> None:
    with pytest.raises(ValueError, match="no sequence 'swim'"):
        sequence("swim", SEED)
    for seconds in (0.0, 1000.0):
        with pytest.raises(ValueError, match="between one frame"):
            sequence("read", SEED, seconds)


@pytest.mark.parametrize("name", ["read", "side", "exit"])
def test_a_world_has_signs_at_many_depths_most_in_view_and_two_on_one_plane(name: str) -> None:
    drawn = drawn_once(name)
    planes = list(drawn.planes.values())
    assert set(drawn.planes) == set(drawn.world.signs)
    assert len(planes) == len(set(planes)) + 1
    assert 5 <= len(set(planes)) <= 7
    truth = drawn.truth(drawn.captured(0))
    visible = [region for region, sign in truth.items() if sign.visible]
    assert len(drawn.planes) > len(visible) >= 4
    depths = [float(drawn.world.boards[plane].points(np.zeros((1, 2)), np.zeros(1))[0, 2]) for plane in planes]
    assert max(depths) > 1.8 * min(depths)


def test_the_truth_is_where_the_pixels_are() -> None:
    drawn = drawn_once("walk")
    off = np.concatenate([misplacements(drawn, when) for when in (0.05, 2.0, 4.0)])
    assert len(off) > 20
    assert np.median(off) < 0.05
    assert np.quantile(off, 0.95) < 0.2


def test_the_truth_is_where_a_rolling_shutter_shows_it() -> None:
    drawn = drawn_once("rolling")
    when = fastest(drawn, 3.0)
    off = misplacements(drawn, when)
    assert len(off) > 8
    assert np.median(off) < 0.1
    assert np.quantile(off, 0.95) < 0.4
    # A truth for a global shutter would be wrong by far.
    assert np.median(misplacements(drawn, when, replace(drawn.camera, readout_s=0.0))) > 1.0


def test_the_truth_is_where_the_lens_shows_it() -> None:
    drawn = drawn_once("lens")
    off = np.concatenate([misplacements(drawn, when) for when in (0.05, fastest(drawn, 4.0))])
    assert len(off) > 12
    assert np.median(off) < 0.05
    assert np.quantile(off, 0.95) < 0.2
    assert np.median(misplacements(drawn, 0.05, replace(drawn.camera, k1=0.0))) > 1.0


def test_the_lens_bends_and_unbends() -> None:
    camera = Camera(k1=-0.08, k2=0.01)
    pixels = np.array([[0.0, 0.0], [WIDTH, HEIGHT], [640.0, 360.0], [100.0, 500.0]])
    assert np.allclose(camera.bend(camera.unbend(pixels)), pixels, atol=1e-6)
    # A sign far to the side must not come back into the frame, as the polynomial alone would have it.
    beyond = camera.bend(np.array([[3.5, 0.0], [8.0, 0.0]]))
    assert (beyond[:, 0] > WIDTH).all()


def test_motion_blurs_frames_and_is_centred_on_the_capture() -> None:
    drawn = drawn_once("fast")
    turning, resting = fastest(drawn, 4.0), 0.3
    assert painter(drawn).steps(turning) == MOST_STEPS
    assert painter(drawn).steps(resting) <= 2
    sharp, blurred = painter(drawn).instant(turning), painter(drawn).exposed(turning)
    detail = [cv2.Sobel(picture.astype(np.float32), cv2.CV_32F, 1, 0).std() for picture in (sharp, blurred)]
    assert detail[1] < 0.6 * detail[0]
    soft = [cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 12) for picture in (sharp, blurred)]
    shift, _ = cv2.phaseCorrelate(soft[0], soft[1], cv2.createHanningWindow((WIDTH, HEIGHT), cv2.CV_32F))
    assert abs(shift[0]) < 0.5  # of 30 px of blur


def test_a_sign_behind_the_passer_by_is_not_visible() -> None:
    drawn = drawn_once("occlusion")
    open_world = replace(drawn.world, passer=None)
    covered: dict[bool, list[float]] = {True: [], False: []}
    for when in np.arange(0.5, 10.0, 0.5):
        truth = drawn.truth(float(when))
        inside = {region: sign for region, sign in truth.items() if _within(sign.lines)}
        if all(sign.visible for sign in inside.values()):
            continue
        frame = painter(drawn).instant(float(when))
        alone = Painter(drawn.camera, open_world, drawn.trajectory).instant(float(when))
        for sign in inside.values():
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            for quad in sign.lines:
                cv2.fillConvexPoly(mask, quad.round().astype(np.int32), 1)
            covered[sign.visible].append(float((frame != alone)[mask > 0].mean()))
    assert len(covered[False]) > 2
    assert len(covered[True]) > 2
    assert min(covered[False]) > 0.2
    assert max(covered[True]) < 0.3


def test_the_passer_by_hides_a_sign_for_a_while_only() -> None:
    drawn = drawn_once("occlusion")
    views = [drawn.truth(drawn.captured(frame)) for frame in range(0, len(drawn), 3)]
    inside = {region for region, sign in views[0].items() if sign.visible}
    inside = {region for region in inside if all(_within(view[region].lines) for view in views)}
    seen = {region: [view[region].visible for view in views] for region in inside}
    assert len(seen) >= 3
    assert sum(any(times) and not all(times) for times in seen.values()) >= 2
    assert all(np.mean(times) > 0.5 for times in seen.values())


def _within(lines: tuple[Quad, ...]) -> bool:
    return all(bool(((quad > 0) & (quad < [WIDTH - 1, HEIGHT - 1])).all()) for quad in lines)


def test_signs_leave_the_view_and_come_back() -> None:
    drawn = drawn_once("exit")
    views = [drawn.truth(drawn.captured(frame)) for frame in range(0, len(drawn), 3)]
    longest = {}
    for region, sign in views[0].items():
        if not sign.visible:
            continue
        seen = "".join("v" if region in view and view[region].visible else "." for view in views)
        absences = [len(absence) for absence in seen.strip(".").split("v") if absence]
        longest[region] = max(absences, default=0) * 3 / FRAME_RATE
    assert sum(1.0 <= seconds <= 3.5 for seconds in longest.values()) >= 3


@pytest.mark.parametrize(("name", "peak"), [("read", 0), ("turn", 90), ("fast", 180)])
def test_the_head_turns_as_fast_as_its_sequence_says(name: str, peak: float) -> None:
    sway = 15.0  # degrees a second on top
    assert abs(turn_rates(drawn_once(name), 10.0).max() - peak) < sway


def test_the_head_steps_aside_and_walks_on() -> None:
    times = np.arange(0.0, 10.0, 0.01)
    aside = drawn_once("side").trajectory.at(times)[1]
    assert np.ptp(aside[:, 0]) == pytest.approx(1.4, abs=0.15)
    assert np.ptp(aside[:, 2]) < 0.2
    ahead = drawn_once("walk").trajectory.at(times)[1]
    assert 2.8 < ahead[-1, 2] - ahead[0, 2] < 4.2


@pytest.mark.parametrize("name", ["fast", "rolling"])
def test_the_gyro_turns_as_the_head_does(name: str) -> None:
    drawn = drawn_once(name)
    gyro = [drawn.gyro(frame) for frame in range(len(drawn))]
    for frame, samples in enumerate(gyro):
        assert (samples.times <= drawn.captured(frame)).all()
        assert (samples.times > drawn.captured(frame) - 1 / FRAME_RATE - 1e-9).all()
    times = np.concatenate([samples.times for samples in gyro])
    assert np.allclose(np.diff(times), 1 / 200)
    middle = round(fastest(drawn, 4.0) * FRAME_RATE)
    buffer, start, end = GyroBuffer(), drawn.captured(middle - 15), drawn.captured(middle + 15)
    for samples in gyro[middle - 16 : middle + 18]:
        buffer.take(samples)
    turned = np.zeros((3, 3))
    assert buffer.rotation(start, end, turned)
    before, after = drawn.trajectory.at(np.array([start, end]))[0]
    error = np.degrees(np.linalg.norm(cv2.Rodrigues(turned @ (after @ before.T).T)[0]))
    # Bias on three axes for a second, and a little for noise.
    assert error < BIAS_DEG_S * np.sqrt(3) * (end - start) + 0.05
    assert np.degrees(np.linalg.norm(cv2.Rodrigues(after @ before.T)[0])) > 5


def test_noise_grows_with_the_light_and_gain_scales_it() -> None:
    camera = Camera(read_noise=3.0, shot_noise=0.2, brightness=0.5)
    sensor = Sensor(camera, np.random.default_rng(1))
    for level, gain in ((60.0, 1.0), (200.0, 1.0), (200.0, 1.5)):
        shown = sensor.expose(np.full((HEIGHT, WIDTH), level, np.float32), gain)
        signal = level * gain * camera.brightness
        assert shown.mean() == pytest.approx(signal, abs=0.2)
        assert shown.std() == pytest.approx(np.sqrt(9 + 0.2 * signal), rel=0.03)


def test_the_exposure_jumps_and_settles() -> None:
    times = np.arange(300) / FRAME_RATE
    factor = gains(np.random.default_rng(SEED), times)
    assert np.abs(np.diff(factor)).max() > 0.15
    assert (factor > 0.5).all()
    assert (factor < 1.6).all()
    assert np.median(np.abs(factor - 1)) < 0.15


def test_spoiled_readings() -> None:
    samples = GyroSamples(np.arange(0.5, 2.5, 0.005), np.ones((400, 3)))
    holed = gaps(samples, every_s=1.0, lasting_s=0.1)
    assert len(holed.times) == len(holed.rates) == 360
    assert np.diff(holed.times).max() == pytest.approx(0.105)
    assert not ((holed.times > 0.999) & (holed.times < 1.099)).any()
    late = offset(samples, 0.02)
    assert np.array_equal(late.rates, samples.rates)
    assert np.allclose(late.times - samples.times, 0.02)
    broken = nan_bursts(samples, every_s=1.0, lasting_s=0.1)
    assert np.isnan(broken.rates).all(axis=1).sum() == 40
    assert np.array_equal(broken.times, samples.times)
    assert np.isfinite(samples.rates).all()  # the originals are left as they were
    buffer = GyroBuffer()
    buffer.take(broken)
    assert buffer.refused == 40


def test_there_are_the_sequences_the_benches_ask_for() -> None:
    assert set(NAMES) >= {"read", "walk", "turn", "fast", "side", "occlusion", "lowlight", "rolling", "lens", "exit"}


@pytest.mark.parametrize("name", NAMES)
def test_a_first_frame_shows_signs(name: str) -> None:
    frame = next(drawn_once(name).frames())
    assert frame.luma.shape == (HEIGHT, WIDTH) == (720, 1280)
    assert frame.luma.dtype == np.uint8
    assert frame.luma.std() > 15
    assert sum(region.visible for region in frame.regions.values()) >= 3
