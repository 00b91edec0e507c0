"""What must be kept of a text, where its sentences go on, and what is a loop."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.models.sign_text import (
    Stretch,
    clean,
    copied_share,
    digits_kept,
    goes_on,
    has_loop,
    leads_on,
    overlap,
    stretches,
    without_loops,
)


@pytest.mark.parametrize(
    ("line", "following", "language", "expected"),
    [
        ("É PROIBIDA A", "ENTRADA", "pt", True),
        ("PROIBIDA A ENTRADA", "DE ANIMAIS", "pt", True),
        ("SAÍDA", "ENTRADA", "pt", False),
        ("Proibido fumar.", "de segunda a sexta", "pt", False),
        ("Não alimente os", "Animais", "pt", True),
        ("Notfall-", "ausgang", "de", True),
        ("Zutritt für", "Unbefugte verboten", "de", True),
        ("立入を", "禁止します", "ja", True),
        ("立入禁止", "危険", "ja", False),
        ("Keine", "Ahnung", None, False),
    ],
)
def test_a_sentence_goes_on_over_a_line_end(line: str, following: str, language: str | None, expected: bool) -> None:
    assert goes_on(line, following, language) is expected


def test_a_line_may_say_where_a_notice_leads_to() -> None:
    assert leads_on("para o jardim", "pt")
    assert not leads_on("do jardim", "pt")
    assert not leads_on("", "pt")


@pytest.mark.parametrize(
    ("source", "translation", "kept"),
    [
        ("Saída 12", "Exit 12", True),
        ("Saída 12", "Exit 21", False),
        ("Saída 12", "Exit", False),
        ("Aberto das 9h às 18h", "Open from 9 am to 6 pm", True),
        ("Aberto das 9h às 18h", "Open from 9 am to 5 pm", False),
        ("1.000 lugares", "1,000 seats", True),
        ("2 pessoas", "Two people", True),
        ("2 pessoas", "Three people", False),
        ("2 e 2", "2", False),
        ("Sem número", "No 7 number", True),
        ("１２ km", "12 km", True),
        ("", "", True),
    ],
)
def test_a_lost_number_is_noticed(source: str, translation: str, kept: bool) -> None:
    assert digits_kept(source, translation, "en") is kept


def test_a_loop_is_found_and_taken_out() -> None:
    assert has_loop("Toll toll", "Pedágio")
    assert has_loop("no entry no entry no entry", "Entrada proibida")
    assert not has_loop("Bora Bora", "Bora Bora")
    assert not has_loop("that is, is it", "isso")
    assert without_loops("Toll toll 2 km") == "Toll 2 km"
    assert without_loops("no entry no entry no entry") == "no entry"
    assert without_loops("10 10") == "10 10"


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_text_is_compared_and_cleaned_without_failing(one: str, other: str) -> None:
    assert 0.0 <= overlap(one, other) <= 1.0
    assert 0.0 <= copied_share(one, other) <= 1.0
    assert has_loop(one, one) is False
    assert len(without_loops(one)) <= len(one)
    assert digits_kept(one, one, "en")
    assert all(ord(character) >= 32 for character in clean(one))
    assert goes_on(one, other, "pt") in {True, False}
    assert "".join("".join(part.text.split()) for part in stretches(one)) == "".join(one.split())


def test_addresses_and_telephone_numbers_are_set_apart() -> None:
    assert stretches("Reservas: www.example.org ou Tel. +351 21 000 0000") == [
        Stretch("Reservas:", False),
        Stretch("www.example.org", True),
        Stretch("ou", False),
        Stretch("Tel. +351 21 000 0000", True),
    ]
    assert stretches("Aberto 24 horas") == [Stretch("Aberto 24 horas", False)]
