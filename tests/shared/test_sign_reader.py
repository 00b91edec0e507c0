"""Whole pictures are read line by line, in reading order, however the lines lie."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pictures_kit import box, line_of, paper, paste

from shared.errors import InputError
from shared.geometry import ImageBgr, Quad
from shared.limits import MAX_READING_LINES
from shared.models.detection import DetectedLine, TextDetector
from shared.models.orientation import OrientationClassifier
from shared.models.packs import PackStore
from shared.models.recognition import TextRecogniser
from shared.models.seen_lines import SeenLine
from shared.models.sign_reader import NORMAL, SignReader, grown


@pytest.fixture(scope="module")
def reader(pack_store: PackStore) -> SignReader:
    return SignReader(
        detector=TextDetector.load(pack_store.get("ocr-small-det")),
        recogniser=TextRecogniser.load(pack_store.get("ocr-small-rec")),
        orientation=OrientationClassifier.load(pack_store.get("ocr-cls")),
        scripts=None,
        plan=NORMAL,
    )


def board(cells: dict[tuple[float, float], str], *, height: int = 44, size: tuple[int, int] = (800, 480)) -> ImageBgr:
    """Texts at the middles of their left sides."""
    picture = paper(*size)
    for (x, y), text in cells.items():
        line = line_of(text, height=height)
        picture = paste(picture, line, box((x + line.shape[1] / 2, y), line.shape[1], line.shape[0]))
    return picture


def read(reader: SignReader, picture: ImageBgr) -> list[SeenLine]:
    return reader.read_lines(picture, reader.find(picture))


def texts(lines: list[SeenLine]) -> list[str]:
    return [line.look.recognition.text for line in lines]


def test_a_menu_is_read_cell_by_cell_and_row_by_row(reader: SignReader) -> None:
    rows = [("Caldo verde", "4,50"), ("Pudim", "3,20"), ("Frango assado", "11,00")]
    cells = {(60.0, 80.0 + 60 * row): dish for row, (dish, _) in enumerate(rows)}
    cells |= {(520.0, 80.0 + 60 * row): price for row, (_, price) in enumerate(rows)}
    lines = read(reader, board(cells))
    assert texts(lines) == [text for row in rows for text in row]
    assert [line.sign for line in lines] == list(range(6))


def test_prices_close_behind_chinese_dishes_are_cells(reader: SignReader) -> None:
    cells = {(60.0, 100.0): "牛肉面", (60.0 + 100, 100.0): "120", (60.0, 170.0): "水饺", (60.0 + 72, 170.0): "60"}
    assert texts(read(reader, board(cells))) == ["牛肉面", "120", "水饺", "60"]


def test_two_columns_of_text_are_two_texts(reader: SignReader) -> None:
    left, right = ["Proibido fumar", "em todo o edifício"], ["Smoking is not", "allowed here"]
    cells = {(40.0, 100.0 + 50 * row): text for row, text in enumerate(left)}
    cells |= {(440.0, 100.0 + 50 * row): text for row, text in enumerate(right)}
    lines = read(reader, board(cells))
    assert texts(lines) == left + right
    assert [line.sign for line in lines] == [0, 0, 1, 1]


def test_columns_of_characters_are_read_downwards_from_the_right(reader: SignReader) -> None:
    picture = paper(500, 520)
    for x, column in ((360, "非常口"), (220, "立入禁止")):
        for index, character in enumerate(column):
            cell = line_of(character, height=72)
            picture = paste(picture, cell, box((x, 80 + 66 * index), cell.shape[1], cell.shape[0]))
    lines = read(reader, picture)
    assert texts(lines) == ["非常口", "立入禁止"]
    first = lines[0].quad
    assert first[1, 1] > first[0, 1] + 100  # corner 0 is where reading starts, corner 1 where the column ends


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_picture_that_was_turned_is_read_as_it_was_meant(reader: SignReader, quarters: int) -> None:
    picture = board({(120.0, 120.0): "Saída de emergência", (120.0, 200.0): "Mantenha livre"}, height=56)
    upright = read(reader, picture)
    lines = read(reader, np.ascontiguousarray(np.rot90(picture, quarters)))
    assert sorted(texts(lines)) == sorted(texts(upright)) == ["Mantenha livre", "Saída de emergência"]
    for line in lines:  # quads start where reading starts
        (same,) = (item for item in upright if item.look.recognition.text == line.look.recognition.text)
        assert np.abs(turned(same.quad, quarters, picture) - line.quad).max() < 12


def turned(quad: Quad, quarters: int, picture: ImageBgr) -> Quad:
    """Where the corners go when a picture is turned anticlockwise by quarters."""
    height, width = picture.shape[:2]
    for _ in range(quarters):
        quad = np.stack([quad[:, 1], width - 1 - quad[:, 0]], axis=1)
        height, width = width, height
    return quad


def test_a_slanting_line_is_read(reader: SignReader) -> None:
    line = line_of("BIBLIOTECA", height=48)
    picture = paste(paper(640, 480), line, box((320, 240), line.shape[1], line.shape[0], -25))
    assert texts(read(reader, picture)) == ["BIBLIOTECA"]


def test_faint_letters_are_read(reader: SignReader) -> None:
    picture = board({(120.0, 120.0): "Estacionamento"}, height=56)
    faint = cv2.addWeighted(picture, 0.25, np.full_like(picture, 200), 0.75, 0)
    assert texts(read(reader, np.asarray(faint, np.uint8))) == ["Estacionamento"]


@pytest.mark.parametrize("size", [(1, 1), (20_000, 24), (24, 20_000), (7, 3000)])
def test_a_picture_of_any_shape_is_read_or_refused(reader: SignReader, size: tuple[int, int]) -> None:
    assert read(reader, paper(*size)) == []


def test_lines_that_are_no_lines_are_left_out(reader: SignReader) -> None:
    picture = board({(120.0, 120.0): "Saída"})
    nothing = [
        np.zeros((4, 2), np.float32),
        np.full((4, 2), np.nan, np.float32),
        np.array([[0, 0], [9e5, 0], [9e5, 40], [0, 40]], np.float32),
        np.array([[0, 0], [100, 40], [100, 0], [0, 40]], np.float32),
    ]
    found = [DetectedLine(quad, 0.9) for quad in nothing] + reader.find(picture)
    assert [text for text in texts(reader.read_lines(picture, found)) if text == "Saída"] == ["Saída"]


def test_more_lines_than_an_answer_holds_are_not_read(reader: SignReader) -> None:
    found = [DetectedLine(box((30, 10 + index), 40, 12), 0.9) for index in range(3 * MAX_READING_LINES)]
    assert len(reader.read_lines(paper(80, 400), found)) <= MAX_READING_LINES


def test_crops_that_are_no_pictures_are_refused(reader: SignReader) -> None:
    with pytest.raises(InputError):
        reader.read_crops([np.zeros((0, 10, 3), np.uint8)])
    with pytest.raises(InputError):
        reader.read_crops([np.zeros((24, 20_000, 3), np.uint8)])
    assert reader.read_crops([]) == []


def test_a_line_grows_on_every_side_by_its_height() -> None:
    np.testing.assert_allclose(grown(box((100, 100), 80, 20), 0.5), box((100, 100), 100, 40), atol=1e-4)
