"""The stabiliser's bench on clips, which have no truth: there and back again."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from bench_stabiliser_kit import Shifting, contender_of, quad_at

from glasses.stabiliser import GyroSamples, Luma, View
from shared.errors import InputError, UsageError
from simulations.bench.stabiliser import clips
from simulations.bench.stabiliser.contenders import CameraFacts


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
    contender = contender_of(ThereAndBack(11))
    (row,) = clips.run(video, ["10,10,90,10,90,40,10,40"], [contender], math.inf, None).rows
    assert row.figures.apart_p95 == pytest.approx(0, abs=1e-3)
    assert row.figures.return_error == pytest.approx(0, abs=1e-3)
    assert row.figures.lost == 0


def test_a_drifting_tracker_is_apart_by_its_drift(video: Path) -> None:
    clip = clips.read_clip(video, math.inf)
    figures = clips.there_and_back(clip.lumas, [(quad_at(100, 100),)], clip.rate, contender_of(ThereAndBack(11, 0.5)))
    # Frame i is seen at steps i and 22 - i: 1 px apart for each frame between i and the end; the median i is 6.
    assert figures.apart_p50 == pytest.approx(5, abs=1e-2)
    assert figures.return_error == pytest.approx(11, abs=1e-2)


def test_a_tracker_that_loses_a_sign_never_returns(video: Path) -> None:
    clip = clips.read_clip(video, math.inf)
    stabiliser = Shifting(lost=range(12, 100))
    figures = clips.there_and_back(clip.lumas, [(quad_at(100, 100),)], clip.rate, contender_of(stabiliser))
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
    results = clips.run(video, ["10,10,90,10,90,40,10,40"], [contender_of(ThereAndBack(11))], math.inf, CameraFacts())
    assert "| a fake |" in clips.markdown(results)
    json.dumps(clips.as_json(results), allow_nan=False)
