"""Cells that were found as one line are separated, characters of one line that were found apart are joined."""

from __future__ import annotations

import numpy as np
import pytest
from pictures_kit import box

from shared.models.line_merging import chains, joined
from shared.models.line_splitting import EM, character_width, is_number, split_line
from shared.models.recognition import Recognition

HEIGHT = 40.0


def typeset(*cells: str, gap: float, tracking: float = 0.0) -> tuple[Recognition, float]:
    """What a recogniser answers for cells so many ems apart, and the width of the line in pixels."""
    text, places, x = "", [], 0.0
    for number, cell in enumerate(cells):
        x += gap if number else 0.0
        for character in cell:
            advance = 0.25 if character == " " else character_width(character)
            text += character
            places.append(x + advance / 2)
            x += advance + tracking
    return Recognition(text, 0.9, 0.9, (0.9,) * len(text), tuple(place / x for place in places)), x * EM * HEIGHT


@pytest.mark.parametrize(
    ("cells", "gap"),
    [
        (("Caldo verde", "13,50"), 1.0),
        (("Lisboa", "Porto", "Faro"), 1.1),
        (("三宝牛肉面", "180", "猪脚饭", "90"), 0.6),
        (("牛肉面", "炒饭"), 1.5),
        (("三宝牛肉面", "180"), 0.45),
        (("天ぷらそば", "850円"), 0.5),
    ],
)
def test_cells_are_separated_at_the_gap_between_them(cells: tuple[str, ...], gap: float) -> None:
    look, width = typeset(*cells, gap=gap)
    parts = split_line(look, box((500, 100), width, HEIGHT))
    assert tuple(part.text for part, _ in parts) == cells
    lefts = [float(quad[0, 0]) for _, quad in parts]
    rights = [float(quad[1, 0]) for _, quad in parts]
    assert all(right <= left for right, left in zip(rights[:-1], lefts[1:], strict=True))
    assert all(0.0 <= place <= 1.0 for part, _ in parts for place in part.positions)


@pytest.mark.parametrize(
    ("text", "tracking"),
    [
        ("Saída de emergência", 0.0),
        ("SAIDA", 1.2),
        ("出口", 1.5),
        ("非常口", 1.1),
        ("出口3", 0.05),
        ("3番出口", 0.0),
        ("Gate 24", 0.0),
        ("2024年", 0.0),
    ],
)
def test_one_text_stays_one_line_however_it_is_spaced(text: str, tracking: float) -> None:
    look, width = typeset(text, gap=0.0, tracking=tracking)
    assert [part.text for part, _ in split_line(look, box((500, 100), width, HEIGHT))] == [text]


def test_characters_read_beyond_the_end_of_a_line_are_no_cells() -> None:
    # A recogniser that goes on after the last letter says of each of them that it is at the very end.
    places = (*(0.05 * place for place in range(1, 9)), *(1.0,) * 6)
    look = Recognition("Saída de xxxxx", 0.9, 0.9, (0.9,) * 14, places)
    quad = box((500, 100), 160, HEIGHT)
    assert split_line(look, quad) == [(look, quad)]


def test_a_line_whose_places_are_not_known_is_one_cell() -> None:
    look = Recognition("Caldo verde 13,50", 0.9, 0.9, (0.9,) * 17)
    assert len(split_line(look, box((500, 100), 900, HEIGHT))) == 1


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("13,50", True),
        ("850円", True),
        ("€ 4", True),
        ("R$ 12,00", True),
        ("24h", True),
        ("Gate 24", False),
        ("", False),
    ],
)
def test_prices_are_numbers(text: str, number: bool) -> None:
    assert is_number(text) is number


def test_characters_below_each_other_are_a_chain_and_words_are_not() -> None:
    column = [box((300, 100 + 60 * index), 44, 44) for index in range(4)]
    words = [box((700, 100 + 60 * index), 200, 44) for index in range(4)]
    assert chains([*column, *words]) == [[0, 1, 2, 3]]
    np.testing.assert_allclose(joined(column)[[0, 2]], [[322, 78], [278, 302]], atol=1e-3)  # read downwards


def test_where_a_row_and_a_column_compete_the_closer_neighbours_win() -> None:
    letters = [box((100 + 50 * column, 100 + 90 * row), 44, 44) for row in range(2) for column in range(3)]
    assert sorted(chains(letters)) == [[0, 1, 2], [3, 4, 5]]


def test_no_pieces_are_no_chains() -> None:
    assert chains([]) == []
    assert chains([box((100, 100), 40, 40)]) == []
