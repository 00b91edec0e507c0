"""Lines are put into the order in which they are drawn (cases worked out by hand from the rules of UAX #9)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasses.bidi import MIRROR, is_right_to_left, visual


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Exit", False),
        ("יציאה", True),
        ("12 יציאה", True),
        ("مخرج Exit", True),
        ("Exit יציאה", False),
        ("12:30", False),
    ],
)
def test_the_first_strong_letter_gives_the_direction(text: str, expected: bool) -> None:
    assert is_right_to_left(text) is expected


@pytest.mark.parametrize(
    ("logical", "shown"),
    [
        ("Exit 12", "Exit 12"),
        ("אבג", "גבא"),
        ("אב גד", "דג בא"),
        ("קומה 25", "25 המוק"),  # numbers keep their order
        ("אב 10:30 ג", "ג 10:30 בא"),
        ("אב (גד)", "(דג) בא"),  # brackets are mirrored
        ("אב WiFi ג", "ג WiFi בא"),
        ("מחיר 50%", "50% ריחמ"),
        ("אב, גד!", "!דג ,בא"),
        ("א (b) ג", "ג (b) א"),
    ],
)
def test_a_right_to_left_line_is_shown_from_its_end(logical: str, shown: str) -> None:
    assert visual(logical, right_to_left=True) == shown


def test_right_to_left_words_within_a_left_to_right_line_are_turned_alone() -> None:
    assert visual("Hotel אבג 12", right_to_left=False) == "Hotel 12 גבא"
    assert visual("Hotel (אבג)", right_to_left=False) == "Hotel (גבא)"


@given(st.text(alphabet="אבגabcابת12٤ .,:-+%$()[]«»/!\u05b0", max_size=40), st.booleans())
def test_every_character_is_shown_once(line: str, right_to_left: bool) -> None:
    shown = visual(line, right_to_left=right_to_left)

    def counted(text: str) -> list[str]:
        return sorted(min(character, MIRROR.get(character, character)) for character in text)

    assert counted(shown) == counted(line)


@given(st.text(alphabet="abc 12.,()", max_size=30))
def test_a_left_to_right_line_stays_as_it_is(line: str) -> None:
    assert visual(line, right_to_left=False) == line
