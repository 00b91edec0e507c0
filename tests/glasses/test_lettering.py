"""Text is wrapped, sized and set in rows or columns so that it fits its box."""

from __future__ import annotations

import numpy as np
import pytest

from glasses import columns, lettering
from glasses.colours import MINIMUM_CONTRAST, contrast, ink_for, paper_for
from glasses.faces import Fonts, Wording
from glasses.lettering import NOT_FIRST, NOT_LAST, Layout

FONTS = Fonts()


def _wording(text: str) -> Wording:
    wording = FONTS.wording(text)
    assert isinstance(wording, Wording)
    return wording


def _fit(text: str, width: float, height: float, largest: int = 200, **options: object) -> Layout:
    layout = lettering.fit(_wording(text), width, height, largest, **options)  # type: ignore[arg-type]
    assert layout is not None
    return layout


def _columns(text: str, width: float, height: float, largest: int = 200) -> Layout:
    layout = columns.fit(_wording(text), width, height, largest)
    assert layout is not None
    return layout


@pytest.mark.parametrize("background", [(0, 0, 0), (255, 255, 255), (40, 90, 20), (118, 118, 118), (0, 220, 255)])
def test_text_stands_out_from_its_paper(background: tuple[int, int, int]) -> None:
    paper = paper_for(background)
    assert contrast(ink_for(paper), paper) >= MINIMUM_CONTRAST


def test_the_contrast_of_black_and_white_is_that_of_the_standard() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((0, 0, 255), (255, 255, 255)) == pytest.approx(4.0, abs=0.01)


@pytest.mark.parametrize(
    ("text", "width", "height"),
    [
        ("Exit", 300, 60),
        ("Mind the step when leaving the train", 300, 120),
        ("Wet", 40, 200),
        ("出口は右側です", 200, 90),
        ("יציאת חירום בקומה 2", 160, 90),
        ("Ångström ýçğ", 140, 40),
    ],
)
def test_text_is_wrapped_and_sized_to_fit_its_box(text: str, width: int, height: int) -> None:
    layout = _fit(text, width, height)
    assert layout.width <= width
    assert layout.height <= height
    assert "".join(layout.lines).replace(" ", "") == text.replace(" ", "")
    # Drawn on a larger sheet: the ink lies within the box, with nothing cut off.
    mask = lettering.draw(layout, width + 40, height + 40)
    rows, across = np.nonzero(mask > 64)
    assert rows.min() >= 20
    assert rows.max() < height + 20
    assert across.min() >= 20
    assert across.max() < width + 20
    assert _fit(text, width, height, layout.size + 1).size == layout.size


def test_line_breaks_are_kept_when_they_cost_nothing() -> None:
    assert _fit("Emergency\nexit", 400, 150, 60).lines == ("Emergency", "exit")


def test_lines_are_about_equally_long() -> None:
    lines = _fit("Mind the step when leaving the train", 230, 70, 30).lines
    assert lines == ("Mind the step", "when leaving the train") or lines == ("Mind the step when", "leaving the train")


def test_line_breaks_stay_while_the_box_wavers() -> None:
    text = "Mind the step when leaving the train"
    boxes = [(250 + 4 * step, 90 - step) for step in range(20)]
    fresh = [_fit(text, *box).lines for box in boxes]
    turn = next(step for step in range(19) if fresh[step] != fresh[step + 1])
    breaks = fresh[turn]
    for box in (boxes[turn], boxes[turn + 1]) * 5:
        layout = _fit(text, *box, keep=breaks)
        assert layout.lines == breaks
        assert (layout.width <= box[0], layout.height <= box[1]) == (True, True)


def test_line_breaks_give_way_where_others_are_clearly_larger() -> None:
    text = "Mind the step when leaving the train"
    broken = _fit(text, 200, 200).lines
    assert len(broken) > 1
    assert _fit(text, 900, 40, keep=broken).lines == (text,)


def test_no_line_begins_or_ends_with_the_wrong_punctuation() -> None:
    text = "お手洗いは、２階（エレベーター前）です。「ゲームセンター」もどうぞ！"
    for width in range(90, 400, 10):
        layout = lettering.fit(_wording(text), width, 160, 40)
        assert layout is not None
        assert all(line[0] not in NOT_FIRST and line[-1] not in NOT_LAST for line in layout.lines)
        standing = columns.fit(_wording(text), 160, width, 40)
        assert standing is not None
        assert all(line[0] not in NOT_FIRST and line[-1] not in NOT_LAST for line in standing.lines)


def test_korean_is_broken_at_its_spaces() -> None:
    assert set(_fit("비상구 이용 안내", 150, 90).lines) <= {"비상구", "이용", "안내", "비상구 이용", "이용 안내"}


def test_the_smallest_size_is_kept_to() -> None:
    assert lettering.fit(_wording("A long text for a small box"), 60, 30, 40, smallest=12) is None


def test_columns_run_downwards_and_from_right_to_left() -> None:
    layout = _columns("東西南北", 100, 110, 40)
    assert layout.lines == ("東西", "南北")
    mask = columns.draw(layout, 100, 110)
    alone = columns.draw(_columns("東西", 100, 110, layout.size), 100, 110)
    # The first column is the right one: moved to the middle it is that of the two characters alone.
    centre = 50 + lettering.LINE_PITCH * layout.size / 2
    half = int(0.55 * layout.size)
    first = mask[:, round(centre) - half : round(centre) + half]
    expected = alone[:, 50 - half : 50 + half]
    difference = min(
        np.count_nonzero((np.roll(first, shift, axis=1) > 128) != (expected > 128)) for shift in (-1, 0, 1)
    )
    assert difference < 0.1 * np.count_nonzero(expected > 128)


def test_columns_fit_their_box() -> None:
    for text in ("駐車場入口", "プール（２階）へようこそ12時。ATM", "비상구 안내"):
        layout = _columns(text, 80, 200)
        assert "".join(layout.lines).replace(" ", "") == text.replace(" ", "")
        rows, across = np.nonzero(columns.draw(layout, 120, 240) > 64)
        assert (rows.min() >= 20, rows.max() < 220, across.min() >= 20, across.max() < 100) == (True,) * 4


def _ink(text: str) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of one character in a column of 100 x 100 px, 60 px high."""
    mask = columns.draw(_columns(text, 100, 100, 60), 100, 100)
    rows, across = np.nonzero(mask > 64)
    return int(across.min()), int(rows.min()), int(across.max()), int(rows.max())


@pytest.mark.parametrize("text", ["ー", "（", "…"])
def test_dashes_and_brackets_lie_on_their_side_in_a_column(text: str) -> None:
    flat = lettering.draw(_fit(text, 100, 100, 60), 100, 100)
    rows, across = np.nonzero(flat > 64)
    left, top, right, bottom = _ink(text)
    assert abs((right - left) - int(np.ptp(rows))) <= 2
    assert abs((bottom - top) - int(np.ptp(across))) <= 2


def test_full_stops_stand_in_the_upper_right_of_their_cell() -> None:
    left, _, _, bottom = _ink("。")
    assert left > 50
    assert bottom < 50


def test_short_numbers_stay_upright_and_latin_words_are_turned() -> None:
    left, top, right, bottom = _ink("12")
    assert right - left > bottom - top
    mask = columns.draw(_columns("東ATM", 60, 240, 40), 60, 240)
    word = mask[100:]
    rows, across = np.nonzero(word > 64)
    assert np.ptp(rows) > 1.5 * np.ptp(across)


@pytest.mark.parametrize(("text", "suited"), [("駐車場", True), ("비상구", True), ("Parking", False), ("12", False)])
def test_only_east_asian_texts_are_set_in_columns(text: str, suited: bool) -> None:
    assert columns.suits(text) is suited
