"""The stabiliser's bench plays a sequence to perfect and to wrong contenders, and reads it to them late."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from bench_stabiliser_kit import SIGNS, STEP, Shifting, contender_of, made_up_frames

from glasses.stabiliser import GyroSamples, Luma, View
from shared.errors import RegionRefused
from shared.geometry import Quad
from simulations.bench.stabiliser.contenders import CameraFacts, Stale
from simulations.bench.stabiliser.late import late_figures, late_readings
from simulations.bench.stabiliser.measures import measure
from simulations.bench.stabiliser.play import DETECTION_FRAMES, SETTLE_FRAMES, play
from simulations.sequences import FRAME_RATE


def test_a_perfect_contender_has_no_error() -> None:
    figures = measure(play(made_up_frames(20), contender_of(Shifting()), CameraFacts()))
    assert figures.samples == 3 * 19
    assert figures.error_p95 == pytest.approx(0, abs=1e-3)
    assert figures.under_4 == 1
    assert figures.wrong == 0
    assert figures.floor > 0


def test_a_wrong_contender_has_its_error_and_is_sure_and_wrong() -> None:
    figures = measure(play(made_up_frames(20), contender_of(Shifting(offset=12)), CameraFacts()))
    assert figures.error_median == pytest.approx(12, abs=1e-3)
    assert figures.under_5 == 0
    assert figures.wrong == 1


def test_drift_shows_as_jitter() -> None:
    figures = measure(play(made_up_frames(20), contender_of(Shifting(drift=0.25)), CameraFacts()))
    assert figures.jitter == pytest.approx(0.25, abs=1e-3)


def test_lost_frames_of_visible_signs_are_misses() -> None:
    figures = measure(play(made_up_frames(21), contender_of(Shifting(lost=range(11, 16))), CameraFacts()))
    assert figures.under_4 == pytest.approx(0.75)
    assert figures.wrong == 0


def test_a_sign_that_appears_is_added_late_with_its_quads_of_then_and_counts_after_a_while() -> None:
    stabiliser = Shifting()
    recording = play(made_up_frames(40, {2: set(range(8))}), contender_of(stabiliser), CameraFacts())
    assert stabiliser.added == {1: (0, 0), 2: (8, 8 + DETECTION_FRAMES)}
    np.testing.assert_array_equal(stabiliser.quads[2][0], SIGNS[2][0] + STEP * 8)
    assert np.flatnonzero(recording.tracks[2].measured)[0] == 8 + DETECTION_FRAMES + SETTLE_FRAMES
    assert np.flatnonzero(recording.tracks[1].measured)[0] == 1
    assert measure(recording).error_p95 == pytest.approx(0, abs=1e-3)


def test_who_cannot_go_back_is_given_the_newest_frame() -> None:
    stabiliser = Shifting()
    recording = play(
        made_up_frames(40, {2: set(range(8)) | {13, 14}}), contender_of(stabiliser, goes_back=False), CameraFacts()
    )
    assert stabiliser.added[2] == (15, 15)
    np.testing.assert_array_equal(stabiliser.quads[2][0], SIGNS[2][0] + STEP * 15)
    assert measure(recording).error_p95 == pytest.approx(0, abs=1e-3)


def test_each_line_can_be_a_region_of_its_own() -> None:
    stabiliser = Shifting()
    figures = measure(play(made_up_frames(20), contender_of(stabiliser, per_line=True), CameraFacts()))
    assert len(stabiliser.added) == 3
    assert all(len(quads) == 1 for quads in stabiliser.quads.values())
    assert figures.samples == 3 * 19
    assert figures.error_p95 == pytest.approx(0, abs=1e-3)


def test_a_hidden_sign_is_no_sample_and_its_return_is_timed() -> None:
    frames = made_up_frames(40, {1: set(range(10, 20))})
    figures = measure(play(frames, contender_of(Shifting(lost=range(18, 23))), CameraFacts()))
    assert figures.samples == 2 * 29 + 39
    assert figures.recovery_max == pytest.approx(3 / FRAME_RATE)


class Refusing(Shifting):
    """A contender that refuses the first sign."""

    def add(self, region_id: int, quads: Sequence[Quad], frame_id: int) -> None:
        if region_id == 1:
            raise RegionRefused("no")
        super().add(region_id, quads, frame_id)


def test_a_refused_sign_is_missed() -> None:
    figures = measure(play(made_up_frames(20), contender_of(Refusing()), CameraFacts()))
    assert figures.refused == 1
    assert figures.under_4 == pytest.approx(1 / 3)


class Working(Shifting):
    """A contender with work beside the frame path."""

    counters = {"split": 4}  # noqa: RUF012 - a fake's
    worked = 0

    def run_mapper(self) -> float:
        self.worked += 1
        return 0.002


def test_work_beside_the_frame_path_is_counted_apart() -> None:
    stabiliser = Working()
    figures = measure(play(made_up_frames(10), contender_of(stabiliser), CameraFacts()))
    assert stabiliser.worked == 10
    assert figures.worker_mean == pytest.approx(2)
    assert figures.counters == {"split": 4}


class OtherProcess(Shifting):
    """A contender that measures itself."""

    observe_cpu = 0.007
    observe_wall = 0.009


def test_a_contender_in_another_process_is_timed_by_itself() -> None:
    figures = measure(play(made_up_frames(10), contender_of(OtherProcess()), CameraFacts()))
    assert (figures.cpu_max, figures.wall_max) == pytest.approx((7, 9))


def test_the_gyro_is_only_for_those_that_take_it() -> None:
    class Listening(Shifting):
        heard: list[bool] = []  # noqa: RUF012 - a fake's

        def observe(self, frame_id: int, luma: Luma, captured: float, gyro: GyroSamples | None = None) -> View:
            self.heard.append(gyro is not None)
            return super().observe(frame_id, luma, captured, gyro)

    stabiliser = Listening()
    play(made_up_frames(3), contender_of(stabiliser), CameraFacts())
    play(made_up_frames(2), contender_of(stabiliser, gyro=True), CameraFacts())
    assert stabiliser.heard == [False] * 3 + [True] * 2


# Late readings ------------------------------------------------------------------------------------------------------


def test_late_readings_are_where_the_contender_puts_them_when_they_appear() -> None:
    readings = late_readings(made_up_frames(100), contender_of(Shifting(drift=0.5)), CameraFacts(), 0.5)
    assert len(readings) == 6
    assert all(reading.frames == 1 for reading in readings)
    # 15 frames late, and one more to appear in.
    assert late_figures(readings).error_median == pytest.approx(8, abs=1e-2)


def test_without_correction_a_late_reading_is_off_by_what_the_view_moved() -> None:
    figures = late_figures(late_readings(made_up_frames(100), contender_of(Stale()), CameraFacts(), 1.0))
    assert figures.error_median == pytest.approx(31 * float(np.hypot(*STEP)), abs=1e-2)
    assert figures.under_4 == 0


def test_a_late_reading_that_never_appears_is_a_miss() -> None:
    figures = late_figures(
        late_readings(made_up_frames(100), contender_of(Shifting(lost=range(100))), CameraFacts(), 0.2)
    )
    assert figures.count > 0
    assert figures.error_median == math.inf
    assert figures.frames_max == math.inf


def test_a_sign_that_is_not_in_sight_then_and_now_is_no_late_reading() -> None:
    readings = late_readings(
        made_up_frames(100, {1: set(range(0, 100, 10))}), contender_of(Shifting()), CameraFacts(), 0.5
    )
    assert len(readings) == 3
