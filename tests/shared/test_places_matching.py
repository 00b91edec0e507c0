"""Which two readings are the same sign: texts that differ by a recogniser's error, and texts that differ by meaning."""

from __future__ import annotations

import pytest

from shared.places.matching import (
    NEAR,
    Glimpse,
    Kind,
    best_match,
    match,
    match_text,
    text_key,
)
from shared.places.messages import trust_in
from shared.places.privacy import looks_private
from shared.places.reading import KnownSign, PlaceReading

HASH = 0x0123_4567_89AB_CDEF
ALIKE = HASH ^ ((1 << NEAR) - 1)
UNLIKE = HASH ^ ((1 << 40) - 1)


def known(text: str, *, picture: int | None = HASH, trust: float = 0.8) -> KnownSign:
    return KnownSign(PlaceReading("8a393360d89ffff", text, "?", "pt", "en", picture, trust), trust, 4)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Saída de emergência", "SAIDA DE EMERGENCIA"),
        ("Cuidado com o degrau", "Cuidado como degrau"),  # a space lost
        ("出口 →", "出口"),
        ("Gate 3", "GATE 3."),
    ],
)
def test_case_accents_spaces_and_punctuation_make_no_other_sign(one: str, other: str) -> None:
    found = match_text(one, other)
    assert found is not None
    assert found.kind is Kind.EXACT
    assert text_key(one) == text_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Saída de emergência", "Saída de emergéncla"),
        ("Horário de funcionamento", "Horario de funcionamenlo"),
        ("Bitte Tür schließen", "Bitte Tür schliefen"),
        ("Linha 3 para o aeroporto", "Linha 3 para o aeroporfo"),
    ],
)
def test_a_letter_misread_in_a_long_text_is_the_same_sign(one: str, other: str) -> None:
    found = match_text(one, other)
    assert found is not None
    assert found.kind is Kind.FUZZY


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Gate 3", "Gate 5"),
        ("Gate 1 2", "Gate 12"),
        ("Linha 3 para o aeroporto", "Linha 5 para o aeroporto"),
        ("Aberto das 9 às 17 horas", "Aberto das 9 às 19 horas"),
        ("第3会議室入口はこちらです", "第8会議室入口はこちらです"),
        ("Platform A", "Platform B"),
        ("Terminal de passageiros A", "Terminal de passageiros B"),
        ("Damen", "Herren"),
        ("Push", "Pull"),
        ("Rua Nova", "Rua Nora"),
        ("Authorised persons only", "Unauthorised persons only"),
        ("Smoking in this area please", "No smoking in this area please"),
        ("Eau potable pour les visiteurs", "Eau non potable pour les visiteurs"),
        ("Proibido estacionar", "Permitido estacionar"),
        ("Saída", ""),
        ("!!!", "???"),
    ],
)
def test_texts_that_mean_something_else_are_other_signs(one: str, other: str) -> None:
    assert match_text(one, other) is None
    assert match_text(other, one) is None


def test_a_picture_alone_is_enough_where_nothing_was_read() -> None:
    found = match(Glimpse("", ALIKE), "Saída de emergência", HASH)
    assert found is not None
    assert found.kind is Kind.PICTURE
    assert match(Glimpse("", UNLIKE), "Saída de emergência", HASH) is None
    assert match(Glimpse("", None), "Saída de emergência", HASH) is None


@pytest.mark.parametrize("text", ["Entrada principal", "Saída 4 de emergência", "Padaria"])
def test_a_picture_never_replaces_a_text_that_says_something_else(text: str) -> None:
    assert match(Glimpse(text, HASH), "Saída de emergência", HASH) is None


@pytest.mark.parametrize("text", ["Gate 3", "Quarto 12", "Platform B", "P"])
def test_a_picture_never_vouches_for_a_number_or_a_letter(text: str) -> None:
    assert match(Glimpse("", HASH), text, HASH) is None


def test_a_picture_supports_a_text_that_is_half_lost() -> None:
    lost = "Saina de emerqenoja"
    assert match(Glimpse(lost, None), "Saída de emergência", HASH) is None
    found = match(Glimpse(lost, ALIKE), "Saída de emergência", HASH)
    assert found is not None


def test_of_two_signs_that_fit_alike_neither_is_taken() -> None:
    both = [known("Entrada dos artistas"), known("Saída dos artistas")]
    assert best_match(Glimpse("", HASH), both) is None
    found = best_match(Glimpse("Saída dos artistas", HASH), both)
    assert found is not None
    assert found[0].reading.text == "Saída dos artistas"


def test_trust_falls_with_how_little_alike_they_are() -> None:
    sign = known("Saída de emergência")
    exact = match(Glimpse("SAÍDA DE EMERGÊNCIA"), sign.reading.text, HASH)
    fuzzy = match(Glimpse("Saída de emergéncla"), sign.reading.text, HASH)
    assert exact is not None
    assert fuzzy is not None
    assert trust_in(sign, exact) == sign.trust
    assert trust_in(sign, fuzzy) < sign.trust


@pytest.mark.parametrize(
    "text", ["912 345 678", "Tel: 21-123-4567", "a.silva@example.org", "ligue ９１２３４５６７", "42"]
)
def test_numbers_that_reach_somebody_are_private(text: str) -> None:
    assert looks_private(text)


@pytest.mark.parametrize(
    "text", ["Aberto 9:00-17:30", "Desde 1987", "Linha 28 - Prazeres", "Sala 101", "Fechado de 24.12.2026 a 2.1.2027"]
)
def test_hours_years_and_rooms_are_not(text: str) -> None:
    assert not looks_private(text)
