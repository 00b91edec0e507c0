"""A closer look is taken where letters are small, as far as the plan allows; the better find of a place is kept."""

from __future__ import annotations

import numpy as np
import pytest
from pictures_kit import box, line_of, paper, paste

from shared.errors import InputError
from shared.limits import MAX_READING_LINES
from shared.models.detection import DetectedLine, TextDetector
from shared.models.line_finding import FindingPlan, combined, distinct, find_lines, tiles_for
from shared.models.packs import PackStore

PLAN = FindingPlan(side=960, small_px=14.0, tile_side=960, tiles=3)


def line(x: float, y: float, width: float, height: float, confidence: float = 0.9) -> DetectedLine:
    return DetectedLine(box((x, y), width, height), confidence)


def test_small_lines_get_tiles_that_hold_them() -> None:
    small = [line(1500 + 40 * index, 1200 + 40 * index, 200, 30) for index in range(5)]
    large = line(700, 300, 900, 120)
    boxes, scale = tiles_for([*small, large], (3840, 2160), 0.25, PLAN)
    assert 0 < len(boxes) <= PLAN.tiles
    assert scale > 2 * 0.25
    for item in small:
        (x0, y0), (x1, y1) = item.quad.min(axis=0), item.quad.max(axis=0)
        assert any(left <= x0 and top <= y0 and right >= x1 and bottom >= y1 for left, top, right, bottom in boxes)


def test_small_lines_all_over_the_picture_are_seen_less_close_rather_than_in_more_tiles() -> None:
    small = [line(x, y, 200, 24) for x in range(200, 3800, 400) for y in range(100, 2100, 100)]
    boxes, scale = tiles_for(small, (3840, 2160), 0.25, PLAN)
    assert len(boxes) <= PLAN.tiles
    assert scale < 14 / 24


@pytest.mark.parametrize("lines", [[], [line(700, 300, 900, 120)]])
def test_no_tiles_where_nothing_is_small(lines: list[DetectedLine]) -> None:
    assert tiles_for(lines, (3840, 2160), 0.25, PLAN)[0] == []


def test_no_tiles_where_the_picture_has_no_more_pixels() -> None:
    assert tiles_for([line(100, 100, 80, 5)], (320, 240), 3.0, PLAN)[0] == []


def test_cells_seen_closer_up_replace_the_row_they_were_merged_into() -> None:
    row = line(300, 100, 500, 30)
    cells = [line(150, 100, 180, 28), line(430, 100, 200, 28)]
    assert distinct([(False, row)], cells) == [cells[1], cells[0]]
    assert distinct([(True, row)], cells) == [row]  # a large line falls to pieces seen too close


def test_small_print_is_found_on_a_large_picture(pack_store: PackStore) -> None:
    detector = TextDetector.load(pack_store.get("ocr-tiny-det"))
    picture = paper(2400, 1600)
    for row in range(4):
        text = line_of("Horário de funcionamento", height=34)
        picture = paste(picture, text, box((1500, 900 + 44 * row), text.shape[1], text.shape[0]))
    assert len(find_lines(detector, picture, PLAN)) >= 4
    assert all(abs(float(np.ptp(found.quad[:, 1])) - 26) < 16 for found in find_lines(detector, picture, PLAN))


def test_there_are_never_more_lines_than_an_answer_holds() -> None:
    class Crowd(TextDetector):
        def __init__(self) -> None: ...

        def detect(self, image_bgr: object, **_: object) -> list[DetectedLine]:  # type: ignore[override]
            return [line(20 * (i % 40), 20 * (i // 40), 16, 10, 0.5 + i / 2000) for i in range(800)]

    found = find_lines(Crowd(), paper(900, 500), FindingPlan())
    assert len(found) == MAX_READING_LINES
    assert min(item.confidence for item in found) > 0.84  # the surest ones


def test_what_is_no_picture_is_refused(pack_store: PackStore) -> None:
    detector = TextDetector.load(pack_store.get("ocr-tiny-det"))
    with pytest.raises(InputError):
        find_lines(detector, np.zeros((10, 10), np.uint8), PLAN)  # type: ignore[arg-type]


def test_a_line_that_the_other_detector_sees_as_cells_is_its_cells() -> None:
    row, cells = line(300, 100, 500, 40), [line(150, 100, 190, 36), line(430, 100, 230, 36)]
    assert combined([row], cells) == cells
    assert combined(cells, [row]) == cells


def test_words_of_one_line_do_not_take_its_place() -> None:
    whole, words = line(300, 100, 500, 40), [line(165, 100, 222, 36), line(415, 100, 260, 36)]
    assert combined([whole], words) == [whole]
    assert combined([whole], [words[0]]) == [whole]  # half a line is no cell


def test_what_only_one_detector_finds_is_added() -> None:
    known, new = line(300, 100, 500, 40), line(300, 300, 200, 40, 0.5)
    assert combined([known], [new]) == [known, new]
