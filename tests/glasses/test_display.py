"""The display shows live views at its own resolution, and says what it could not write."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from glasses import faces
from glasses.display import Display, Unwritable, display_size
from glasses.overlay import Label, LabelStyle
from glasses.settings import GlassesSettings
from glasses.stabiliser import PoseState
from shared.geometry import ImageBgr, Quad
from shared.models.script import Script

WIDE: Quad = np.array([[300, 200], [700, 200], [700, 280], [300, 280]], np.float32)


def _frame() -> ImageBgr:
    return np.full((720, 1280, 3), 128, np.uint8)


def _label(text: str = "Emergency exit", **fields: object) -> Label:
    values: dict[str, object] = {
        "key": (1, 0),
        "quad": WIDE,
        "text_height": 80.0,
        "text": text,
        "style": LabelStyle.SETTLED,
        "background": np.array([40.0, 90.0, 20.0]),
    }
    return Label(**(values | fields))  # type: ignore[arg-type]


def _display(*, still: bool = False) -> Display:
    return Display(GlassesSettings(), still=still)


@pytest.mark.parametrize(
    ("frame", "shown"),
    [
        ((1280, 720), (640, 360)),
        ((1920, 1080), (640, 360)),
        ((640, 480), (480, 360)),
        ((720, 1280), (202, 360)),
        ((320, 180), (320, 180)),
        ((5000, 2), (640, 1)),
    ],
)
def test_a_frame_is_scaled_down_to_the_display_and_keeps_its_aspect(
    frame: tuple[int, int], shown: tuple[int, int]
) -> None:
    assert display_size(frame, (640, 360)) == shown


def test_labels_lie_on_their_signs_at_the_resolution_of_the_display() -> None:
    display = _display()
    display.draw(_frame(), [_label()], 1.0)
    image = display.draw(_frame(), [_label()], 2.0).image
    assert image.shape == (360, 640, 3)
    changed = (image != 128).any(axis=2)
    assert changed[100:140, 150:350].mean() > 0.99
    changed[93:147, 143:357] = False
    assert not changed.any()


def test_a_still_keeps_its_resolution_and_is_complete_at_once() -> None:
    display = _display(still=True)
    shown = display.draw(_frame(), [_label()], 1.0)
    assert shown.image.shape == (720, 1280, 3)
    assert [one.text for one in shown.texts] == ["Emergency exit"]
    again = display.draw(_frame(), [_label()], 1.2)
    np.testing.assert_array_equal(shown.image, again.image)
    better = display.draw(_frame(), [_label("Way out")], 1.2)
    expected = _display(still=True).draw(_frame(), [_label("Way out")], 1.2)
    np.testing.assert_array_equal(better.image, expected.image)


def test_a_still_shows_nothing_where_no_sign_was_found() -> None:
    shown = _display(still=True).draw(_frame(), [_label(state=PoseState.LOST)], 1.0)
    assert (shown.image == 128).all()


def test_a_script_no_face_has_leaves_the_sign_alone_and_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "_match", lambda characters: None)
    display = _display(still=True)
    shown = display.draw(_frame(), [_label("ทางออก")], 1.0)
    assert shown.unwritable == [Unwritable((1, 0), Script.THAI)]
    changed = (shown.image != 128).any(axis=2)
    assert changed.any()  # the outline
    assert not changed[200:281, 300:701].any()
    assert display.draw(_frame(), [_label("ทางออก")], 1.2).unwritable == []


def test_the_pixels_get_nearer_to_a_better_text_with_every_frame() -> None:
    display = _display()
    for step in range(40):
        display.draw(_frame(), [_label("Exit")], 1 + step / 30)
    final = _display()
    for step in range(40):
        settled = final.draw(_frame(), [_label("Way out")], 1 + step / 30).image
    distances = []
    for step in range(40, 55):
        image = display.draw(_frame(), [_label("Way out")], 1 + step / 30).image
        distances.append(float(np.abs(image.astype(int) - settled).mean()))
    assert distances[0] > 1
    assert all(b <= a + 0.02 for a, b in pairwise(distances))
    assert distances[-1] == 0.0
