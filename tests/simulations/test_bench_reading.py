"""The reading bench scores every system alike, says what cannot run, and draws boards it knows the text of."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.errors import InputError
from shared.geometry import ImageBgr
from shared.models.packs import PackStore
from simulations.bench.reading.arms import CpuMeter, Shown, lines_of_tsv
from simulations.bench.reading.boards import KINDS, Painter, notice, price_list, write_folder
from simulations.bench.reading.command import Arm, load_arms, read_photo, tables
from simulations.bench.reading.page import page
from simulations.bench.reading.scoring import Photo, invented, load_photos, score_line, score_lines, spaces_of


def test_word_spaces_count_where_the_letters_are_right() -> None:
    score = score_lines(["Rua da Praia", "Sem saída", "Porto"], ["Rua daPraia", "Semsaida", "porto"])
    assert (score.exact, score.latin, score.spaced) == (2, 3, 1)
    assert (score.spaces, score.spaces_read, score.spaces_right) == (2, 1, 1)
    assert score.space_precision == 1.0
    assert score.space_recall == pytest.approx(0.5)
    assert score.space_f1 == pytest.approx(2 / 3)


def test_a_space_at_the_wrong_place_is_wrong_and_of_several_readings_the_best_counts() -> None:
    assert (score_line("ab cd", ["a bcd"]).spaces_right, score_line("ab cd", ["a bcd"]).spaces_read) == (0, 1)
    assert score_line("ab cd", ["abcd", "AB CD", "a b c d"]).spaced == 1
    assert spaces_of(" ａb  cd e ") == {2, 4}


def test_lines_without_words_have_no_word_spaces() -> None:
    score = score_lines(["出口 左", "12 30"], ["出口左", "1230"])
    assert (score.exact, score.latin, score.spaces) == (2, 0, 0)


def test_what_resembles_no_label_is_invented() -> None:
    assert invented(["서울", "Seoul"], ["品阳", "Seoul", "Seou1", "205"]) == ["品阳"]


def test_words_of_tesseract_are_joined_line_by_line() -> None:
    head = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext"
    rows = [
        "1\t1\t0\t0\t0\t0\t0\t0\t99\t99\t-1\t",
        "5\t1\t1\t1\t1\t1\t10\t20\t30\t8\t90\tSem",
        "5\t1\t1\t1\t1\t2\t50\t22\t40\t9\t90\tsaída",
        '5\t1\t1\t1\t2\t1\t10\t40\t30\t8\t90\t"A',
        "5\t1\t1\t1\t3\t1\t10\t40\t30\t8\t90\t ",
    ]
    first, second = lines_of_tsv("\n".join([head, *rows]))
    assert (first.text, second.text) == ("Sem saída", '"A')
    assert first.quad.tolist() == [[10, 20], [90, 20], [90, 31], [10, 31]]


class Echo:
    """A reader that answers with what it was given to say."""

    def __init__(self, *texts: str, knows: bool = True) -> None:
        self.texts, self.knows = texts, knows

    def read(self, image: ImageBgr, language: str) -> list[Shown]:
        return [Shown(text, np.array([[5, 5], [60, 5], [60, 25], [5, 25]], np.float32)) for text in self.texts]

    def reads(self, language: str) -> bool:
        return self.knows


def test_arms_read_the_same_photograph_and_targets_are_judged_beside_the_yardstick(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    cv2.imwrite(str(picture), np.full((40, 80, 3), 200, np.uint8))
    photo = Photo(picture, "ko", ("서울", "Seoul"), "sign")
    arms = [
        Arm("ours-low", Echo("Seoul", "品阳", knows=False), CpuMeter(external=False)),
        Arm("rapidocr", Echo(), CpuMeter(external=False)),
    ]
    result = read_photo(photo, arms, progress="1/1")
    arms[0].cpu.seconds, arms[1].cpu.seconds = 0.3, 1.0
    text = "\n".join(tables(arms, 1))
    assert "| ours-low | 0.500 |" in text
    assert "1 on 1 photos" in text
    assert "| ours-low | 0.500 | 0.570 | 0.30x | 0.20x | no |" in text
    assert "| ours-low | 0/1 | 1/1 |" in text  # by script: hangul, latin
    html = page([result], ["figures"])
    assert "서울" in html
    assert html.count("<img") == 3  # the photograph and two crops


def test_an_arm_that_cannot_run_is_skipped_with_its_reason(
    pack_store: PackStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="none of the arms"):
        load_arms(["tesseract-11"], pack_store)
    with pytest.raises(InputError, match="no arm 'eyes'"):
        load_arms(["eyes"], pack_store)


def test_every_kind_of_board_knows_its_lines() -> None:
    painter = Painter(3)
    for kind in KINDS:
        board = kind(painter)
        assert len(board.texts) == len(board.quads) == len(board.signs) > 0
        height, width = board.image.shape[:2]
        for quad in board.quads:
            x, y = quad.mean(axis=0)
            assert 0 < x < width
            assert 0 < y < height


def test_boards_are_a_folder_of_labelled_photographs(tmp_path: Path) -> None:
    painter = Painter(5)
    boards = [price_list(painter), notice(painter)]
    write_folder(boards, tmp_path)
    photos = load_photos(tmp_path, None)
    assert {photo.kind for photo in photos} == {"prices", "notice"}
    assert sum(len(photo.lines) for photo in photos) == sum(len(board.texts) for board in boards)
