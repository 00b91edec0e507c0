"""The phrasebook knows common signs, forgives one reading error, and prefers no answer to a wrong one."""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from shared.errors import StorageError, UsageError
from shared.models.phrasebook import Phrase, Phrasebook, read_phrases

LANGUAGES = ("de", "es", "fr", "it", "ja", "ko", "pt", "zh")


@pytest.fixture(scope="module")
def book() -> Phrasebook:
    return Phrasebook.builtin()


def book_of(**languages: str) -> Phrasebook:
    return Phrasebook(
        phrase for language, text in languages.items() for phrase in read_phrases(text, language, f"{language}.tsv")
    )


def test_every_language_has_at_least_a_hundred_distinct_phrases(book: Phrasebook) -> None:
    assert book.languages == LANGUAGES
    translations: dict[str, set[str]] = defaultdict(set)
    for phrase in book:
        translations[phrase.language].add(phrase.translation)
    assert all(len(found) >= 100 for found in translations.values()), {k: len(v) for k, v in translations.items()}


def test_every_phrase_finds_itself_in_any_case(book: Phrasebook) -> None:
    for phrase in book:
        for text in (phrase.source, phrase.source.upper(), f" {phrase.source.lower()}! "):
            match = book.lookup(text, language=phrase.language)
            assert match is not None, text
            assert match.exact, text
            assert match.translation == phrase.translation, text


@pytest.mark.parametrize(
    ("text", "language", "translation"),
    [
        ("SAÍDA", "pt", "Exit"),
        ("SAIDA", "pt", "Exit"),
        ("Pedágio", "pt", "Toll"),
        ("PROIBIDO\nFUMAR", "pt", "No smoking"),
        ("¡PROHIBIDO FUMAR!", "es", "No smoking"),
        ("Défense d’afficher", "fr", "Post no bills"),
        ("Eau non potable", "fr", "Water not drinkable"),
        ("EINBAHNSTRASSE", "de", "One way"),
        ("Vorsicht Hund!", "de", "Beware of the dog"),
        ("ATTENTI AL CANE", "it", "Beware of the dog"),
        ("トイレ", "ja", "Toilets"),
        ("ﾄｲﾚ", "ja", "Toilets"),
        ("でぐち", "ja", "Exit"),
        ("화장실", "ko", "Toilets"),
        ("관계자 외 출입 금지", "ko", "Authorized personnel only"),
        ("洗手间", "zh", "Toilets"),
        ("洗手間", "zh", "Toilets"),
    ],
)
def test_a_sign_gets_its_idiomatic_english(book: Phrasebook, text: str, language: str, translation: str) -> None:
    for asked in (language, None):
        match = book.lookup(text, language=asked)
        assert match is not None
        assert (match.translation, match.exact) == (translation, True)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("Sa1da", "Saída"),
        ("SAlDA", "Saída"),
        ("Proibido furnar", "Proibido fumar"),
        ("PR0IBIDO FUMAR", "Proibido fumar"),
        ("Proibidofumar", "Proibido fumar"),
        ("Proibibo fumar", "Proibido fumar"),
        ("Ausgamg", "Ausgang"),
        ("Boulangene", None),
        ("Geschlosen", "Geschlossen"),
        ("Biglietterla", "Biglietteria"),
        ("出ロ", "出口"),
        ("トイし", None),
        ("エスカレタ一", None),
        ("エレべーター", "エレベーター"),
        ("공사중임니다", "공사중입니다"),
    ],
)
def test_one_reading_error_is_forgiven_where_that_is_safe(book: Phrasebook, text: str, source: str | None) -> None:
    match = book.lookup(text)
    assert (match.source if match else None) == source
    if match is not None and match.source.replace(" ", "").lower() != text.lower():
        assert not match.exact
        assert 0.8 < match.score < 0.96


@pytest.mark.parametrize(
    "text",
    [
        *("Aborto", "Forme", "Castello", "Cerezas", "Puerto Rico", "Boden", "Exit", "Closed", "Schuhe", "polo"),
        *("Aberto 25 horas", "Aufgang", "Menus", "Saldo", "barco", "Caso"),
        *("北出口", "女子トイレ中", "自动售货机", "公共汽车", "고등학교"),
        *("", "!!", "24", "x" * 500),
    ],
)
def test_another_word_is_not_taken_for_a_misread_phrase(book: Phrasebook, text: str) -> None:
    assert book.lookup(text) is None


def test_an_edit_that_makes_another_known_word_is_refused() -> None:
    known = book_of(es="No correr\tNo running\nNo comer\tNo eating\nSiempre correo\tAlways mail\n")
    assert known.lookup("No correo") is None
    assert known.lookup("No corrcr") is not None


def test_a_misread_negation_is_refused() -> None:
    signs = book_of(pt="Não entre aqui\tDo not enter here\n")
    assert signs.lookup("Nã entre aqui") is None
    assert signs.lookup("Não entrc aqui") is not None


def test_two_phrases_equally_near_with_different_meanings_are_both_refused() -> None:
    near = book_of(
        de="Hausmesser\tKnife\nHausmeister\tCaretaker\nHausmelster\tMelter\n", it="Cassato\tStruck\nCessato\tOver\n"
    )
    assert near.lookup("Hausmeisler") is None
    same = book_of(de="Ausgange\tExit\n", it="Ausgango\tExit\n")
    assert same.lookup("Ausqange") is not None


def test_random_damage_almost_never_makes_another_sign(book: Phrasebook) -> None:
    rng = random.Random(20)
    phrases = [phrase for phrase in book if len(phrase.key) >= 5]
    outcomes: Counter[str] = Counter()
    for phrase in phrases:
        place = rng.randrange(len(phrase.source))
        letter = rng.choice(rng.choice(phrases).source)
        damaged = phrase.source[:place] + letter + phrase.source[place + 1 :]
        match = book.lookup(damaged, language=phrase.language)
        if match is None:
            outcomes["none"] += 1
        else:
            outcomes["right" if match.translation == phrase.translation else "wrong"] += 1
    assert outcomes["wrong"] <= 0.003 * len(phrases), outcomes
    assert outcomes["right"] >= 0.33 * len(phrases), outcomes


def test_the_asked_language_only() -> None:
    signs = book_of(it="Caldo\tHot\n", es="Caldo\tBroth\n")
    assert signs.lookup("CALDO", language="it").translation == "Hot"  # type: ignore[union-attr]
    assert signs.lookup("CALDO", language="es").translation == "Broth"  # type: ignore[union-attr]
    assert signs.lookup("CALDO", language="de") is None


def test_the_expected_language_decides_between_equal_phrases() -> None:
    signs = book_of(it="Caldo\tHot\n", es="Caldo\tBroth\n")
    for language in ("it", "es"):
        match = signs.lookup("Caldo", expected=("de", language))
        assert match is not None
        assert match.language == language


def test_accents_decide_between_languages_when_nothing_is_expected() -> None:
    signs = book_of(de="Menü\tGerman menu\n", fr="Menu\tFrench menu\n")
    assert signs.lookup("Menü").language == "de"  # type: ignore[union-attr]
    assert signs.lookup("Menu").language == "fr"  # type: ignore[union-attr]


def test_every_language_of_an_exact_phrase_is_told(book: Phrasebook) -> None:
    assert set(book.exact_languages("Farmacia")) == {"es", "it", "pt"}
    assert book.exact_languages("Farmácia")["pt"] > book.exact_languages("Farmácia")["es"]
    assert book.exact_languages("nonsense") == {}


def test_a_lookup_takes_well_under_a_millisecond_on_average(book: Phrasebook) -> None:
    texts = [phrase.source[:-1] + "x" for phrase in book]
    started = time.process_time()
    for text in texts:
        book.lookup(text)
    assert (time.process_time() - started) / len(texts) < 1e-3


@pytest.mark.parametrize(
    ("content", "line", "why"),
    [
        ("# comment\n\nSaída\n", 3, "1 fields"),
        ("Saída\tExit\tvariant\tmore\n", 1, "4 fields"),
        ("Saída\t\n", 1, "translation is empty"),
        ("Saída\t Exit\n", 1, "spaces around"),
        ("\tExit\n", 1, "phrase '' is empty"),
        ("Saída\tExit\tSaídas||Sair\n", 1, "phrase '' is empty"),
        ("...\tExit\n", 1, "is empty"),
        ("Saida\u0301\tExit\n", 1, "NFC"),
        ("Saída\tExit\nSAIDA\tDeparture\n", 2, "another translation in line 1"),
    ],
)
def test_a_malformed_line_is_refused_with_file_and_line(tmp_path: Path, content: str, line: int, why: str) -> None:
    file = tmp_path / "pt.tsv"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=why) as caught:
        Phrasebook.from_folder(tmp_path)
    assert f"{file}:{line}:" in str(caught.value)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pt.tsv").write_bytes("Saída\tExit\n".encode("latin-1"))
    with pytest.raises(UsageError, match="not UTF-8"):
        Phrasebook.from_folder(tmp_path)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "pt.tsv").mkdir()
    with pytest.raises(StorageError, match=r"pt\.tsv"):
        Phrasebook.from_folder(tmp_path)


def test_a_repeated_variant_with_the_same_translation_counts_once() -> None:
    phrases = list(read_phrases("Saída\tExit\tSaida|SAÍDA\n", "pt", "pt.tsv"))
    assert phrases == [Phrase("Saída", "Exit", "pt", ("saida",), ("saída",))]


def test_other_words_of_a_folder_are_never_misreadings(tmp_path: Path) -> None:
    (tmp_path / "pt.tsv").write_text("Aberto\tOpen\n", encoding="utf-8")
    assert Phrasebook.from_folder(tmp_path).lookup("Abcrto") is not None
    (tmp_path / "other-words.tsv").write_text("# comment\nabcrto\n", encoding="utf-8")
    assert Phrasebook.from_folder(tmp_path).lookup("Abcrto") is None
