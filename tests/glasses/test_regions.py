"""Detected lines are grouped into signs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from glasses.regions import group_lines, line_height, outer_quad, overlap
from shared.geometry import Quad, area
from shared.limits import MAX_STRIP_LINES
from shared.models.detection import DetectedLine


def _box(x: float, y: float, width: float, height: float, degrees: float = 0) -> Quad:
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray(corners @ turn + [x, y], dtype=np.float32)


def _groups(quads: list[Quad], backgrounds: list[tuple[int, int, int]] | None = None) -> list[list[int]]:
    lines = [DetectedLine(quad, 0.9) for quad in quads]
    colours = None if backgrounds is None else [np.array(colour, np.float64) for colour in backgrounds]
    index = {id(line): number for number, line in enumerate(lines)}
    return [[index[id(line)] for line in group] for group in group_lines(lines, colours)]


def test_lines_below_each_other_are_one_sign() -> None:
    assert _groups([_box(100, 100, 300, 40), _box(110, 155, 200, 38)]) == [[0, 1]]


def test_lines_far_apart_are_two_signs() -> None:
    assert _groups([_box(100, 100, 300, 40), _box(100, 180, 300, 40)]) == [[0], [1]]


def test_lines_of_different_height_are_two_signs() -> None:
    assert _groups([_box(100, 100, 300, 80), _box(100, 190, 300, 30)]) == [[0], [1]]


def test_lines_that_do_not_overlap_along_the_text_are_two_signs() -> None:
    assert _groups([_box(100, 100, 100, 40), _box(250, 150, 100, 40)]) == [[0], [1]]


def test_lines_at_an_angle_to_each_other_are_two_signs() -> None:
    assert _groups([_box(100, 100, 300, 40), _box(100, 150, 300, 40, degrees=25)]) == [[0], [1]]


def test_tilted_lines_that_are_parallel_are_one_sign() -> None:
    below = _box(100 - 55 * np.sin(np.deg2rad(25)), 100 + 55 * np.cos(np.deg2rad(25)), 300, 40, degrees=25)
    assert _groups([_box(100, 100, 300, 40, degrees=25), below]) == [[0, 1]]


def test_lines_on_plates_of_different_colour_are_two_signs() -> None:
    quads = [_box(100, 100, 300, 40), _box(100, 150, 300, 40)]
    assert _groups(quads, [(200, 60, 20), (230, 230, 230)]) == [[0], [1]]
    assert _groups(quads, [(200, 60, 20), (180, 70, 30)]) == [[0, 1]]


def test_pieces_of_one_row_are_read_from_left_to_right() -> None:
    assert _groups([_box(215, 101, 90, 40), _box(100, 100, 100, 40), _box(100, 150, 200, 40)]) == [[1, 0, 2]]


def test_columns_are_read_from_right_to_left() -> None:
    # Corners as the detector orders them: from the top right corner downwards.
    columns = [np.roll(_box(x, 100, 40, 300), -1, axis=0) for x in (100, 150)]
    assert _groups(columns) == [[1, 0]]


def test_every_line_is_in_exactly_one_sign_and_no_sign_has_too_many() -> None:
    quads = [_box(100, 20 * row, 200, 16) for row in range(60)] + [_box(600, 20 * row, 90, 16) for row in range(7)]
    groups = _groups(quads)
    assert sorted(itertools.chain.from_iterable(groups)) == list(range(67))
    assert max(map(len, groups)) <= MAX_STRIP_LINES


def test_the_height_of_a_column_is_its_width() -> None:
    assert line_height(_box(0, 0, 30, 200)) == pytest.approx(30)
    assert line_height(_box(0, 0, 200, 30)) == pytest.approx(30)


@pytest.mark.parametrize("degrees", [0, 12])
def test_the_outer_quad_holds_all_lines(degrees: float) -> None:
    turn = np.deg2rad(degrees)
    down = np.array([-np.sin(turn), np.cos(turn)])
    lines = [_box(*(np.array([200, 200]) + 50 * row * down), 150 + 100 * (row % 2), 40, degrees) for row in range(3)]
    outer = outer_quad(lines)
    for line in lines:
        assert overlap(outer, line) > 0.97 * area(line)
    assert area(outer) < 1.2 * 250 * 140


def test_the_outer_quad_keeps_perspective() -> None:
    top = np.array([[100, 100], [300, 80], [300, 120], [100, 130]], np.float32)
    bottom = np.array([[100, 140], [300, 132], [300, 172], [100, 170]], np.float32)
    outer = outer_quad([top, bottom])
    np.testing.assert_allclose(outer, [[100, 100], [300, 80], [300, 172], [100, 170]], atol=3)


def test_columns_get_an_upright_outer_quad() -> None:
    columns = [np.roll(_box(x, 100, 40, 300), -1, axis=0) for x in (150, 100)]
    np.testing.assert_allclose(outer_quad(columns), [[100, 100], [190, 100], [190, 400], [100, 400]], atol=1)
