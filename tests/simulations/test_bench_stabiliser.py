"""The stabiliser's bench measures what it says: known errors, known waits, perfect and wrong contenders."""

from __future__ import annotations

import argparse
import io
import json
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from glasses.stabiliser import GyroSamples, Luma, Pose, PoseState, View
from shared.errors import InputError, RegionRefused, UsageError
from shared.geometry import Quad
from simulations.bench.stabiliser import clips, command, contrib, contrib_worker
from simulations.bench.stabiliser.contenders import CONTENDERS, CameraFacts, Contender, GyroOnly, Stale, named
from simulations.bench.stabiliser.late import late_figures, late_readings
from simulations.bench.stabiliser.measures import (
    Figures,
    Recording,
    RegionTrack,
    measure,
    over_seeds,
    percentile,
    recovery_frames,
)
from simulations.bench.stabiliser.page import page
from simulations.bench.stabiliser.play import DETECTION_FRAMES, SETTLE_FRAMES, play
from simulations.bench.stabiliser.results import LateRow, Results, Row, series_of
from simulations.bench.stabiliser.tables import markdown
from simulations.bench.stabiliser.targets import verdicts
from simulations.bench.stabiliser.turns import turn_between
from simulations.sequences import FRAME_RATE, RegionTruth, SequenceFrame

# A made-up sequence: two signs that shift, no pictures to speak of --------------------------------------------------

STEP = np.array([3.0, 1.0], np.float32)
"""Pixels the whole view moves per frame."""


def _quad(x: float, y: float) -> Quad:
    return np.array([[x, y], [x + 80, y], [x + 80, y + 20], [x, y + 20]], np.float32)


SIGNS = {1: (_quad(100, 100), _quad(100, 130)), 2: (_quad(400, 300),)}
SILENT = GyroSamples(np.empty(0), np.empty((0, 3)))


def _frames(count: int, hidden: dict[int, set[int]] | None = None) -> list[SequenceFrame]:
    """Frames in which sign k is hidden in the frames `hidden[k]`."""
    hidden = hidden or {}
    frames = []
    for index in range(count):
        regions = {
            sign: RegionTruth(tuple(line + STEP * index for line in lines), index not in hidden.get(sign, set()))
            for sign, lines in SIGNS.items()
        }
        luma = np.zeros((36, 64), np.uint8)
        frames.append(SequenceFrame(index, index / FRAME_RATE, luma, SILENT, regions))
    return frames


class Shifting:
    """A contender that knows how the view moves, and is wrong by so many pixels a frame since the keyframe."""

    def __init__(self, drift: float = 0.0, offset: float = 0.0, lost: Sequence[int] = ()) -> None:
        self.drift = drift
        self.offset = offset
        self.lost = set(lost)
        self.added: dict[int, tuple[int, int]] = {}
        self.newest = -1
        self.quads: dict[int, tuple[Quad, ...]] = {}

    def observe(self, frame_id: int, luma: Luma, captured: float, gyro: GyroSamples | None = None) -> View:
        self.newest = frame_id
        poses = {}
        for region, (keyframe, _) in self.added.items():
            passed = frame_id - keyframe
            homography = np.eye(3)
            homography[:2, 2] = STEP * passed + [self.offset + self.drift * passed, 0]
            state = PoseState.LOST if frame_id in self.lost else PoseState.TRACKED
            poses[region] = Pose(homography, state, 1.0, keyframe)
        return View(frame_id, captured, poses)

    def add(self, region_id: int, quads: Sequence[Quad], frame_id: int) -> None:
        self.added[region_id] = (frame_id, self.newest)
        self.quads[region_id] = tuple(quads)

    def remove(self, region_id: int) -> None:
        self.added.pop(region_id, CameraFacts())


def _contender(stabiliser: Any, **options: Any) -> Contender:
    return Contender("fake", "a fake", lambda camera: nullcontext(stabiliser), **options)


# Figures of known numbers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([3, 1, 2], 50, 2),
        ([1, 2, 3, 4], 50, 2),
        ([1, 2, 3, 4], 100, 4),
        ([1, math.inf, math.inf], 50, math.inf),
        ([1, 2, math.inf], 50, 2),
        ([5], 99, 5),
    ],
)
def test_percentiles_are_values_that_occur_and_bear_infinity(
    values: list[float], percent: float, expected: float
) -> None:
    assert percentile(values, percent) == expected


def test_a_percentile_of_nothing_is_not_a_number() -> None:
    assert math.isnan(percentile([], 50))


def _track(distances: Sequence[float | None], visible: Sequence[int] | None = None) -> RegionTrack:
    """One line, off to the right by so much in each frame; None for lost."""
    count = len(distances)
    offsets = np.zeros((count, 1, 4, 2), np.float32)
    offsets[..., 0] = np.array([np.nan if d is None else d for d in distances])[:, None, None]
    offsets[np.isnan(offsets[..., 0])] = np.nan
    seen = np.ones(count, np.bool_) if visible is None else np.array(visible, np.bool_)
    return RegionTrack(offsets, seen, np.ones(count, np.bool_), np.array([d is not None for d in distances]))


def _recording(*tracks: RegionTrack, cpu: Sequence[float] | None = None) -> Recording:
    count = len(tracks[0].visible)
    times = np.full(count, 1e-3) if cpu is None else np.array(cpu)
    return Recording(0.1, times, 2 * times, np.full(count, 5e-4), np.zeros(count), dict(enumerate(tracks)))


def test_errors_shares_and_sure_mistakes_are_counted_over_all_samples() -> None:
    figures = measure(_recording(_track([1, 1, 1, 4.5, 20]), _track([2, 2, None, None, None])))
    assert figures.samples == 10
    assert figures.error_median == 2
    assert figures.error_p95 == math.inf
    assert figures.under_4 == pytest.approx(0.5)
    assert figures.under_5 == pytest.approx(0.6)
    assert figures.wrong == pytest.approx(0.1)


def test_what_cannot_be_seen_or_does_not_count_yet_is_no_sample() -> None:
    track = _track([1, 50, 1, 50, 50], visible=[1, 0, 1, 1, 1])
    figures = measure(_recording(replace(track, measured=np.array([1, 1, 1, 0, 0], np.bool_))))
    assert figures.samples == 2
    assert figures.error_p95 == 1


def test_the_error_is_the_mean_distance_of_the_corners() -> None:
    offsets = np.zeros((1, 1, 4, 2), np.float32)
    offsets[0, 0, 0] = [3, 4]
    offsets[0, 0, 1] = [0, 3]
    ones = np.ones(1, np.bool_)
    assert RegionTrack(offsets, ones, ones, ones).errors()[0, 0] == pytest.approx(2.0)


def test_jitter_is_the_change_of_the_error_and_not_the_error() -> None:
    assert measure(_recording(_track([7, 7, 7, 7]))).jitter == 0
    assert measure(_recording(_track([7, 7.5, 7, None, 3]))).jitter == pytest.approx(0.5)


def test_times_leave_out_the_first_frame_and_are_compared_with_the_floor() -> None:
    figures = measure(_recording(_track([0] * 5), cpu=[9.0, 1e-3, 2e-3, 3e-3, 4e-3]))
    assert (figures.cpu_p50, figures.cpu_p99, figures.cpu_max) == pytest.approx((2, 4, 4))
    assert figures.wall_p50 == pytest.approx(4)
    assert figures.ratio == pytest.approx(4)


AWAY = [1, 1] + [0] * 5


@pytest.mark.parametrize(
    ("errors", "visible", "expected"),
    [
        ([0] * 10, AWAY + [1] * 3, [0]),
        ([0] * 7 + [9, 9, 0], AWAY + [1] * 3, [2]),
        ([0] * 7 + [None, 1, 1], AWAY + [1] * 3, [1]),
        ([0] * 7 + [9] * 15, AWAY + [1] * 15, [math.inf]),
        ([0] * 7 + [9] * 14, AWAY + [1] * 14, []),
        ([0] * 10, [1, 1, 1, 0, 0, 0, 0, 1, 1, 1], []),
        ([0] * 20, (AWAY + [1] * 3) * 2, [0, 0]),
    ],
    ids=["at once", "after two", "lost first", "never", "gone too soon", "away too short", "twice"],
)
def test_a_return_takes_until_the_label_is_close_again(
    errors: list[float | None], visible: list[int], expected: list[float]
) -> None:
    assert recovery_frames(_track(errors[: len(visible)], visible)) == expected


def test_waits_are_in_seconds_and_never_counts_in_the_median() -> None:
    returned = _track([0] * 7 + [9, 9] + [0] * 13, AWAY + [1] * 15)
    lost = _track([0] * 7 + [9] * 15, AWAY + [1] * 15)
    figures = measure(_recording(returned, lost, lost))
    assert figures.recovery_max == pytest.approx(0.2)
    assert figures.recovery_median == math.inf
    assert figures.unrecovered == 2


def test_a_sign_that_went_before_it_was_followed_is_not_waited_for() -> None:
    track = _track([0] * 10, AWAY + [1] * 3)
    assert recovery_frames(replace(track, measured=np.arange(10) >= 7)) == []


def test_seeds_are_joined_by_medians_and_the_worst_maximum() -> None:
    one = measure(_recording(_track([1] * 4), cpu=[0, 1e-3, 1e-3, 1e-3]))
    two = measure(_recording(_track([2] * 4), cpu=[0, 2e-3, 2e-3, 9e-3]))
    three = measure(_recording(_track([None] * 4), cpu=[0, 3e-3, 3e-3, 3e-3]))
    joined = over_seeds([replace(one, counters={"split": 1}), replace(two, counters={"split": 2, "merged": 1}), three])
    assert joined.error_median == 2
    assert joined.cpu_p50 == pytest.approx(2)
    assert joined.cpu_max == pytest.approx(9)
    assert joined.samples == 12
    assert joined.counters == {"split": 3, "merged": 1}


# A run --------------------------------------------------------------------------------------------------------------


def test_a_perfect_contender_has_no_error() -> None:
    figures = measure(play(_frames(20), _contender(Shifting()), CameraFacts()))
    assert figures.samples == 3 * 19
    assert figures.error_p95 == pytest.approx(0, abs=1e-3)
    assert figures.under_4 == 1
    assert figures.wrong == 0
    assert figures.floor > 0


def test_a_wrong_contender_has_its_error_and_is_sure_and_wrong() -> None:
    figures = measure(play(_frames(20), _contender(Shifting(offset=12)), CameraFacts()))
    assert figures.error_median == pytest.approx(12, abs=1e-3)
    assert figures.under_5 == 0
    assert figures.wrong == 1


def test_drift_shows_as_jitter() -> None:
    figures = measure(play(_frames(20), _contender(Shifting(drift=0.25)), CameraFacts()))
    assert figures.jitter == pytest.approx(0.25, abs=1e-3)


def test_lost_frames_of_visible_signs_are_misses() -> None:
    figures = measure(play(_frames(21), _contender(Shifting(lost=range(11, 16))), CameraFacts()))
    assert figures.under_4 == pytest.approx(0.75)
    assert figures.wrong == 0


def test_a_sign_that_appears_is_added_late_with_its_quads_of_then_and_counts_after_a_while() -> None:
    stabiliser = Shifting()
    recording = play(_frames(40, {2: set(range(8))}), _contender(stabiliser), CameraFacts())
    assert stabiliser.added == {1: (0, 0), 2: (8, 8 + DETECTION_FRAMES)}
    np.testing.assert_array_equal(stabiliser.quads[2][0], SIGNS[2][0] + STEP * 8)
    assert np.flatnonzero(recording.tracks[2].measured)[0] == 8 + DETECTION_FRAMES + SETTLE_FRAMES
    assert np.flatnonzero(recording.tracks[1].measured)[0] == 1
    assert measure(recording).error_p95 == pytest.approx(0, abs=1e-3)


def test_who_cannot_go_back_is_given_the_newest_frame() -> None:
    stabiliser = Shifting()
    recording = play(_frames(40, {2: set(range(8)) | {13, 14}}), _contender(stabiliser, goes_back=False), CameraFacts())
    assert stabiliser.added[2] == (15, 15)
    np.testing.assert_array_equal(stabiliser.quads[2][0], SIGNS[2][0] + STEP * 15)
    assert measure(recording).error_p95 == pytest.approx(0, abs=1e-3)


def test_each_line_can_be_a_region_of_its_own() -> None:
    stabiliser = Shifting()
    figures = measure(play(_frames(20), _contender(stabiliser, per_line=True), CameraFacts()))
    assert len(stabiliser.added) == 3
    assert all(len(quads) == 1 for quads in stabiliser.quads.values())
    assert figures.samples == 3 * 19
    assert figures.error_p95 == pytest.approx(0, abs=1e-3)


def test_a_hidden_sign_is_no_sample_and_its_return_is_timed() -> None:
    frames = _frames(40, {1: set(range(10, 20))})
    figures = measure(play(frames, _contender(Shifting(lost=range(18, 23))), CameraFacts()))
    assert figures.samples == 2 * 29 + 39
    assert figures.recovery_max == pytest.approx(3 / FRAME_RATE)


class Refusing(Shifting):
    """A contender that refuses the first sign."""

    def add(self, region_id: int, quads: Sequence[Quad], frame_id: int) -> None:
        if region_id == 1:
            raise RegionRefused("no")
        super().add(region_id, quads, frame_id)


def test_a_refused_sign_is_missed() -> None:
    figures = measure(play(_frames(20), _contender(Refusing()), CameraFacts()))
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
    figures = measure(play(_frames(10), _contender(stabiliser), CameraFacts()))
    assert stabiliser.worked == 10
    assert figures.worker_mean == pytest.approx(2)
    assert figures.counters == {"split": 4}


class OtherProcess(Shifting):
    """A contender that measures itself."""

    observe_cpu = 0.007
    observe_wall = 0.009


def test_a_contender_in_another_process_is_timed_by_itself() -> None:
    figures = measure(play(_frames(10), _contender(OtherProcess()), CameraFacts()))
    assert (figures.cpu_max, figures.wall_max) == pytest.approx((7, 9))


def test_the_gyro_is_only_for_those_that_take_it() -> None:
    class Listening(Shifting):
        heard: list[bool] = []  # noqa: RUF012 - a fake's

        def observe(self, frame_id: int, luma: Luma, captured: float, gyro: GyroSamples | None = None) -> View:
            self.heard.append(gyro is not None)
            return super().observe(frame_id, luma, captured, gyro)

    stabiliser = Listening()
    play(_frames(3), _contender(stabiliser), CameraFacts())
    play(_frames(2), _contender(stabiliser, gyro=True), CameraFacts())
    assert stabiliser.heard == [False] * 3 + [True] * 2


# Late readings ------------------------------------------------------------------------------------------------------


def test_late_readings_are_where_the_contender_puts_them_when_they_appear() -> None:
    readings = late_readings(_frames(100), _contender(Shifting(drift=0.5)), CameraFacts(), 0.5)
    assert len(readings) == 6
    assert all(reading.frames == 1 for reading in readings)
    # 15 frames late, and one more to appear in.
    assert late_figures(readings).error_median == pytest.approx(8, abs=1e-2)


def test_without_correction_a_late_reading_is_off_by_what_the_view_moved() -> None:
    figures = late_figures(late_readings(_frames(100), _contender(Stale()), CameraFacts(), 1.0))
    assert figures.error_median == pytest.approx(31 * float(np.hypot(*STEP)), abs=1e-2)
    assert figures.under_4 == 0


def test_a_late_reading_that_never_appears_is_a_miss() -> None:
    figures = late_figures(late_readings(_frames(100), _contender(Shifting(lost=range(100))), CameraFacts(), 0.2))
    assert figures.count > 0
    assert figures.error_median == math.inf
    assert figures.frames_max == math.inf


def test_a_sign_that_is_not_in_sight_then_and_now_is_no_late_reading() -> None:
    readings = late_readings(_frames(100, {1: set(range(0, 100, 10))}), _contender(Shifting()), CameraFacts(), 0.5)
    assert len(readings) == 3


# The gyro alone -----------------------------------------------------------------------------------------------------


def test_a_camera_that_turns_right_sees_the_world_go_left() -> None:
    times = np.arange(7) / 200
    gyro = GyroSamples(times, np.tile([0.0, 3.0, 0.0], (7, 1)))
    homography = turn_between(gyro, 0.0, 1 / 30, 1000.0, (1280, 720))
    middle = homography @ [639.5, 359.5, 1]
    np.testing.assert_allclose(middle[:2] / middle[2], [639.5 - 1000 * np.tan(0.1), 359.5], atol=1e-6)


def test_the_gyro_alone_carries_a_region_from_its_frame_to_the_newest() -> None:
    stabiliser = GyroOnly(1000.0)
    luma = np.zeros((720, 1280), np.uint8)
    turning = np.tile([0.0, 0.3, 0.0], (2, 1))
    for index in range(4):
        gyro = GyroSamples(np.array([(index - 1) / 30, (index - 0.5) / 30]), turning)
        view = stabiliser.observe(index, luma, index / 30, gyro)
        if index == 2:
            stabiliser.add(5, [_quad(0, 0)], 1)
    middle = view.poses[5].homography @ [639.5, 359.5, 1]
    assert middle[0] / middle[2] == pytest.approx(639.5 - 1000 * math.tan(2 * 0.01), abs=1e-6)


# Reports ------------------------------------------------------------------------------------------------------------


def _results() -> Results:
    good, bad = _contender(Shifting()), _contender(Shifting(offset=12), gyro=True)
    results = Results("a machine", (1,), 1.0, skipped={"KCF": "not <here>"})
    for contender in (good, bad):
        recording = play(_frames(40, {1: set(range(10, 20))}), contender, CameraFacts())
        results.rows.append(
            Row("read", contender.name, f"gyro {contender.gyro}", contender.gyro, measure(recording), "spared")
        )
        results.series.append(series_of(recording, "read", contender.name, contender.title, 1))
    readings = late_readings(_frames(100), bad, CameraFacts(), 2.0)
    results.late.append(LateRow("read", "fake", "late", 2.0, late_figures(readings)))
    return results


def test_the_tables_say_which_targets_are_met_and_which_are_missed() -> None:
    text = markdown(_results())
    assert "Skipped: KCF (not <here>)." in text
    good, bad = (line for line in text.splitlines() if line.startswith("| read | gyro"))
    assert "met (0.00) | met (100.0 %) | met (0.00)" in good
    assert "**missed** (12.00) | **missed** (0.0 %) | **missed** (∞)" in bad
    assert "| read | late | **missed** (12.00) | **missed** (0.0 %) |" in text


def test_without_the_gyro_less_is_asked_for() -> None:
    figures = replace(measure(_recording(_track([0] * 4))), under_4=0.95)
    assert [verdict.met for verdict in verdicts(figures, gyro=True)][4] is False
    assert [verdict.met for verdict in verdicts(figures, gyro=False)][4] is True


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert verdicts(measure(_recording(_track([0] * 4))), gyro=True)[5].met is None


def test_the_file_of_figures_is_json() -> None:
    text = json.dumps(_results().as_json(), allow_nan=False)
    rows = json.loads(text)["rows"]
    assert rows[0]["figures"]["under_4"] == 1
    assert rows[1]["figures"]["waits"] == ["inf"]
    assert rows[0]["figures"]["worker_mean"] is None


def test_the_page_needs_nothing_else_and_its_plots_are_well_formed() -> None:
    text = page(_results())
    assert "&lt;here&gt;" in text

    class References(HTMLParser):
        found: list[str] = []  # noqa: RUF012 - of one page

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found.extend(name for name, _ in attrs if name in ("src", "href"))

    parser = References()
    parser.feed(text)
    assert parser.found == []
    plots = [part.partition("</svg>")[0] + "</svg>" for part in text.split("<svg")[1:]]
    assert len(plots) == 2
    for plot in plots:
        lines = [path for path in ElementTree.fromstring("<svg" + plot).iter("path") if path.get("fill") == "none"]
        assert len(lines) == 2


def test_the_error_over_time_is_infinite_where_signs_are_lost_and_nothing_where_none_is_visible() -> None:
    hidden = {1: set(range(5, 8)), 2: set(range(5, 8))}
    recording = play(_frames(12, hidden), _contender(Shifting(lost=[9])), CameraFacts())
    error = series_of(recording, "read", "fake", "a fake", 1).error
    assert math.isnan(error[6])
    assert math.isinf(error[9])
    assert error[10] == pytest.approx(0, abs=1e-3)


# The command line ---------------------------------------------------------------------------------------------------


def _arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    return parser.parse_args(["stabiliser", *words])


def test_quick_is_one_seed_and_nothing_slow() -> None:
    plan = command.plan_of(_arguments("--quick"))
    assert len(plan.seeds) == 1
    assert plan.seconds < command.SECONDS
    assert {contender.name for contender in plan.contenders} == {"ours-gyro", "ours", "lk"}
    assert plan.late == ()


def test_late_readings_replace_the_main_table_or_are_added_to_it() -> None:
    only = command.plan_of(_arguments("--late"))
    assert only.contenders == ()
    assert "stale" in {contender.name for contender in only.late}
    assert command.plan_of(_arguments("--late", "also")).contenders == CONTENDERS


@pytest.mark.parametrize(
    "words", [("--sequences", "nowhere"), ("--seeds", "few"), ("--contenders", "lk,nobody")], ids=lambda words: words[0]
)
def test_unknown_names_are_refused(words: tuple[str, str]) -> None:
    with pytest.raises(UsageError):
        command.plan_of(_arguments(*words))


def test_seeds_have_names_and_numbers() -> None:
    assert command.seeds_of("7,8") == (7, 8)
    assert not set(command.seeds_of("tuning")) & set(command.seeds_of("reporting"))


def test_without_opencv_contrib_its_trackers_are_skipped_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(contrib.FOLDER_VARIABLE, str(tmp_path))
    plan = command.Plan(("read",), (11,), 0.5, tuple(named(["kcf", "csrt", "medianflow"])))
    results = command.run(plan)
    assert results.rows == []
    assert len(results.skipped) == 3
    assert all("make bench-stabiliser" in reason for reason in results.skipped.values())


def test_contenders_play_a_real_sequence_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    words = ("--sequences", "read", "--seeds", "11", "--seconds", "0.5", "--contenders", "lk,stale")
    assert command.body(_arguments(*words, "--json", str(figures), "--html", str(tmp_path / "page.html"))) == 0
    lk, stale = json.loads(figures.read_text())["rows"]
    assert lk["figures"]["error_median"] < 1
    assert lk["figures"]["error_median"] < stale["figures"]["error_median"]
    assert "### Targets" in capsys.readouterr().out
    assert (tmp_path / "page.html").stat().st_size > 1000


# The child process --------------------------------------------------------------------------------------------------


class BoxTracker:
    """Behaves like a tracker of OpenCV: the box goes to the right by 2 px a frame and grows; lost at the fourth."""

    def init(self, picture: Luma, box: tuple[int, int, int, int]) -> None:
        self.box = box
        self.updates = 0

    def update(self, picture: Luma) -> tuple[bool, tuple[float, ...]]:
        self.updates += 1
        if self.updates == 5:
            raise cv2.error("gone")
        x, y, width, height = self.box
        return self.updates < 4, (x + 2.0 * self.updates, y, width * (1 + self.updates), height)


def test_the_child_answers_each_order_with_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contrib_worker, "_tracker", lambda kind: BoxTracker())
    frame = b'{"frame": [30, 40]}\n' + bytes(30 * 40)
    orders = [
        b'{"add": "5", "box": [0, 0, 10, 10]}\n',
        frame,
        b'{"add": "6", "box": [-5, 2, 20, 10]}\n',
        b'{"add": "7", "box": [39, 2, 20, 10]}\n',
        *[frame] * 5,
        b'{"remove": "6"}\n',
        frame,
    ]
    answers = io.BytesIO()
    contrib_worker.serve("medianflow", io.BytesIO(b"".join(orders)), answers)
    before, empty, clipped, outside, first, _, third, lost, failed, removed, last = map(
        json.loads, answers.getvalue().splitlines()
    )
    assert before == {"added": False}
    assert empty["boxes"] == {}
    assert clipped == {"added": True, "box": [0, 2, 15, 10]}
    assert outside == {"added": False}
    assert first["boxes"] == {"6": [2.0, 2.0, 30.0, 10.0]}
    assert third["boxes"]["6"][0] == 6
    assert first["cpu"] >= 0
    assert lost["boxes"] == failed["boxes"] == {}
    assert removed == {}
    assert last["boxes"] == {}


# Clips --------------------------------------------------------------------------------------------------------------


class ThereAndBack(Shifting):
    """Knows that the clip turns around, and drifts all the way."""

    def __init__(self, last: int, drift: float = 0.0) -> None:
        super().__init__()
        self.last = last
        self.wrong_by = drift

    def observe(self, frame_id: int, luma: Luma, captured: float, gyro: GyroSamples | None = None) -> View:
        view = super().observe(frame_id if frame_id <= self.last else 2 * self.last - frame_id, luma, captured, gyro)
        for pose in view.poses.values():
            pose.homography[0, 2] += self.wrong_by * frame_id
        return view


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Twelve frames, 320 pixels across."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    wall = np.random.default_rng(3).integers(0, 255, (240, 400, 3), np.uint8)
    for index in range(12):
        writer.write(np.ascontiguousarray(wall[:, index : index + 320]))
    writer.release()
    return path


def test_a_perfect_tracker_is_consistent_and_returns(video: Path) -> None:
    contender = _contender(ThereAndBack(11))
    (row,) = clips.run(video, ["10,10,90,10,90,40,10,40"], [contender], math.inf, None).rows
    assert row.figures.apart_p95 == pytest.approx(0, abs=1e-3)
    assert row.figures.return_error == pytest.approx(0, abs=1e-3)
    assert row.figures.lost == 0


def test_a_drifting_tracker_is_apart_by_its_drift(video: Path) -> None:
    clip = clips.read_clip(video, math.inf)
    figures = clips.there_and_back(clip.lumas, [(_quad(100, 100),)], clip.rate, _contender(ThereAndBack(11, 0.5)))
    # Frame i is seen at steps i and 22 - i: 1 px apart for each frame between i and the end; the median i is 6.
    assert figures.apart_p50 == pytest.approx(5, abs=1e-2)
    assert figures.return_error == pytest.approx(11, abs=1e-2)


def test_a_tracker_that_loses_a_sign_never_returns(video: Path) -> None:
    clip = clips.read_clip(video, math.inf)
    stabiliser = Shifting(lost=range(12, 100))
    figures = clips.there_and_back(clip.lumas, [(_quad(100, 100),)], clip.rate, _contender(stabiliser))
    assert figures.return_error == math.inf
    assert figures.lost == pytest.approx(11 / 22)
    assert math.isnan(figures.apart_p50)


def test_a_clip_is_scaled_and_its_quads_with_it(video: Path) -> None:
    clip = clips.read_clip(video, 0.5)
    assert len(clip.lumas) == 5
    assert clip.lumas[0].shape == (960, 1280)
    np.testing.assert_allclose(clips.parse_quad("0,0,9.5,0,9.5,5,0,5", clip.scale)[1], [39.5, 1.5])


@pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d,e,f,g,h", ""])
def test_what_is_no_quad_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        clips.parse_quad(text, 1.0)


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        clips.read_clip(tmp_path / "none.mp4", 1.0)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(InputError):
        clips.read_clip(tmp_path / "text.mp4", 1.0)


def test_the_figures_of_a_clip_are_a_table(video: Path) -> None:
    results = clips.run(video, ["10,10,90,10,90,40,10,40"], [_contender(ThereAndBack(11))], math.inf, CameraFacts())
    assert "| a fake |" in clips.markdown(results)
    json.dumps(clips.as_json(results), allow_nan=False)


def test_figures_are_named_in_their_docstring() -> None:
    documented = Figures.__doc__ or ""
    assert [name for name in Figures.__dataclass_fields__ if name not in documented] == []
