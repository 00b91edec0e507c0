"""Labels lie on their signs, fit, can be read, and say how sure they are."""

from __future__ import annotations

import time
import tracemalloc
from itertools import pairwise

import cv2
import numpy as np
import pytest
from signboards import Wall, shift

from glasses.colours import MINIMUM_CONTRAST, contrast
from glasses.faces import Fonts
from glasses.overlay import AMBER, GREEN, GREY, GROW, Label, LabelStyle, Overlay, grown
from shared.geometry import ImageBgr, Quad, area, transform
from shared.models.script import Script

WIDE: Quad = np.array([[300, 200], [700, 200], [700, 280], [300, 280]], np.float32)
TINY: Quad = np.array([[600, 300], [640, 300], [640, 309], [600, 309]], np.float32)


def _label(quad: Quad, text: str = "Emergency exit", style: LabelStyle = LabelStyle.SETTLED, **fields: object) -> Label:
    values: dict[str, object] = {
        "key": (1, 0),
        "quad": quad,
        "text_height": float(quad[3, 1] - quad[0, 1]),
        "text": text,
        "style": style,
        "background": np.array([40.0, 90.0, 20.0]),
    }
    return Label(**(values | fields))  # type: ignore[arg-type]


def _grey() -> ImageBgr:
    return np.full((720, 1280, 3), 128, np.uint8)


def _changed(before: ImageBgr, after: ImageBgr) -> np.ndarray:
    return (before != after).any(axis=2)


def test_the_label_covers_the_sign_and_nothing_else() -> None:
    frame = _grey()
    changed = _changed(frame, Overlay().draw(frame, [_label(WIDE)]))
    assert changed[200:281, 300:701].mean() > 0.99
    outside = changed.copy()
    outside[185:296, 285:716] = False
    assert not outside.any()
    assert (frame == 128).all()  # the frame itself is left alone


def test_the_label_lies_on_a_sign_seen_at_an_angle() -> None:
    quad = np.array([[300, 200], [700, 300], [690, 400], [295, 280]], np.float32)
    frame = _grey()
    changed = _changed(frame, Overlay().draw(frame, [_label(quad)])).astype(np.uint8)
    mask = np.zeros_like(changed)
    cv2.fillConvexPoly(mask, quad.astype(np.int32), 1)
    assert changed[mask > 0].mean() > 0.98
    assert not changed[cv2.dilate(mask, np.ones((41, 41))) == 0].any()


def _near(image: ImageBgr, colour: tuple[int, int, int]) -> int:
    return int((np.abs(image.astype(int) - colour).max(axis=2) < 40).sum())


@pytest.mark.parametrize("reach", [1e4, 1e6])
@pytest.mark.parametrize("style", [LabelStyle.PROVISIONAL, LabelStyle.SETTLED])
def test_a_label_that_reaches_far_out_of_the_frame_is_drawn_as_fast(reach: float, style: LabelStyle) -> None:
    far: Quad = np.array([[-reach, -reach], [reach, -reach], [reach, reach], [-reach, reach]], np.float32)
    overlay, frame = Overlay(), _grey()
    overlay.draw(frame, [_label(far, style=style)])
    start = time.process_time()
    overlay.draw(frame, [_label(far, style=style)])
    assert time.process_time() - start < 0.5


def test_provisional_and_settled_are_told_apart() -> None:
    provisional = Overlay().draw(_grey(), [_label(WIDE, style=LabelStyle.PROVISIONAL)])
    settled = Overlay().draw(_grey(), [_label(WIDE, style=LabelStyle.SETTLED)])
    assert _near(provisional, AMBER) > 200
    assert _near(provisional, GREEN) == 0
    assert _near(settled, GREEN) > 1.5 * _near(provisional, AMBER)  # solid, not dashed
    assert _near(settled, AMBER) == 0


def test_a_label_that_settles_unchanged_keeps_its_letters_in_place() -> None:
    overlay = Overlay()
    before = overlay.draw(_grey(), [_label(WIDE, style=LabelStyle.PROVISIONAL)])
    after = overlay.draw(_grey(), [_label(WIDE, style=LabelStyle.SETTLED)])
    assert not _changed(before[205:275, 305:695], after[205:275, 305:695]).any()


@pytest.mark.parametrize("style", [LabelStyle.PENDING, LabelStyle.UNCHANGED])
def test_a_sign_without_a_translation_keeps_its_own_text(style: LabelStyle) -> None:
    frame = _grey()
    changed = _changed(frame, Overlay().draw(frame, [_label(WIDE, "", style)]))
    assert changed.any()
    assert not changed[200:281, 300:701].any()


def test_a_sign_too_small_for_letters_gets_a_legible_box_inside_the_frame() -> None:
    corner = TINY + np.array([630, 400], np.float32)
    frame = _grey()
    changed = _changed(frame, Overlay().draw(frame, [_label(corner)]))
    rows, columns = np.nonzero(changed)
    assert columns.max() - columns.min() > 100
    assert rows.max() - rows.min() >= 18


def test_boxes_of_neighbours_do_not_cover_each_other() -> None:
    labels = [_label(TINY + np.array([0, 14 * row], np.float32), key=(row, 0)) for row in range(4)]
    frame = _grey()
    together = _changed(frame, Overlay().draw(frame, labels)).sum()
    alone = _changed(frame, Overlay().draw(frame, labels[:1])).sum()
    assert together > 3.5 * alone


def test_a_lost_label_fades() -> None:
    full = Overlay().draw(_grey(), [_label(WIDE)]).astype(int)
    half = Overlay().draw(_grey(), [_label(WIDE, strength=0.5)]).astype(int)
    none = Overlay().draw(_grey(), [_label(WIDE, strength=0.0)]).astype(int)
    assert 0.5 < np.abs(half - 128).mean() / np.abs(full - 128).mean() < 0.9
    assert (none == 128).all()


def test_the_letters_do_not_jump_while_the_sign_moves() -> None:
    overlay = Overlay()
    masks = []
    for step in range(12):
        quad = transform(shift(3 * step, 2 * step, 1 + 0.01 * step), WIDE)
        label = _label(quad, text_height=80 * (1 + 0.01 * step))
        overlay.draw(_grey(), [label])
        masks.append(overlay._lettered[label.key, label.text].mask)
    assert all(mask is masks[0] for mask in masks)


def _broken_quads() -> list[Quad]:
    nan, inf = float("nan"), float("inf")
    point = [[100, 100]] * 4
    flat = [[10, 10], [200, 10], [10, 10], [200, 10]]
    line = [[10, 10], [200, 10], [300, 10], [400, 10]]
    crossed = [[100, 100], [300, 200], [300, 100], [100, 200]]
    away = WIDE + np.float32(5000)
    behind = [[300, 200], [700, 200], [-9e8, 9e8], [300, 280]]
    huge = WIDE * np.float32(1e30)
    holes = [[nan, 10], [200, 10], [200, 50], [10, 50]], [[inf, 10], [200, 10], [200, 50], [10, -inf]]
    return [np.array(quad, np.float32) for quad in (point, flat, line, crossed, away, behind, huge, *holes)]


@pytest.mark.parametrize("quad", _broken_quads())
@pytest.mark.parametrize("style", [LabelStyle.PROVISIONAL, LabelStyle.SETTLED, LabelStyle.PENDING])
def test_labels_out_of_view_or_broken_are_left_out(quad: Quad, style: LabelStyle) -> None:
    frame = _grey()
    label = _label(quad, style=style, text_height=40.0)
    assert not _changed(frame, Overlay().draw(frame, [label])).any()


@pytest.mark.parametrize("height", [float("nan"), float("inf"), 0.0, -5.0, 1e9])
def test_a_text_height_that_is_none_does_no_harm(height: float) -> None:
    frame = _grey()
    assert Overlay().draw(frame, [_label(WIDE, text_height=height)]).shape == frame.shape


@pytest.mark.parametrize("text", ["", " \n ", "🙂🚪", "\x00\x1b[31m\u202e", "\ud800", "…", "\u0301"])
def test_a_text_without_letters_is_no_trouble(text: str) -> None:
    frame = _grey()
    image = Overlay().draw(frame, [_label(WIDE, text)])
    assert _changed(frame, image).any()


@pytest.mark.parametrize("text", ["word " * 1000, "w" * 5000, "出口" * 2500, "שלום " * 1000])
@pytest.mark.parametrize("quad", [WIDE, TINY, np.array([[0, 0], [1279, 0], [1279, 719], [0, 719]], np.float32)])
def test_a_text_of_thousands_of_letters_costs_no_more_than_a_moment(text: str, quad: Quad) -> None:
    overlay, frame = Overlay(), _grey()
    start = time.process_time()
    tracemalloc.start()
    for step in range(3):
        overlay.draw(frame, [_label(quad + np.float32(step), text, text_height=40.0)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.process_time() - start < 5.0
    assert peak < 64e6


def _mask_of(quad: Quad, grow: float) -> np.ndarray:
    mask = np.zeros((720, 1280), np.uint8)
    cv2.fillConvexPoly(mask, np.round(grown(quad, grow)).astype(np.int32), 255)
    return cv2.dilate(mask, np.ones((9, 9), np.uint8)) > 0  # the outline is two pixels wide


SLANTED: Quad = np.array([[300, 200], [700, 260], [690, 400], [295, 290]], np.float32)
TALL: Quad = np.array([[500, 100], [580, 110], [575, 400], [500, 410]], np.float32)


@pytest.mark.parametrize("quad", [WIDE, SLANTED, TALL])
@pytest.mark.parametrize("text", ["Mind the step when leaving", "Ausgang", "出口は右側です", "יציאת חירום", "ÅÇğjy"])
def test_letters_stay_within_their_sign_and_stand_out(quad: Quad, text: str) -> None:
    frame = _grey()
    image = Overlay().draw(frame, [_label(quad, text, text_height=60.0)])
    within = _mask_of(quad, GROW * 60)
    assert not _changed(frame, image)[~within].any()
    # White letters on dark green paper, and none at the very edge.
    ink = (image.min(axis=2) > 220) & within
    assert ink.sum() > 0.01 * area(quad)
    inner = cv2.erode(within.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    assert not (ink & ~inner).any()
    paper = np.median(image[inner & (image.max(axis=2) < 200)], axis=0)
    assert contrast(np.median(image[ink], axis=0), paper) >= MINIMUM_CONTRAST


def _ink_extent(text: str, quad: Quad) -> tuple[int, int]:
    """Width and height of the ink of a label on a dark sign."""
    image = Overlay().draw(_grey(), [_label(quad, text, style=LabelStyle.UNCHANGED, text_height=60.0)])
    rows, columns = np.nonzero(image.min(axis=2) > 220)
    return int(np.ptp(columns)), int(np.ptp(rows))


def test_on_a_tall_sign_words_that_do_not_fit_across_are_turned() -> None:
    wide, high = _ink_extent("Pedestrian zone", TALL)
    assert high > 2 * wide


def test_on_a_tall_sign_words_that_fit_across_are_not_turned() -> None:
    quad = np.array([[500, 100], [660, 100], [660, 360], [500, 360]], np.float32)
    wide, high = _ink_extent("Way", quad)
    assert wide > high


def test_chinese_on_a_tall_sign_runs_downwards_and_stands_upright() -> None:
    image = Overlay().draw(_grey(), [_label(TALL, "三三三", style=LabelStyle.UNCHANGED, text_height=60.0)])
    rows = np.nonzero((image.min(axis=2) > 200).any(axis=1))[0]
    # Three times three level strokes, one above the other.
    assert np.count_nonzero(np.diff(rows) > 2) == 8


def test_a_script_no_face_has_leaves_the_sign_its_own_text(monkeypatch: pytest.MonkeyPatch) -> None:
    fonts = Fonts()
    monkeypatch.setattr(fonts, "wording", lambda text: Script.THAI)
    overlay, frame = Overlay(fonts), _grey()
    image = overlay.draw(frame, [_label(WIDE, "ทางออก")])
    assert not _changed(frame, image)[200:281, 300:701].any()
    assert _near(image, GREY) > 200
    assert _near(image, GREEN) == 0
    assert overlay.unwritable == {(1, 0): Script.THAI}
    overlay.draw(frame, [])
    assert overlay.unwritable == {}


def test_a_cross_fade_goes_evenly_from_one_text_to_the_other() -> None:
    overlay = Overlay()
    pictures = [
        overlay.draw(_grey(), [_label(WIDE, "Way out", previous="Exit", mix=mix)]).astype(int)
        for mix in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    np.testing.assert_array_equal(pictures[0], Overlay().draw(_grey(), [_label(WIDE, "Exit")]))
    np.testing.assert_array_equal(pictures[-1], Overlay().draw(_grey(), [_label(WIDE, "Way out")]))
    step = (pictures[-1] - pictures[0]) / 4
    assert np.abs(step).max() > 30
    for first, second in pairwise(pictures):
        # Each pixel goes straight to its end, by a quarter of its way.
        assert np.abs((second - first) - step).max() <= 3


def test_a_sign_that_wavers_around_the_legible_size_does_not_flip() -> None:
    overlay = Overlay()
    first = overlay.draw(_grey(), [_label(TINY)])
    assert _changed(_grey(), first).sum() > 3000  # a box beside it
    placed = []
    for factor in (1.0, 1.04, 1.0, 1.03, 0.98) * 3:
        quad = transform(shift(0, 0, factor), TINY)
        overlay.draw(_grey(), [_label(quad, text_height=9 * factor)])
        placed.append(overlay._boxed.get((1, 0)))
    assert len(set(placed)) == 1
    assert placed[0] is not None


def test_a_box_stays_at_its_place_when_another_sign_comes_near() -> None:
    overlay = Overlay()
    overlay.draw(_grey(), [_label(TINY)])
    before = overlay._boxed[1, 0]
    overlay.draw(_grey(), [_label(TINY), _label(TINY + np.float32(30), key=(2, 0)), _label(WIDE, key=(3, 0))])
    assert overlay._boxed[1, 0] == before


def test_a_real_sign_is_covered_by_its_translation() -> None:
    wall = Wall()
    (quad,) = wall.sign("Bilheteira", 400, 300)
    image = Overlay().draw(wall.picture, [_label(quad, "Tickets")])
    x0, y0 = quad[0].astype(int)
    x1, y1 = quad[2].astype(int)
    before = (wall.picture[y0:y1, x0:x1].min(axis=2) > 200).mean()
    after = image[y0:y1, x0:x1]
    # White letters on green, but other ones.
    assert 0.05 < (after.min(axis=2) > 200).mean() < 2 * before
    assert (_changed(wall.picture[y0:y1, x0:x1], after)).mean() > 0.15
