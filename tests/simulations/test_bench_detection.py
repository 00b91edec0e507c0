"""The detection bench counts a line as found only when one detection is that line."""

from __future__ import annotations

import numpy as np
import pytest

from shared.geometry import Quad
from shared.models.detection import DetectedLine, TextDetector
from shared.models.packs import PackStore
from simulations.bench.detection import HEIGHTS_PX, SIDES, covers, measure, render_wall


def box(x0: float, y0: float, x1: float, y1: float) -> Quad:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)


@pytest.mark.parametrize(
    ("quad", "found"),
    [
        (box(95, 48, 305, 72), True),
        (box(95, 48, 200, 72), False),
        (box(95, 0, 305, 120), False),
        (box(95, 80, 305, 104), False),
    ],
)
def test_a_detection_must_be_the_line_and_not_its_half_or_its_neighbourhood(quad: Quad, found: bool) -> None:
    assert covers(DetectedLine(quad, 0.9), box(100, 50, 300, 70)) is found


def test_a_wall_has_signs_of_different_heights_that_do_not_touch() -> None:
    wall, truth = render_wall(np.random.default_rng(1))
    assert wall.shape == (1080, 1920, 3)
    heights = [height for height, _ in truth]
    assert len(set(heights)) == len(heights) > 5
    for height, quad in truth:
        assert float(quad[2, 1] - quad[0, 1]) == pytest.approx(height, abs=1)


def test_readable_text_is_found_at_every_size(pack_store: PackStore) -> None:
    tallies = measure(TextDetector.load(pack_store.get("ocr-tiny-det")), walls=2, seed=3)
    assert set(tallies) == set(SIDES)
    for tally in tallies.values():
        assert len(tally.milliseconds) == 2
        hits = [hit for height in HEIGHTS_PX if 28 <= height <= 90 for hit in tally.found[height]]
        assert sum(hits) >= 0.8 * len(hits) > 0
