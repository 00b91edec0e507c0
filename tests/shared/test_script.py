"""The script of a reading tells fluent garbage from text."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.models.script import (
    Script,
    alphabet_scripts,
    check_script,
    dominant_script,
    is_everyday_han,
    needs_picture,
    scripts_of,
)
from shared.models.script_picture import PictureScript

LATIN = frozenset(string.ascii_letters + string.digits + "áéíóúãõçñü")
HAN = frozenset(chr(code) for code in range(0x4E00, 0x9FA6))
KANA = frozenset(chr(code) for code in range(0x3041, 0x30FF))
HANGUL = frozenset(chr(code) for code in range(0xAC00, 0xAC80))
TINY = LATIN | HAN
SMALL = LATIN | HAN | KANA


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Saída", Script.LATIN),
        ("Ａｕｓｇａｎｇ", Script.LATIN),
        ("出口", Script.HAN),
        ("々〇", Script.HAN),
        ("でぐち", Script.KANA),
        ("ｽｰﾊﾟｰ", Script.KANA),
        ("営業中です", Script.KANA),
        ("비상구", Script.HANGUL),
        ("Выход", Script.CYRILLIC),
        ("Έξοδος", Script.GREEK),
        ("خروج", Script.ARABIC),
        ("יציאה", Script.HEBREW),
        ("निकास", Script.DEVANAGARI),
        ("ทางออก", Script.THAI),
        ("ელ", Script.OTHER),
        ("24 – 12,90 €", Script.COMMON),
        ("", Script.COMMON),
    ],
)
def test_the_dominant_script(text: str, script: Script) -> None:
    assert dominant_script(text) is script


@given(st.text(max_size=40))
def test_shares_of_scripts_add_up_to_one(text: str) -> None:
    shares = scripts_of(text)
    assert not shares or sum(shares.values()) == pytest.approx(1.0)
    assert Script.COMMON not in shares


def test_a_mixed_text_has_shares() -> None:
    assert scripts_of("WC出口12") == {Script.LATIN: 0.5, Script.HAN: 0.5}


def test_the_scripts_of_an_alphabet_leave_out_stray_characters() -> None:
    assert alphabet_scripts(TINY | frozenset("のア")) == {Script.LATIN, Script.HAN}
    assert alphabet_scripts(SMALL) == {Script.LATIN, Script.HAN, Script.KANA}


def test_a_firm_reading_is_believed() -> None:
    for text in ("Saída", "禁止停车", "WC 洗手间", "24小时", "R$ 12,90"):
        check = check_script(text, [0.97] * len(text), TINY)
        assert check.readable
        assert check.probability > 0.9


def test_hangul_read_as_han_is_unreadable_though_its_confidence_is_middling() -> None:
    check = check_script("品阳", (0.7, 0.58), SMALL)
    assert check.script is Script.HAN
    assert not check.readable


def test_kana_read_as_han_betrays_itself_by_single_weak_characters() -> None:
    confidences = (0.98, 0.3, 0.97, 0.35, 0.96)
    text = "防力口作中"
    without_kana = check_script(text, confidences, TINY)
    with_kana = check_script(text, confidences, SMALL)
    assert not without_kana.readable
    assert without_kana.probability < with_kana.probability


def test_rare_han_characters_count_against_a_reading() -> None:
    assert all(map(is_everyday_han, "出駅廁々"))
    assert not is_everyday_han("龘")
    assert (
        check_script("龘靐出口", [0.9] * 4, SMALL).probability < check_script("入口出口", [0.9] * 4, SMALL).probability
    )


def test_a_word_of_two_alphabets_is_not_believed() -> None:
    alphabet = LATIN | frozenset(chr(code) for code in range(0x410, 0x450))
    assert check_script("Выход", [0.95] * 5, alphabet).readable
    assert check_script("Bыxoд", [0.95] * 5, alphabet).probability <= 0.5
    assert check_script("Exit口", [0.95] * 5, SMALL).probability < check_script("Exit", [0.95] * 4, SMALL).probability


def test_an_alphabet_without_the_expected_script_makes_a_reading_unreadable() -> None:
    han = ("出口案内", [0.95] * 4)
    assert not check_script(*han, TINY, expected_languages=("ja",)).readable
    assert check_script(*han, SMALL, expected_languages=("ja",)).readable
    assert check_script(*han, TINY, expected_languages=("zh", "ja")).readable
    assert not check_script(*han, SMALL, expected_languages=("ko",)).readable
    assert check_script(*han, SMALL | HANGUL, expected_languages=("ko",)).readable


def test_a_firm_latin_reading_stays_readable_where_another_script_is_expected() -> None:
    assert check_script("EXIT", [0.95] * 4, TINY, expected_languages=("ko",)).readable
    assert not check_script("EXIT", [0.95, 0.5, 0.95, 0.9], TINY, expected_languages=("ko",)).readable
    assert not check_script("oI", [0.95] * 2, TINY, expected_languages=("ko",)).readable


def test_numbers_have_no_script_and_nothing_is_unreadable() -> None:
    assert check_script("12,90", [0.9] * 5, TINY).readable
    assert not check_script("  ", [], TINY).readable


def shows(script: Script | None, probability: float = 0.98) -> PictureScript:
    """A picture of a script, or of no text; the rest is Latin."""
    others = dict.fromkeys(Script, 0.0)
    if script is None:
        return PictureScript({**others, Script.LATIN: 1.0 - probability}, probability)
    return PictureScript({**others, Script.LATIN: 1.0 - probability, script: probability}, 0.0)


@pytest.mark.parametrize("script", [Script.HANGUL, Script.KANA, Script.THAI, Script.CYRILLIC, Script.OTHER, None])
def test_a_confident_reading_of_what_the_alphabet_cannot_write_is_not_believed(script: Script | None) -> None:
    for text in ("防力口作中", "Bbixoa", "12"):
        assert check_script(text, [0.9] * len(text), TINY).readable
        assert not check_script(text, [0.9] * len(text), TINY, picture=shows(script)).readable


def test_what_the_alphabet_can_write_is_believed() -> None:
    for script, text in ((Script.HAN, "出口案内"), (Script.LATIN, "Saída"), (Script.COMMON, "12,90")):
        assert check_script(text, [0.9] * len(text), TINY, picture=shows(script)).readable
    assert check_script("でぐち", [0.9] * 3, SMALL, picture=shows(Script.KANA)).readable


def test_a_wavering_picture_does_not_shake_a_good_reading() -> None:
    assert check_script("Saída", [0.97] * 5, TINY, picture=shows(Script.CYRILLIC, 0.3)).readable


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_the_surer_the_picture_shows_another_script_the_less_is_believed(first: float, second: float) -> None:
    low, high = sorted((first, second))
    text = "出口案内"
    checks = [check_script(text, [0.9] * 4, TINY, picture=shows(Script.HANGUL, value)) for value in (low, high)]
    assert 0.0 <= checks[1].probability <= checks[0].probability <= 1.0


def test_only_a_firm_reading_in_letters_of_its_own_needs_no_look_at_the_picture() -> None:
    assert not needs_picture("Saída de emergência", [0.99] * 19)
    assert not needs_picture("禁止停车", [0.99] * 4)
    assert needs_picture("Saída de emergência", [0.99] * 18 + [0.6])
    assert needs_picture("Saída de emergência", [0.95] * 19)
    assert not needs_picture("Saída de emergência", [0.7] * 19, says_words=True)
    assert needs_picture("出口", [0.99] * 2)
    assert needs_picture("KAZAKIKA", [1.0] * 8)  # Greek as often as Latin
    assert not needs_picture("12:30-14:00", [0.95] * 11)
    assert needs_picture("12:30-14:00", [0.85] * 11)
    assert needs_picture("11", [0.99] * 2)


def test_letters_for_formulas_do_not_make_an_alphabet_greek() -> None:
    letters = frozenset("αβγδεζηθικλμνξοπρστυφχψω")
    assert Script.GREEK not in alphabet_scripts(LATIN | letters)
    assert Script.GREEK in alphabet_scripts(LATIN | letters | frozenset("άέήίόύώ"))


@given(
    st.text(alphabet="出口入禁止Saída", min_size=1, max_size=8),
    st.lists(st.floats(0.0, 1.0), min_size=8, max_size=8),
    st.integers(0, 7),
    st.floats(0.0, 1.0),
)
def test_a_more_confident_character_never_lowers_the_probability(
    text: str, confidences: list[float], index: int, rise: float
) -> None:
    before = confidences[: len(text)]
    after = list(before)
    place = index % len(text)
    after[place] += (1.0 - after[place]) * rise
    low, high = check_script(text, before, TINY), check_script(text, after, TINY)
    assert 0.0 <= low.probability <= high.probability + 1e-9 <= 1.0 + 1e-9


def test_confidences_of_another_length_still_count() -> None:
    assert check_script("出口案内", [0.95, 0.2], TINY).probability < 0.5
    assert check_script("出口案内", [], TINY).probability == 1.0
