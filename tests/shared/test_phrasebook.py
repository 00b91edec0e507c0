"""The phrasebook knows common signs, forgives one reading error, and prefers no answer to a wrong one."""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from shared.errors import StorageError, UsageError
from shared.models.phrase_files import Rank
from shared.models.phrase_index import NeighbourIndex
from shared.models.phrasebook import Phrase, Phrasebook, read_phrases

LANGUAGES = ("de", "es", "fr", "it", "ja", "ko", "pt", "zh")


@pytest.fixture(scope="module")
def book() -> Phrasebook:
    return Phrasebook.builtin()


def book_of(**languages: str) -> Phrasebook:
    return Phrasebook(
        phrase for language, text in languages.items() for phrase in read_phrases(text, language, f"{language}.tsv")
    )


def test_every_language_has_at_least_four_hundred_entries(book: Phrasebook) -> None:
    assert book.languages == LANGUAGES
    translations: dict[str, set[str]] = defaultdict(set)
    for phrase in book:
        translations[phrase.language].add(phrase.translation)
    assert all(len(found) >= 250 for found in translations.values()), {k: len(v) for k, v in translations.items()}


def test_every_phrase_finds_itself_in_any_case(book: Phrasebook) -> None:
    for phrase in random.Random(1).sample(list(book), 1500):
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
        *("Aborto", "Forme", "Cerezas", "Puerto Rico", "Boden", "Exit", "Closed", "Schuhe", "polo"),
        *("Aberto 2S horas", "Aufgamg", "Saldo", "barco", "Caso"),
        *("女子トイレ中", "北出日口", "고등학굣"),
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
    phrases = rng.sample([phrase for phrase in book if len(phrase.key) >= 5], 2500)
    outcomes: Counter[str] = Counter()
    for phrase in phrases:
        place = rng.randrange(len(phrase.source))
        letter = rng.choice(rng.choice(phrases).source)
        damaged = phrase.source[:place] + letter + phrase.source[place + 1 :]
        match = book.lookup(damaged, language=phrase.language)
        if match is None:
            outcomes["none"] += 1
        elif match.exact and match.translation != phrase.translation:
            outcomes["exactly another sign"] += 1
        else:
            outcomes["right" if match.translation == phrase.translation else "wrong"] += 1
    assert outcomes["wrong"] <= 0.002 * len(phrases), outcomes
    assert outcomes["exactly another sign"] <= 0.01 * len(phrases), outcomes
    assert outcomes["right"] >= 0.25 * len(phrases), outcomes


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
    texts = [phrase.source[:-1] + "x" for phrase in random.Random(2).sample(list(book), 1500)]
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
        ("Saída\tExit\n\x00\tNull\n", 2, r"control character U\+0000"),
        ("Saída\tEx\u202eit\n", 1, r"control character U\+202E"),
        ("Saída\tExit\n" + "x" * 5000 + "\tLong\n", 2, "more than 4096 characters"),
        ("x" * 161 + "\tLong\n", 1, "more than 160 characters"),
    ],
)
def test_a_malformed_line_is_refused_with_file_and_line(tmp_path: Path, content: str, line: int, why: str) -> None:
    file = tmp_path / "pt.tsv"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=why) as caught:
        Phrasebook.from_folder(tmp_path)
    assert f"{file}:{line}:" in str(caught.value)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pt.tsv").write_bytes("# Phrases\nSaída\tExit\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"pt\.tsv:2: not UTF-8 at byte 12"):
        Phrasebook.from_folder(tmp_path)


def test_a_huge_file_is_refused_without_reading_it_whole(tmp_path: Path) -> None:
    with (tmp_path / "pt.tsv").open("wb") as file:
        file.truncate(10**11)  # sparse: it takes no room
    with pytest.raises(UsageError, match="larger than 16 MB"):
        Phrasebook.from_folder(tmp_path)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "pt.tsv").mkdir()
    with pytest.raises(StorageError, match=r"pt\.tsv"):
        Phrasebook.from_folder(tmp_path)


def test_a_repeated_variant_with_the_same_translation_counts_once() -> None:
    phrases = list(read_phrases("Saída\tExit\tSaida|SAÍDA\n", "pt", "pt.tsv"))
    assert phrases == [Phrase("Saída", "Exit", "pt")]
    assert (phrases[0].tokens, phrases[0].accented, phrases[0].key) == (("saida",), ("saída",), "saida")


def test_other_words_of_a_folder_are_never_misreadings(tmp_path: Path) -> None:
    (tmp_path / "pt.tsv").write_text("Aberto\tOpen\n", encoding="utf-8")
    assert Phrasebook.from_folder(tmp_path).lookup("Abcrto") is not None
    (tmp_path / "other-words.tsv").write_text("# comment\nabcrto\n", encoding="utf-8")
    assert Phrasebook.from_folder(tmp_path).lookup("Abcrto") is None


def test_a_line_of_a_sign_may_be_a_phrase_a_template_or_a_number(book: Phrasebook) -> None:
    lines = book.lookup_lines(["Seg a Sex", "9h–18h", "", "24", "Proibido", "fumar"], language="pt")
    assert lines is not None
    assert [(line.text, line.lines) for line in lines] == [
        ("Monday to Friday: 9:00 to 18:00", 2),
        ("24", 1),
        ("No smoking", 2),
    ]
    assert lines[1].match is None


def test_the_language_of_most_lines_decides_for_the_others() -> None:
    signs = book_of(it="Caldo\tHot\nUscita\tExit\n", es="Caldo\tBroth\n")
    lines = signs.lookup_lines(["Uscita", "Caldo"])
    assert lines is not None
    assert [line.text for line in lines] == ["Exit", "Hot"]


@pytest.mark.parametrize("lines", [[], [" ", ""], ["24", "9:30"], ["Saída", "xyzzy"], ["Saída"] * 97])
def test_a_sign_with_a_line_that_is_nothing_known_is_not_answered_in_part(book: Phrasebook, lines: list[str]) -> None:
    assert book.lookup_lines(lines) is None


def test_a_folder_of_the_user_stands_on_top_of_what_ships(tmp_path: Path) -> None:
    (tmp_path / "pt.tsv").write_text("Saída\tThe way out\nBatente\tDoor frame\n", encoding="utf-8")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "pt.tsv").write_text("Cela {number}\tCell {1}\n", encoding="utf-8")
    book = Phrasebook.builtin_with(tmp_path)
    found = {text: book.lookup(text, language="pt") for text in ("SAÍDA", "Batente", "Cela 4", "Proibido fumar")}
    assert {text: match.translation for text, match in found.items() if match} == {
        "SAÍDA": "The way out",
        "Batente": "Door frame",
        "Cela 4": "Cell 4",
        "Proibido fumar": "No smoking",
    }
    builtin = Phrasebook.builtin().lookup("SAÍDA", language="pt")
    assert builtin is not None
    assert builtin.translation == "Exit"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nowhere"):
        Phrasebook.builtin_with(tmp_path / "nowhere")


def test_imported_phrases_rank_below_those_written_for_signs(tmp_path: Path) -> None:
    (tmp_path / "pt.tsv").write_text("Saída\tExit\n", encoding="utf-8")
    (tmp_path / "pt.osm.tsv").write_text("# Licence\nSaída\tDeparture\nFonte\tFountain\n", encoding="utf-8")
    book = Phrasebook.from_folder(tmp_path)
    assert {phrase.source: phrase.rank for phrase in book} == {"Saída": Rank.BUILTIN, "Fonte": Rank.IMPORTED}
    own, imported = book.lookup("Saída"), book.lookup("Fonte")
    assert own is not None
    assert imported is not None
    assert own.translation == "Exit"
    assert imported.score < own.score


def test_a_text_as_near_to_another_phrase_is_refused() -> None:
    signs = book_of(de="Mit Parkschein\tParking ticket required\nMit Parkscheibe\tParking disc required\n")
    assert signs.lookup("Mit Parkscheibn") is None
    assert signs.lookup("Mit Parkschcin") is not None


@pytest.mark.parametrize(
    "text",
    [
        *("\x00", "\x07Saída\x1b[0m", "🚪", "مخرج", "יציאה", "Saída مخرج 出口", "\u202eadíaS", "\ud800", "\uffff"),
        *("\ue000", "l" * 160, "口" * 160, "\u0301" * 160, "각" * 160, "x" * 10**6),
    ],
)
def test_odd_text_is_no_phrase(book: Phrasebook, text: str) -> None:
    assert book.lookup(text) is None
    assert book.lookup_lines(text.split("\n")) is None
    assert book.exact_languages(text) == {}


def test_neighbours_within_one_edit_are_all_found() -> None:
    rng = random.Random(5)
    words = list({"".join(rng.choice("abc出") for _ in range(rng.randint(0, 7))) for _ in range(600)})
    index = NeighbourIndex(words)

    def within_one(first: str, second: str) -> bool:
        if len(first) > len(second):
            first, second = second, first
        shorter = {second[:i] + second[i + 1 :] for i in range(len(second))}
        changed = len(first) == len(second) and sum(a != b for a, b in zip(first, second, strict=True)) <= 1
        return changed or (len(second) - len(first) == 1 and first in shorter)

    for query in ["", "a", "出出", "abcab", *rng.sample(words, 40)]:
        near = index.near(query)
        assert {number for number, word in enumerate(words) if within_one(query, word)} <= set(near)
        assert near == sorted(set(near))


def test_the_index_takes_eight_bytes_a_character() -> None:
    assert NeighbourIndex(["saida", "出口"]).nbytes == 8 * (6 + 3)
    assert NeighbourIndex([]).near("x") == []
