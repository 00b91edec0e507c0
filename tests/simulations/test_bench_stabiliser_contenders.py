"""Contenders the stabiliser is compared with: the gyro alone, and OpenCV's trackers in a child process."""

from __future__ import annotations

import io
import json
import math

import cv2
import numpy as np
import pytest
from bench_stabiliser_kit import quad_at

from glasses.stabiliser import GyroSamples, Luma
from simulations.bench.stabiliser import contrib_worker
from simulations.bench.stabiliser.contenders import GyroOnly
from simulations.bench.stabiliser.turns import turn_between


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
            stabiliser.add(5, [quad_at(0, 0)], 1)
    middle = view.poses[5].homography @ [639.5, 359.5, 1]
    assert middle[0] / middle[2] == pytest.approx(639.5 - 1000 * math.tan(2 * 0.01), abs=1e-6)


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
