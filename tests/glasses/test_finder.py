"""One look tells which signs are there, and which lines are worth another look later."""

from __future__ import annotations

import numpy as np
import pytest
from signboards import FakeClock, Wall, WallDetector, frame_of, lines_of

from glasses.finder import Finder, Looked
from shared.geometry import Quad


def _look(*quads: Quad, skip_cut_off: bool = True) -> Looked:
    finder = Finder(
        WallDetector(lines_of(quads)),
        longest_side=960,
        minimum_line_height=12,
        unsure_box_threshold=None,
        skip_cut_off=skip_cut_off,
        clock=FakeClock(),
    )
    return finder.look(frame_of(Wall().picture))


def _line(left: float, top: float, height: float = 30) -> Quad:
    return np.array([[left, top], [left + 200, top], [left + 200, top + height], [left, top + height]], np.float32)


WHOLE, RIGHT, BOTTOM, SMALL = _line(400, 100), _line(1078, 300), _line(300, 688), _line(700, 500, 9)


def test_lines_cut_off_and_lines_too_small_are_reported_not_found() -> None:
    looked = _look(WHOLE, RIGHT, BOTTOM, SMALL)
    assert [one.lines[0].quad.tolist() for one in looked.found] == [WHOLE.tolist()]
    assert sorted(quad.tolist() for quad in looked.cut_off) == sorted([RIGHT.tolist(), BOTTOM.tolist()])
    assert [quad.tolist() for quad in looked.too_small] == [SMALL.tolist()]


def test_all_lines_of_a_sign_that_is_cut_off_are_reported() -> None:
    upper, lower = _line(1050, 300), _line(1078, 340)
    looked = _look(upper, lower)
    assert looked.found == ()
    assert len(looked.cut_off) == 2


def test_in_a_still_nothing_more_will_come_in() -> None:
    looked = _look(RIGHT, skip_cut_off=False)
    assert len(looked.found) == 1
    assert looked.cut_off == ()


@pytest.mark.parametrize("width", [900, 1276])
def test_a_line_that_fills_the_view_is_all_there_will_be(width: int) -> None:
    quad = np.array([[2, 300], [2 + width, 300], [2 + width, 360], [2, 360]], np.float32)
    assert len(_look(quad).found) == 1
