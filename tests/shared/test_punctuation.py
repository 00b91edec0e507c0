"""Punctuation: every rule changes what it is for, and leaves alone what only looks like it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.limits import MAX_TEXT_CHARACTERS
from shared.models.punctuation import punctuate
from shared.models.recognition import Recognition
from shared.models.restoration import restored

CHANGED = {
    "opening marks of Spanish": [
        ("iAtención!", "¡Atención!"),
        ("lATENCIÓN!", "¡ATENCIÓN!"),
        ("IATENCIÓN! Obras", "¡ATENCIÓN! Obras"),
        ("jCuidado con el perro!", "¡Cuidado con el perro!"),
        ("!Cuidado con el perro!", "¡Cuidado con el perro!"),
        (";Prohibido fumar!", "¡Prohibido fumar!"),
        ("¿PELIGRO!", "¡PELIGRO!"),
        ("?Dónde está la salida?", "¿Dónde está la salida?"),
        ("iHola!", "¡Hola!"),
    ],
    "borders": [
        ("|Ausgang", "Ausgang"),
        ("Ausgang |", "Ausgang"),
        ("— Ausgang —", "Ausgang"),
        ("]Ausgang[", "Ausgang"),
        ("|", ""),
    ],
    "quotes and apostrophes": [
        ("L´ENTRÉE", "L'ENTRÉE"),
        ("L’ENTRÉE", "L'ENTRÉE"),
        ('L"ENTRÉE', "L'ENTRÉE"),
        ("USCITA D' EMERGENZA", "USCITA D'EMERGENZA"),
        ("<<Bar>>", "«Bar»"),
        (",,Zur Post“", "„Zur Post“"),
        (",Achtung“", "„Achtung“"),
    ],
    "leaders and spaces": [("Café ........ 2,50", "Café ... 2,50"), ("Sala   3", "Sala 3")],
    "numbers": [
        ("1O:3O", "10:30"),
        ("O9:00", "09:00"),
        ("l2:30", "12:30"),
        ("2O,5O €", "20,50 €"),
        ("Zimmer 1O1", "Zimmer 101"),
    ],
    "words": [
        ("S0RTIE", "SORTIE"),
        ("CENTR0", "CENTRO"),
        ("R00M 12", "ROOM 12"),
        ("SAlDA", "SAIDA"),
        ("SAL1DA", "SALIDA"),
        ("vietato sostare neI cortile", "vietato sostare neI cortile"),
        ("SaIida", "Salida"),
    ],
    "width": [
        ("Entrada！", "Entrada!"),
        ("ＷＣ", "WC"),
        ("出口,入口", "出口，入口"),
        ("コ一ヒー", "コーヒー"),
        ("ラ-メン", "ラーメン"),
    ],
}
KEPT = [
    "iPhone 15!",
    "Il bar!",
    "ISTANBUL!",
    "Is it open?",
    "In fiamme!",
    "i Bambini!",
    "Islas!",
    "¡Hola!",
    "¿Qué?",
    "«Bar»",
    "„Post“",
    "rock 'n' roll",
    "the dogs' home",
    "O'Neill",
    "5,—",
    "10 —",
    "-Pão",
    "Lisboa - Porto",
    "(1)",
    "...",
    "Tel. 010",
    "10l",
    "3,5 l",
    "B1O2",
    "A1",
    "CO2",
    "H2O",
    "MP3",
    "WIFI 5G",
    "4x4",
    "LAVABO 0",
    "McDonald",
    "東京-大阪",
    "1,000円",
    "10:00,12:00",
    "三一二",
]


@pytest.mark.parametrize(("text", "wanted"), [pair for pairs in CHANGED.values() for pair in pairs])
def test_what_is_misread_is_set_right(text: str, wanted: str) -> None:
    assert punctuate(text).text == wanted


@pytest.mark.parametrize("text", KEPT)
def test_what_only_looks_misread_is_kept(text: str) -> None:
    assert punctuate(text).text == text


def test_a_mark_that_was_not_read_is_added_to_spanish_only() -> None:
    assert punctuate("Prohibido fumar!", mark_before=True).text == "¡Prohibido fumar!"
    assert punctuate("Prohibido fumar!").text == "Prohibido fumar!"
    assert punctuate("Rauchen verboten!", mark_before=True).text == "Rauchen verboten!"
    assert punctuate("No smoking here!", mark_before=True).text == "No smoking here!"


def test_origins_say_where_each_character_was() -> None:
    edited = punctuate("|L’ENTRÉE")
    assert edited.text == "L'ENTRÉE"
    assert edited.origins == tuple(range(1, 9))
    added = punctuate("Prohibido fumar!", mark_before=True)
    assert added.origins == (-1, *range(16))


@given(st.text(max_size=60))
def test_any_text_has_an_origin_for_every_character_and_is_final(text: str) -> None:
    edited = punctuate(text)
    assert len(edited.origins) == len(edited.text)
    assert all(-1 <= origin < len(text) for origin in edited.origins)
    kept = [origin for origin in edited.origins if origin >= 0]
    assert kept == sorted(set(kept))


def test_a_text_longer_than_any_sign_is_left_alone() -> None:
    text = "|" * (MAX_TEXT_CHARACTERS + 1)
    assert punctuate(text).text == text


def test_a_line_that_is_nothing_but_a_border_is_empty() -> None:
    line = restored(Recognition("|", 0.8, 0.8, (0.8,), (0.5,)))
    assert (line.text, line.confidence, line.character_confidences) == ("", 0.0, ())


def test_a_restored_line_keeps_the_confidence_of_what_is_left() -> None:
    line = restored(Recognition("|Ausgang", 0.9, 0.2, (0.2, *(1.0,) * 7), tuple(i / 8 for i in range(8))))
    assert line.text == "Ausgang"
    assert line.confidence == line.minimum_confidence == 1.0
    assert line.positions[0] == 1 / 8
    assert restored(line) == line
