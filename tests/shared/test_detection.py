"""Detection: lines where the text is, ordered as they are read."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pictures_kit import box, line_of, paper, paste

from shared.errors import InputError, PackUnsupported
from shared.geometry import ImageBgr, Quad
from shared.models.detection import DetectedLine, TextDetector, reading_corners, reading_order
from shared.models.packs import PackStore
from shared.models.recognition import TextRecogniser
from shared.models.rectify import rectify


@pytest.fixture(scope="module")
def detector(pack_store: PackStore) -> TextDetector:
    return TextDetector.load(pack_store.get("ocr-tiny-det"))


@pytest.fixture(scope="module")
def recogniser(pack_store: PackStore) -> TextRecogniser:
    return TextRecogniser.load(pack_store.get("ocr-tiny-rec"))


def overlap(first: Quad, second: Quad) -> float:
    """Intersection over union of two convex quads."""
    inside, _ = cv2.intersectConvexConvex(first, second)
    return inside / (cv2.contourArea(first) + cv2.contourArea(second) - inside)


def texts(picture: ImageBgr, lines: list[DetectedLine], recogniser: TextRecogniser) -> list[str]:
    crops = [rectify(picture, line.quad)[0] for line in lines]
    return [recognition.text for recognition in recogniser.recognise(crops)]


@pytest.mark.parametrize("degrees", [-35.0, -12.0, 0.0, 8.0, 40.0])
def test_a_line_is_found_where_it_is_drawn_and_its_corners_are_in_reading_order(
    detector: TextDetector, degrees: float
) -> None:
    line = line_of("BIBLIOTECA", height=40)
    drawn = box((320, 240), line.shape[1], line.shape[0], degrees)
    (found,) = detector.detect(paste(paper(640, 480), line, drawn), longest_side=640)
    assert overlap(found.quad, drawn) > 0.6
    assert np.abs(found.quad - drawn).max() < 20
    assert 0.4 <= found.confidence <= 1.0


def test_lines_come_in_reading_order_and_can_be_read(detector: TextDetector, recogniser: TextRecogniser) -> None:
    picture = paper(800, 480)
    for text, center in {
        "Museu Nacional": (260, 100),
        "Entrada": (180, 230),
        "Saída": (560, 240),
        "Estacionamento": (300, 380),
    }.items():
        line = line_of(text, height=56)
        picture = paste(picture, line, box(center, line.shape[1], line.shape[0]))
    lines = detector.detect(picture, longest_side=800)
    assert texts(picture, lines, recogniser) == ["Museu Nacional", "Entrada", "Saída", "Estacionamento"]


def test_text_that_runs_downwards_is_read_downwards(detector: TextDetector, recogniser: TextRecogniser) -> None:
    line = line_of("HOTEL CENTRAL", height=48)
    drawn = box((200, 300), line.shape[1], line.shape[0], 90.0)
    picture = paste(paper(400, 600), line, drawn)
    lines = detector.detect(picture, longest_side=608)
    assert np.abs(lines[0].quad - drawn).max() < 20
    assert texts(picture, lines, recogniser) == ["HOTEL CENTRAL"]


def test_the_scale_the_network_works_at_does_not_move_the_lines(detector: TextDetector) -> None:
    line = line_of("FARMÁCIA", height=80)
    drawn = box((500, 300), line.shape[1], line.shape[0])
    picture = paste(paper(1000, 600), line, drawn)
    (small,) = detector.detect(picture, longest_side=512)
    (large,) = detector.detect(picture, longest_side=960)
    assert overlap(small.quad, large.quad) > 0.8


@pytest.mark.parametrize("shape", [(480, 640), (7, 900), (900, 5), (1, 1)])
def test_an_empty_picture_of_any_shape_has_no_lines(detector: TextDetector, shape: tuple[int, int]) -> None:
    assert detector.detect(paper(shape[1], shape[0])) == []


def test_quads_stay_inside_the_picture(detector: TextDetector) -> None:
    line = line_of("CORTADO", height=60)
    picture = paste(paper(300, 100), line, box((20, 50), line.shape[1], line.shape[0]))
    lines = detector.detect(picture, longest_side=320)
    assert lines
    for found in lines:
        assert found.quad.dtype == np.float32
        assert found.quad.min() >= 0
        assert (found.quad.max(axis=0) <= (299, 99)).all()


@pytest.mark.parametrize(
    "picture",
    [np.zeros((40, 100), np.uint8), np.zeros((40, 100, 4), np.uint8), np.zeros((0, 0, 3), np.uint8)],
)
def test_only_bgr_pictures_with_pixels_are_taken(detector: TextDetector, picture: ImageBgr) -> None:
    with pytest.raises(InputError):
        detector.detect(picture)


@pytest.mark.parametrize("side", [0, -5, 31, 100_000])
def test_a_side_out_of_range_is_refused(detector: TextDetector, side: int) -> None:
    with pytest.raises(InputError, match="longest_side"):
        detector.detect(paper(100, 100), longest_side=side)


def test_a_pack_for_another_task_is_refused(pack_store: PackStore) -> None:
    with pytest.raises(PackUnsupported, match="not detection"):
        TextDetector.load(pack_store.get("ocr-tiny-rec"))


def test_blobs_become_grown_rectangles(detector: TextDetector) -> None:
    probability = np.zeros((64, 128), np.float32)
    probability[20:31, 30:91] = 0.9  # centres 60 x 10 apart
    (line,) = detector.lines(probability, 128, 64)
    distance = 60 * 10 * 1.4 / (2 * (60 + 10))
    left, top = 30 - distance, 20 - distance
    np.testing.assert_allclose(line.quad[0], [left, top], atol=0.1)
    np.testing.assert_allclose(line.quad[2], [90 + distance, 30 + distance], atol=0.1)
    assert line.confidence == pytest.approx(0.9, abs=0.01)


def test_faint_and_tiny_blobs_are_no_lines(detector: TextDetector) -> None:
    probability = np.zeros((64, 128), np.float32)
    probability[5:15, 5:60] = 0.3
    probability[40:42, 5:60] = 0.9
    assert detector.lines(probability, 128, 64) == []


@pytest.mark.parametrize("degrees", [-80.0, -60.0, -30.0, 0.0, 30.0, 60.0])
@pytest.mark.parametrize("start", [0, 1, 2, 3])
@pytest.mark.parametrize("step", [1, -1])
def test_corners_start_at_the_top_left_as_read(degrees: float, start: int, step: int) -> None:
    quad = box((100, 100), 80, 20, degrees if degrees > -70 else 90.0)
    shuffled = np.roll(quad, start, axis=0)[::step]
    np.testing.assert_array_equal(reading_corners(np.ascontiguousarray(shuffled)), quad)


def test_a_row_that_slopes_is_one_row() -> None:
    centers = [(300, 112), (100, 100), (200, 106), (100, 140), (280, 150)]
    lines = [DetectedLine(box(center, 60, 24), 0.9) for center in centers]
    ordered = [tuple(line.quad.mean(axis=0).round().tolist()) for line in reading_order(lines)]
    assert ordered == [(100, 100), (200, 106), (300, 112), (100, 140), (280, 150)]
