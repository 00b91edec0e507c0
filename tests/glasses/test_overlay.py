"""Labels lie on their signs, fit, can be read, and say how sure they are."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from signboards import Wall, shift

from glasses import lettering
from glasses.overlay import AMBER, GREEN, Label, LabelStyle, Overlay
from shared.geometry import ImageBgr, Quad, transform

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


@pytest.mark.parametrize("background", [(0, 0, 0), (255, 255, 255), (40, 90, 20), (118, 118, 118), (0, 220, 255)])
def test_text_stands_out_from_its_paper(background: tuple[int, int, int]) -> None:
    paper = lettering.paper_for(background)
    assert lettering.contrast(lettering.ink_for(paper), paper) >= lettering.MINIMUM_CONTRAST


def test_the_contrast_of_black_and_white_is_that_of_the_standard() -> None:
    assert lettering.contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert lettering.contrast((0, 0, 255), (255, 255, 255)) == pytest.approx(4.0, abs=0.01)


@pytest.mark.parametrize(
    ("text", "width", "height"),
    [
        ("Exit", 300, 60),
        ("Mind the step when leaving the train", 300, 120),
        ("Wet", 40, 200),
        ("出口は右側です", 200, 90),
    ],
)
def test_text_is_wrapped_and_sized_to_fit_its_box(text: str, width: int, height: int) -> None:
    layout = lettering.fit(text, width, height, largest=200)
    assert layout is not None
    assert layout.width <= width
    assert layout.height <= height
    assert "".join(layout.lines).replace(" ", "") == text.replace(" ", "")
    picture = np.full((height, width, 3), 255, np.uint8)
    lettering.draw(picture, layout, (0, 0, 0))
    rows, columns = np.nonzero(picture[:, :, 0] < 128)
    # The ink reaches far into the box, and leaves its border alone.
    assert rows.min() > 0
    assert rows.max() < height - 1
    assert columns.min() >= 0
    assert columns.max() <= width - 1
    larger = lettering.fit(text, width, height, largest=layout.size + 1)
    assert larger is not None
    assert larger.size == layout.size


def test_line_breaks_are_kept_when_they_cost_nothing() -> None:
    layout = lettering.fit("Emergency\nexit", 400, 150, largest=60)
    assert layout is not None
    assert layout.lines == ("Emergency", "exit")


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
    assert 0.3 < np.abs(half - 128).mean() / np.abs(full - 128).mean() < 0.7
    assert (none == 128).all()


def test_the_letters_do_not_jump_while_the_sign_moves() -> None:
    overlay = Overlay()
    buffers = []
    for step in range(12):
        quad = transform(shift(3 * step, 2 * step, 1 + 0.01 * step), WIDE)
        overlay.draw(_grey(), [_label(quad, text_height=80 * (1 + 0.01 * step))])
        buffers.append(overlay._lettered[1, 0].buffer)
    assert all(buffer is buffers[0] for buffer in buffers)


def test_labels_out_of_view_or_degenerate_are_left_out() -> None:
    frame = _grey()
    away = _label(WIDE + np.float32(5000))
    flat = _label(np.array([[10, 10], [200, 10], [10, 10], [200, 10]], np.float32), key=(2, 0))
    assert not _changed(frame, Overlay().draw(frame, [away, flat])).any()


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
