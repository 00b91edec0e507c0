"""One or two words name their language, or it is unknown."""

from __future__ import annotations

from collections import Counter

import pytest

from shared.models.language import SUPPORTED_LANGUAGES, identify, warm_up
from shared.models.phrasebook import Phrasebook


@pytest.fixture(scope="module")
def book() -> Phrasebook:
    warm_up()
    return Phrasebook.builtin()


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Proibido estacionar", "pt"),
        ("SAÍDA", "pt"),
        ("Estação de trem", "pt"),
        ("Calle cerrada", "es"),
        ("¡Cuidado!", "es"),
        ("Señal", "es"),
        ("Sortie de secours", "fr"),
        ("Où est la gare ?", "fr"),
        ("Bitte nicht stören", "de"),
        ("STRASSE GESPERRT", "de"),
        ("Fußweg", "de"),
        ("Vietato fumare", "it"),
        ("Perché sì", "it"),
        ("Please do not smoke", "en"),
        ("No parking", "en"),
        ("でぐち", "ja"),
        ("営業中です", "ja"),
        ("駅", "ja"),
        ("화장실", "ko"),
        ("CCTV 작동중", "ko"),
        ("请勿拍照", "zh"),
        ("厕所", "zh"),
    ],
)
def test_short_signs_name_their_language(book: Phrasebook, text: str, language: str) -> None:
    guess = identify(text, phrasebook=book)
    assert guess.language == language
    assert guess.probability >= 0.6


@pytest.mark.parametrize("text", ["", "  ", "12,90 €", "10h30", "P", "A12", "Выход", "ทางออก", "خروج"])
def test_numbers_and_other_scripts_are_unknown(book: Phrasebook, text: str) -> None:
    guess = identify(text, phrasebook=book)
    assert (guess.language, guess.probability) == (None, 0.0)


@pytest.mark.parametrize("text", ["Uitgang", "Verboden te roken", "Wyjście", "Rökning förbjuden", "Çıkış", "Kijárat"])
def test_a_neighbour_of_the_supported_languages_is_unknown(book: Phrasebook, text: str) -> None:
    assert identify(text, phrasebook=book).language is None


def test_a_word_of_several_languages_follows_the_expectation(book: Phrasebook) -> None:
    for language in ("es", "it"):
        guess = identify("Farmacia", phrasebook=book, expected=(language,))
        assert guess.language == language


def test_an_expectation_does_not_overrule_plain_evidence(book: Phrasebook) -> None:
    assert identify("Bitte nicht stören", phrasebook=book, expected=("pt",)).language == "de"
    assert identify("でぐち", phrasebook=book, expected=("zh",)).language == "ja"
    assert identify("厕所", phrasebook=book, expected=("ja",)).language == "zh"


def test_han_of_both_countries_follows_the_expectation_and_is_less_certain_without(book: Phrasebook) -> None:
    expected = identify("出口", phrasebook=book, expected=("ja",))
    alone = identify("出口", phrasebook=book)
    assert expected.language == "ja"
    assert alone.language in {None, "ja", "zh"}
    assert alone.probability < expected.probability
    assert identify("出口", phrasebook=book, expected=("zh",)).language == "zh"


def test_where_both_countries_are_expected_the_text_decides_before_the_order(book: Phrasebook) -> None:
    for order in (("ja", "zh"), ("zh", "ja")):
        assert identify("小心地滑", phrasebook=book, expected=order).language == "zh"


@pytest.mark.parametrize(
    "text",
    [
        "\x00\x07",
        "\ud800\udfff",
        "🚭🐕",
        "🚭 🐕 12",
        "مخرج الطوارئ EXIT خروج",
        "a" * 5000,
        "口" * 5000,
        "é" * 3,
        "\u202eadilaS",
    ],
)
def test_whatever_arrives_is_answered_with_a_language_or_unknown(book: Phrasebook, text: str) -> None:
    guess = identify(text, phrasebook=book)
    assert guess.language is None or guess.language in SUPPORTED_LANGUAGES
    assert 0.0 <= guess.probability <= 1.0


def test_a_japanese_phrase_in_shared_characters_is_japanese(book: Phrasebook) -> None:
    assert identify("喫煙所", phrasebook=book).language == "ja"


def test_phrases_are_named_correctly_or_not_at_all(book: Phrasebook) -> None:
    outcomes: Counter[str] = Counter()
    for phrase in list(book)[::9]:
        guess = identify(phrase.source, phrasebook=book)
        assert guess.language is None or guess.language in SUPPORTED_LANGUAGES
        assert 0.0 <= guess.probability <= 1.0
        homes = set(book.exact_languages(phrase.source)) | {"en"}  # "Parking" is English too
        outcomes["right" if guess.language in homes else "unknown" if guess.language is None else "wrong"] += 1
    total = sum(outcomes.values())
    assert outcomes["wrong"] <= 0.01 * total, outcomes
    assert outcomes["right"] >= 0.9 * total, outcomes
