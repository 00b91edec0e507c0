"""Strips: the line lies straight, upright as read, where the inner quad says."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pictures_kit import box, line_of, paper, paste

from shared.errors import InputError
from shared.geometry import ImageBgr, Quad
from shared.models.rectify import as_read, crop_inner, rectify


def likeness(first: ImageBgr, second: ImageBgr) -> float:
    """Normalised cross-correlation of two pictures scaled to one size."""
    second = cv2.resize(second, (first.shape[1], first.shape[0]))
    return float(np.corrcoef(first.ravel().astype(float), second.ravel().astype(float))[0, 1])


@pytest.fixture(scope="module")
def line() -> ImageBgr:
    return line_of("Saída 24", height=64)


@pytest.mark.parametrize("degrees", [-170.0, -60.0, -20.0, 0.0, 15.0, 44.0])
def test_a_turned_line_comes_out_straight(line: ImageBgr, degrees: float) -> None:
    quad = box((300, 300), line.shape[1], line.shape[0], degrees)
    strip, inner = rectify(paste(paper(600, 600), line, quad), quad)
    assert likeness(line, strip) > 0.95
    height, width = strip.shape[:2]
    np.testing.assert_allclose(inner, [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], atol=0.01)


def test_a_straight_line_is_cut_out_unchanged(line: ImageBgr) -> None:
    canvas = paper(600, 200)
    rows, columns = line.shape[:2]
    canvas[50 : 50 + rows, 70 : 70 + columns] = line
    corners: Quad = np.array([[70, 50], [69 + columns, 50], [69 + columns, 49 + rows], [70, 49 + rows]], np.float32)
    strip, _ = rectify(canvas, corners)
    assert abs(strip.shape[0] - rows) <= 1
    assert likeness(line, strip) > 0.98


def test_vertical_text_is_laid_on_its_side(line: ImageBgr) -> None:
    downwards = np.rot90(line, -1)
    tall = box((150, 300), downwards.shape[1], downwards.shape[0])
    picture = paste(paper(300, 600), np.ascontiguousarray(downwards), tall)
    strip, inner = rectify(picture, tall)
    assert strip.shape[1] > strip.shape[0]
    assert likeness(line, strip) > 0.95
    np.testing.assert_array_equal(as_read(tall)[0], tall[1])
    np.testing.assert_allclose(inner[0], [0, 0], atol=0.01)


def test_a_wide_quad_is_read_as_it_is() -> None:
    quad = box((50, 50), 60, 41)
    np.testing.assert_array_equal(as_read(quad), quad)


def test_the_margin_shows_what_is_around_the_line(line: ImageBgr) -> None:
    quad = box((300, 100), line.shape[1], line.shape[0], 5.0)
    picture = paste(paper(600, 200), line, quad)
    bare, _ = rectify(picture, quad)
    strip, inner = rectify(picture, quad, margin=0.25)
    assert strip.shape[0] == bare.shape[0] + 2 * round(0.25 * bare.shape[0])
    # One grey level: the fixed-point weights of the interpolation depend on where the strip begins.
    assert np.abs(crop_inner(strip, inner).astype(int) - bare).max() <= 1


def test_a_line_at_the_edge_of_the_picture_keeps_its_place(line: ImageBgr) -> None:
    quad = box((line.shape[1] / 2, line.shape[0] / 2), line.shape[1], line.shape[0])
    strip, inner = rectify(paste(paper(600, 200), line, quad), quad, margin=0.5)
    assert likeness(line, crop_inner(strip, inner)) > 0.95


@pytest.mark.parametrize(("max_height", "max_width"), [(32, None), (None, 100), (32, 100)])
def test_a_large_strip_is_scaled_down_to_its_caps(
    line: ImageBgr, max_height: int | None, max_width: int | None
) -> None:
    quad = box((300, 100), line.shape[1], line.shape[0])
    picture = paste(paper(600, 200), line, quad)
    strip, inner = rectify(picture, quad, margin=0.2, max_height=max_height, max_width=max_width)
    assert strip.shape[0] <= (max_height or 10_000)
    assert strip.shape[1] <= (max_width or 10_000)
    assert likeness(line, crop_inner(strip, inner)) > 0.7


def test_a_slanted_line_inside_a_strip_is_straightened(line: ImageBgr) -> None:
    quad = box((300, 100), line.shape[1], line.shape[0], 10.0)
    assert likeness(line, crop_inner(paste(paper(600, 200), line, quad), quad)) > 0.95


@pytest.mark.parametrize(
    "quad",
    [
        np.zeros((4, 2), np.float32),
        np.array([[0, 0], [10, 0], [20, 0], [30, 0]], np.float32),
        np.full((4, 2), np.nan, np.float32),
        box((0, 0), 1e5, 100),
        np.zeros((3, 2), np.float32),
    ],
)
def test_a_quad_without_area_or_sense_is_refused(quad: Quad) -> None:
    with pytest.raises(InputError):
        rectify(paper(100, 100), quad)


def test_an_inner_quad_outside_its_strip_is_refused() -> None:
    with pytest.raises(InputError, match="outside its strip"):
        crop_inner(paper(100, 40), box((300, 20), 20, 20))
    with pytest.raises(InputError, match="no quad"):
        crop_inner(paper(100, 40), np.full((4, 2), np.inf, np.float32))


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((40, 100), np.uint8),
        np.zeros((40, 100, 4), np.uint8),
        np.zeros((40, 100, 3), np.float32),
        np.zeros((0, 100, 3), np.uint8),
    ],
)
def test_only_bgr_pictures_with_pixels_are_taken(picture: ImageBgr) -> None:
    with pytest.raises(InputError):
        rectify(picture, box((50, 20), 40, 20))
    with pytest.raises(InputError):
        crop_inner(picture, box((50, 20), 40, 20))
