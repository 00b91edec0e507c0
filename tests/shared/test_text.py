"""Text is compared, translated and shown in one agreed form each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.models.text import (
    fold_accents,
    is_untranslatable,
    is_upper,
    normalise_for_match,
    normalise_for_translation,
    restore_case,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("¡Prohibido  FUMAR!", "prohibido fumar"),
        ("Ｓａｌｉｄａ", "salida"),
        ("SAÍDA", "saida"),
        ("Saída.", "Saida:"),
        ("Straße", "STRASSE"),
        ("Issue de\nsecours", "issue de secours"),
        ("L’ascenseur", "l'ascenseur"),
        ("トイレ", "ﾄｲﾚ"),
        ("Cœur", "COEUR"),
        ("sa|da", "salda"),
    ],
)
def test_equal_signs_share_a_match_key(one: str, other: str) -> None:
    assert normalise_for_match(one) == normalise_for_match(other) != ""


def test_marks_that_make_another_letter_stay() -> None:
    assert normalise_for_match("が") != normalise_for_match("か")
    assert normalise_for_match("й") != normalise_for_match("и")
    assert fold_accents("ñandú 각") == "nandu 각"


@given(st.text(max_size=60))
def test_a_match_key_is_stable_and_has_only_letters_and_digits(text: str) -> None:
    key = normalise_for_match(text)
    assert not any(character.isspace() for character in key)
    assert normalise_for_match(key) == key or not key.isascii()


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("PROIBIDO\nFUMAR", "pt", "Proibido fumar"),
        ("Proibido fumar", "pt", "Proibido fumar"),
        ("BR-101 SAÍDA 24 HORAS", "pt", "BR-101 saída 24 horas"),
        ("PEDÁGIO A 1 KM", "pt", "Pedágio a 1 km"),
        ("W.C. FEMININO", "pt", "W.C. feminino"),
        ("PRAÇA JOÃO XXIII", "pt", "Praça joão XXIII"),
        ("IVA INCLUIDO", "es", "IVA incluido"),
        ("AUSFAHRT TAG UND NACHT FREIHALTEN", "de", "Ausfahrt Tag und Nacht freihalten"),
        ("NOT-\nAUSGANG", "de", "Notausgang"),
        ("  Água   não\n potável ", "pt", "Água não potável"),
        ("禁止\n停车", "zh", "禁止停车"),
        ("禁止\n停车", None, "禁止停车"),
        ("출입\n금지", "ko", "출입 금지"),
        ("Ｓａíｄａ", "pt", "Saída"),
        ("", "pt", ""),
    ],
)
def test_a_translator_gets_one_line_in_sentence_case(text: str, language: str | None, expected: str) -> None:
    assert normalise_for_translation(text, language) == expected


def test_a_misread_digit_does_not_make_a_word_a_code() -> None:
    assert normalise_for_translation("ABERT0 HOJE", "pt") == "Abert0 hoje"


def test_mixed_case_is_not_capitals() -> None:
    assert is_upper("SAÍDA")
    assert is_upper("SAÍDA de EMERGÊNCIA")
    assert not is_upper("Saída")
    assert not is_upper("P")


@pytest.mark.parametrize(
    ("translation", "like", "shown"),
    [
        ("no smoking.", "PROIBIDO FUMAR", "No smoking"),
        ("No smoking.", "Proibido fumar.", "No smoking."),
        ("NO SMOKING", "PROIBIDO FUMAR", "No smoking"),
        ("exit", "出口", "Exit"),
        ("24 hours", "24 HORAS", "24 hours"),
        ("Dr. Smith St. closed.", "RUA FECHADA", "Dr. Smith St. closed."),
        ("", "x", ""),
    ],
)
def test_a_translation_is_shown_in_sentence_case(translation: str, like: str, shown: str) -> None:
    assert restore_case(translation, like) == shown


@pytest.mark.parametrize(
    "text",
    [
        *("", "12,90", "R$ 12,90", "€ 3.50", "2,99 EUR", "100円", "500원", "-20%", "10h30", "9h-18h", "9:00–18:00"),
        *("A12", "BR-101", "ABC-1234", "P", "P1 - P2", "5 kg", "30 km/h", "2ª", "www.example.com/menu", "info@a.de"),
        *("Tel. +49 30 1234567", "+55 11 99999-0000", "@wayword", "→ 3"),
    ],
)
def test_numbers_prices_times_codes_and_addresses_need_no_translation(text: str) -> None:
    assert is_untranslatable(text)


@pytest.mark.parametrize(
    "text",
    ["Exit", "24 horas", "Saída 12", "3番線", "10h às 18h", "Rua 5", "10% OFF", "出口", "A saída", "Menü 9,90 €"],
)
def test_anything_with_a_word_needs_translation(text: str) -> None:
    assert not is_untranslatable(text)
