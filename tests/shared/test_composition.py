"""Signs of several phrases are composed where the parts can hardly change each other's meaning."""

from __future__ import annotations

import pytest

from shared.models.composition import COMPOSED, compose
from shared.models.phrasebook import Phrasebook, read_phrases

PHRASES = """
Achtung\tCaution
Stufe\tStep
Bitte\tPlease
Nicht rauchen\tDo not smoke
Ruhe bitte\tQuiet, please
Ausgang\tExit
Geschlossen\tClosed
Sonntag\tSunday
Kaffee\tCoffee
CCTV in Betrieb\tCCTV in operation
Kein Ausgang\tNo exit
Verboten\tForbidden
"""


@pytest.fixture(scope="module")
def book() -> Phrasebook:
    return Phrasebook(read_phrases(PHRASES, "de", "de.tsv"))


@pytest.mark.parametrize(
    ("text", "english"),
    [
        ("ACHTUNG STUFE", "Caution: step"),
        ("Achtung, Stufe!", "Caution, step"),
        ("Bitte nicht rauchen", "Please do not smoke"),
        ("Nicht rauchen bitte", "Please do not smoke"),
        ("Bitte Ruhe bitte", "Quiet, please"),
        ("Bitte CCTV in Betrieb", "Please CCTV in operation"),
        ("Kaffee 2,50 €", "Coffee 2,50 €"),
        ("Ausgang / Geschlossen", "Exit / Closed"),
        ("Ausgang / Exit", "Exit"),
        ("Ausgang - A12", "Exit - A12"),
        ("Ausgang. Kein Ausgang", "No exit"),
    ],
)
def test_parts_that_stand_by_themselves_are_put_together(book: Phrasebook, text: str, english: str) -> None:
    match = compose(book, text, language="de")
    assert match is not None
    assert match.translation == english
    assert match.score <= COMPOSED
    assert not match.exact


@pytest.mark.parametrize(
    "text",
    [
        "Ausgang verboten",
        "Stufe Achtung",
        "Ausgang / Nirgendwo",
        "12 / 13",
        "Ausgang, Stufe, Kaffee, Verboten, Sonntag",
        "Ausgang " * 100,
        "",
        "/ / /",
        "\x00, \ud800",
    ],
)
def test_what_could_mean_something_else_together_is_not(book: Phrasebook, text: str) -> None:
    assert compose(book, text, language="de") is None


def test_of_two_phrases_beside_each_other_one_has_more_than_a_word(book: Phrasebook) -> None:
    match = compose(book, "Kein Ausgang Sonntag", language="de")
    assert match is not None
    assert match.translation == "No exit, Sunday"
    assert compose(book, "Ausgang verboten", language="de") is None, "a word each: which one is meant?"


@pytest.mark.parametrize(
    ("language", "phrase", "text"),
    [
        ("fr", "Ne pas fumer\tDo not smoke", "MERCI DE NE PAS FUMER"),
        ("es", "No fumar\tDo not smoke", "Se ruega no fumar"),
        ("it", "Non fumare\tDo not smoke", "Si prega di non fumare"),
        ("pt", "Não fumar\tDo not smoke", "Pede-se não fumar"),
        ("zh", "不要吸烟\tDo not smoke", "请不要吸烟"),
    ],
)
def test_a_form_of_asking_before_a_phrase_is_a_please(language: str, phrase: str, text: str) -> None:
    book = Phrasebook(read_phrases(phrase, language, "x.tsv"))
    match = compose(book, text, language=language)
    assert match is not None
    assert match.translation == "Please do not smoke"


def test_other_languages_have_no_part_in_it(book: Phrasebook) -> None:
    assert compose(book, "Achtung, Stufe", language="pt") is None
