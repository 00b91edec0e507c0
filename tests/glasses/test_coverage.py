"""Where in the view something is that no look saw."""

from __future__ import annotations

import math

import numpy as np
import pytest
from signboards import shift

from glasses.coverage import PastLook, news, scale_of, unchanged, usable
from glasses.view_stats import Texture
from shared.geometry import Homography, Quad

SIZE = (1280, 720)


def _texture(*boxes: tuple[int, int, int, int], value: float = 0.1) -> Texture:
    """Boxes of text: left, top, right, bottom in cells of 16 px."""
    texture = np.zeros((45, 80), np.float32)
    for left, top, right, bottom in boxes:
        texture[top:bottom, left:right] = value
    return texture


def _found(texture: Texture, *looks: PastLook, known: tuple[Quad, ...] = ()) -> tuple[float, float]:
    """Mass of what is whole, and of what is cut; a box of 10 x 4 cells weighs 4."""
    found = news(texture, SIZE, looks, known, floor=0.04, growth=1.6)
    return round(found.whole, 3), round(found.cut, 3)


def _look(texture: Texture, since: Homography | None = None) -> PastLook:
    return PastLook(np.eye(3) if since is None else since, texture, 1.0)


def test_text_is_news_until_a_look_saw_it() -> None:
    texture = _texture((20, 20, 30, 24), (50, 30, 55, 34))
    assert _found(texture) == (4, 0)
    assert _found(texture, _look(_texture((20, 20, 30, 24)))) == (2, 0)
    assert _found(texture, _look(texture)) == (0, 0)


def test_what_a_look_saw_is_carried_along() -> None:
    before, after = _texture((20, 20, 30, 24)), _texture((30, 25, 40, 29))
    assert _found(after, _look(before, shift(160, 80))) == (0, 0)
    assert _found(after, _look(before)) == (4, 0)


def test_a_sign_nearer_than_the_wall_may_run_ahead_by_a_cell() -> None:
    assert _found(_texture((21, 20, 31, 24)), _look(_texture((20, 20, 30, 24)))) == (0, 0)


def test_text_that_became_much_clearer_is_news() -> None:
    box = (20, 20, 30, 24)
    assert _found(_texture(box, value=0.09), _look(_texture(box, value=0.05))) == (3.6, 0)
    assert _found(_texture(box, value=0.07), _look(_texture(box, value=0.05))) == (0, 0)


def test_text_at_the_edge_is_cut_unless_it_spans_the_view() -> None:
    assert _found(_texture((70, 20, 80, 24))) == (0, 4)
    assert _found(_texture((0, 20, 80, 24))) == (32, 0)


def test_letters_apart_are_one_piece_and_lines_apart_are_two() -> None:
    assert _found(_texture((20, 20, 25, 24), (27, 20, 32, 24))) == (4, 0)
    assert _found(_texture((20, 20, 25, 24), (20, 28, 25, 32))) == (2, 0)


def test_followed_signs_are_no_news() -> None:
    sign = np.array([[320, 320], [480, 320], [480, 384], [320, 384]], np.float32)
    far = np.array([[np.inf, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    assert _found(_texture((20, 20, 30, 24)), known=(sign, far)) == (0, 0)


def test_the_uncovered_share_is_what_no_look_had_in_its_frame() -> None:
    blank = _texture()
    for since, share in ((shift(0, 0), 0.0), (shift(320, 0), 0.25), (shift(5000, 0), 1.0)):
        found = news(blank, SIZE, [_look(blank, since)], (), floor=0.04, growth=1.6)
        assert found.uncovered == pytest.approx(share, abs=0.02)


def test_scale_is_that_of_the_middle_of_the_view() -> None:
    assert scale_of(shift(100, 50, 1.5), SIZE) == pytest.approx(1.5)
    assert scale_of(np.diag([1.0, 1.0, 2.0]), SIZE) == pytest.approx(0.5)
    assert scale_of(np.diag([-1.0, 1.0, 1.0]), SIZE) == math.inf


def test_a_motion_that_is_no_motion_is_not_used() -> None:
    assert usable(None) is None
    assert usable(np.full((3, 3), np.nan)) is None
    assert usable(np.zeros((3, 3))) is None
    doubled = usable(2 * shift(3, 4))
    assert doubled is not None
    assert doubled == pytest.approx(shift(3, 4))


def test_a_view_is_unchanged_until_it_moves_by_a_cell() -> None:
    texture = np.random.default_rng(1).random((45, 80)).astype(np.float32) * 0.1
    assert unchanged(texture, texture * np.float32(0.9))
    assert not unchanged(texture, np.roll(texture, 3, axis=1))
    assert unchanged(_texture(), _texture())
    assert not unchanged(_texture(), texture)
