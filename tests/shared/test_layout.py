"""Lines are grouped into signs and put into the order in which they are read."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from shared.geometry import Quad
from shared.layout import group_signs, line_height, read_blocks
from shared.limits import MAX_STRIP_LINES


def _box(x: float, y: float, width: float, height: float, degrees: float = 0) -> Quad:
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray(corners @ turn + [x, y], dtype=np.float32)


def _groups(quads: list[Quad], backgrounds: list[tuple[int, int, int]] | None = None) -> list[list[int]]:
    colours = None if backgrounds is None else [np.array(colour, np.float64) for colour in backgrounds]
    return group_signs(quads, backgrounds=colours)


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


def test_two_columns_of_text_are_read_one_after_the_other() -> None:
    # Two signs side by side, as a detector lists their lines: row by row over both.
    quads = [_box(x, y, 200, 40) for y in (100, 150, 200) for x in (100, 600)]
    assert read_blocks(quads) == [[0, 2, 4], [1, 3, 5]]


def test_a_column_that_begins_a_little_higher_does_not_come_first() -> None:
    quads = [_box(600, 90, 200, 40), _box(100, 100, 200, 40), _box(600, 140, 200, 40), _box(100, 150, 200, 40)]
    assert read_blocks(quads) == [[1, 3], [0, 2]]


def test_a_heading_comes_before_the_columns_below_it() -> None:
    quads = [_box(100, 200, 200, 40), _box(600, 200, 200, 40), _box(90, 60, 800, 80)]
    assert read_blocks(quads) == [[2], [0], [1]]


def test_a_menu_is_read_row_by_row_and_every_cell_is_a_text_of_its_own() -> None:
    dishes = [_box(100, 100 + 50 * row, 220, 36) for row in range(4)]
    prices = [_box(500, 102 + 50 * row, 60, 36) for row in range(4)]
    numbers = [False] * 4 + [True] * 4
    assert read_blocks(dishes + prices, numbers=numbers) == [[0], [4], [1], [5], [2], [6], [3], [7]]
    # Two languages side by side have rows at the same height too, but neither column is a price list.
    assert read_blocks(dishes + prices, numbers=[False] * 8) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_two_price_lists_side_by_side_are_read_one_after_the_other() -> None:
    dishes = [_box(x, 100 + 50 * row, 220, 36) for x in (100, 700) for row in range(3)]
    prices = [_box(x, 100 + 50 * row, 60, 36) for x in (400, 1000) for row in range(3)]
    blocks = read_blocks(dishes + prices, numbers=[False] * 6 + [True] * 6)
    assert [block[0] for block in blocks] == [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]


def test_cells_of_a_grid_are_texts_of_their_own() -> None:
    # Ragged cells, so that those of neighbouring rows overlap: nothing but the gaps in each row keeps them apart.
    rows = [[(0, 200), (260, 120)], [(0, 90), (130, 250)], [(0, 200), (260, 120)]]
    cells = [(100 + x, 100 + 45 * row, width) for row, pieces in enumerate(rows) for x, width in pieces]
    quads = [_box(x, y, width, 36) for x, y, width in cells]
    assert read_blocks(quads) == [[0], [1], [2], [3], [4], [5]]


def test_columns_of_characters_side_by_side_are_blocks_from_right_to_left() -> None:
    columns = [np.roll(_box(x, 100, 40, 300), -1, axis=0) for x in (100, 150, 500, 550)]
    assert read_blocks(columns) == [[3, 2], [1, 0]]


def test_every_line_is_in_exactly_one_block() -> None:
    random = np.random.default_rng(5)
    for count in (1, 2, 40, 96):
        quads = [
            _box(*random.uniform(0, 900, 2), *random.uniform(5, 300, 2), random.uniform(-40, 40)) for _ in range(count)
        ]
        numbers = [bool(value) for value in random.random(count) < 0.5]
        blocks = read_blocks(quads, numbers=numbers)
        assert sorted(itertools.chain.from_iterable(blocks)) == list(range(count))


def test_no_lines_are_no_signs() -> None:
    assert group_signs([]) == []
    assert read_blocks([]) == []
