"""The quad around the lines of a sign."""

from __future__ import annotations

import numpy as np
import pytest

from glasses.regions import outer_quad
from shared.geometry import Quad, area
from shared.layout import overlap


def _box(x: float, y: float, width: float, height: float, degrees: float = 0) -> Quad:
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray(corners @ turn + [x, y], dtype=np.float32)


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
