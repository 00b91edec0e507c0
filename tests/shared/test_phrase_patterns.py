"""Patterns and words make phrases that count like written ones, and never against a written one."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import UsageError
from shared.limits import MAX_PATTERN_PHRASES, MAX_PHRASE_CHARACTERS, MAX_PHRASE_FILE_BYTES, MAX_PHRASE_LINE_CHARACTERS
from shared.models.phrase_files import Rank
from shared.models.phrase_patterns import parse_patterns, read_patterns
from shared.models.phrasebook import Phrasebook, read_phrases
from shared.models.text import match_tokens

PORTUGUESE = (
    "# acts and things\n"
    "@act\tfumar ; fume\tsmoking ; smoke\n"
    "@act\tnadar|mergulhar ; nade|mergulhe\tswimming ; swim\n"
    "Proibido {act}\tNo {act}\tÉ proibido {act}|Não é permitido {act}\n"
    "Por favor não {act.2}\tPlease do not {act.2}\n"
)


def folder_of(path: Path, **files: str) -> Path:
    """A folder with phrase files (``pt``) and pattern files (``pt_patterns``)."""
    (path / "patterns").mkdir(parents=True)
    for name, text in files.items():
        language, _, kind = name.partition("_")
        (path / kind / f"{language}.tsv").write_text(text, encoding="utf-8")
    return path


def made(text: str, language: str = "pt") -> dict[str, str]:
    return {phrase.source: phrase.translation for phrase in read_patterns(text, language, f"{language}.tsv")}


def test_every_pattern_is_filled_with_every_word_of_its_class() -> None:
    assert made(PORTUGUESE) == {
        f"{before} {act}": f"No {english}"
        for before in ("Proibido", "É proibido", "Não é permitido")
        for act, english in (("fumar", "smoking"), ("nadar", "swimming"), ("mergulhar", "swimming"))
    } | {
        "Por favor não fume": "Please do not smoke",
        "Por favor não nade": "Please do not swim",
        "Por favor não mergulhe": "Please do not swim",
    }


def test_a_variant_may_take_another_form_and_words_may_follow_their_pattern() -> None:
    text = "{act} ist verboten\tNo {act}\tBitte nicht {act.2}\n@act\tRauchen ; rauchen\tsmoking\n"
    assert made(text, "de") == {"Rauchen ist verboten": "No smoking", "Bitte nicht rauchen": "No smoking"}


def test_the_english_begins_large_and_spaces_are_single() -> None:
    text = "@thing\tl'ascensore\tthe  lift\nFuori  servizio:   {thing}\t{thing} is out  of order\n"
    assert made(text, "it") == {"Fuori servizio: l'ascensore": "The lift is out of order"}


@pytest.mark.parametrize(
    ("before", "word", "after"),
    [
        ("Proibido ", "fumar", ""),
        ("Défense d'", "afficher", " ici"),
        ("Attenzione all’", "ÈRA", "!"),
        ("Vor", "gärten", "weg"),
        ("禁止", "吸烟", "区"),
        ("ｺﾋｰﾊ", "ﾞｽ", "のみ"),
        ("no!", "lift", " a"),
        ("한국", "어", "만"),
        ("e", "\u0301tage", ""),
        ("(", "Straße", ")"),
        ("", "Saída", " só"),
        ("25", "5℃", "x"),
        ("A", "B‼b", ""),
    ],
)
def test_words_put_together_are_those_of_the_whole_text(before: str, word: str, after: str) -> None:
    text = f"@x\t{word}\ta\n{before}{{x}}{after}\tB {{x}}\n"
    (phrase,) = read_patterns(text, "pt", "pt.tsv")
    assert phrase.tokens == tuple(match_tokens(before + word + after))


@pytest.mark.parametrize(
    ("content", "line", "why"),
    [
        ("Proibido {act}\tNo {act}\n", 1, "no word of the class 'act'"),
        ("@act\tfumar\tsmoking\nProibido {act}\tNo {thing}\n", 2, "are of two classes"),
        ("@act\tfumar\tsmoking\nProibido {act}\tNo {act}\tÉ proibido {thing}\n", 2, "are of two classes"),
        ("@act\tfumar\tsmoking\nNão {act.2}\tDo not {act}\n", 2, "form 2 of the source is missing .* in line 1"),
        ("@act\tfumar\tsmoking\nA {act}\tNo {act}\tNão {act.2}\n", 2, "form 2 of the source is missing"),
        ("@act\tfumar\tsmoking\nNão {act}\tDo not {act.2}\n", 2, "form 2 of the English is missing .* in line 1"),
        ("Proibido\tNo {act}\n", 1, "no slots in 'Proibido'"),
        ("Proibido {act}\tProhibited\n", 1, "no slots in 'Prohibited'"),
        ("Proibido {act}\tNo {act}\tProibido\n", 1, "no slots in 'Proibido'"),
        ("{act} e {act}\tNo {act}\n", 1, "2 slots"),
        ("Proibido {act.0}\tNo {act}\n", 1, "a slot is"),
        ("Proibido {act\tNo {act}\n", 1, "a slot is"),
        ("Proibido {act}|Não {act}\tNo {act}\n", 1, "third field"),
        (" Proibido {act}\tNo {act}\n", 1, "spaces around"),
        ("Proibido {act}\n", 1, "a pattern of 1 fields"),
        ("@act\tfumar\n", 1, "a word of 2 fields"),
        ("@act\tfumar\tsmoking\tmore\n", 1, "a word of 4 fields"),
        ("@Act!\tfumar\tsmoking\n", 1, "no name of a class"),
        ("@act\tfumar; fume\tsmoking\n", 1, "separates forms"),
        ("@act\tfumar\tsmoking|smoke\n", 1, "separates forms"),
        ("@act\tfumar||fume\tsmoking\n", 1, "the form '' is empty"),
        ("@act\tfumar ; \tsmoking\n", 1, "the form '' is empty"),
        ("@act\t{x}\tsmoking\n", 1, "brace"),
        ("# first\n\n@act\tfuma\u0301r\tsmoking\n", 3, "NFC"),
        ("@act\tfumar\x00\tsmoking\n", 1, "U\\+0000"),
        ("@act\t" + "x" * MAX_PHRASE_LINE_CHARACTERS + "\tsmoking\n", 1, "more than"),
        ("@act\t" + "x" * MAX_PHRASE_CHARACTERS + "\ty\nA {act}\tB {act}\n", 2, "with the word of line 1"),
        ("@act\tx\t" + "y" * MAX_PHRASE_CHARACTERS + "\nA {act}\tB {act}\n", 2, "with the word of line 1"),
    ],
)
def test_a_malformed_line_is_refused_with_file_and_line(tmp_path: Path, content: str, line: int, why: str) -> None:
    folder_of(tmp_path, pt_patterns=content)
    with pytest.raises(UsageError, match=rf"pt\.tsv:{line}: .*{why}"):
        Phrasebook.from_folder(tmp_path)


def test_a_file_that_is_not_utf8_or_huge_is_refused(tmp_path: Path) -> None:
    file = folder_of(tmp_path) / "patterns" / "pt.tsv"
    file.write_bytes(b"# ok\nA \xe9\t{act}\n")
    with pytest.raises(UsageError, match=r"pt\.tsv:2: not UTF-8"):
        Phrasebook.from_folder(tmp_path)
    with file.open("wb") as stream:
        stream.truncate(MAX_PHRASE_FILE_BYTES + 1)
    with pytest.raises(UsageError, match="larger than"):
        Phrasebook.from_folder(tmp_path)


def test_patterns_that_would_make_too_much_are_refused_before_they_are_expanded() -> None:
    words = "".join(f"@x\tw{number}\te{number}\n" for number in range(100))
    patterns = [f"p{number} {{x}}\tq{number} {{x}}\n" for number in range(MAX_PATTERN_PHRASES // 100)]
    assert sum(1 for _ in read_patterns(words + "".join(patterns), "pt", "pt.tsv")) == MAX_PATTERN_PHRASES
    last = 100 + len(patterns) + 1
    with pytest.raises(UsageError, match=rf"pt\.tsv:{last}: .*more than {MAX_PATTERN_PHRASES} phrases"):
        parse_patterns(words + "".join(patterns) + "r {x}\ts {x}\n", "pt.tsv")


def test_a_written_phrase_is_believed_before_a_pattern_and_of_two_patterns_the_first(tmp_path: Path) -> None:
    patterns = PORTUGUESE + "É {act.2}\tFirst {act}\nÉ  {act.2}\tSecond {act}\n"
    book = Phrasebook.from_folder(folder_of(tmp_path, pt="Proibido fumar\tThank you\n", pt_patterns=patterns))
    english = {phrase.source: phrase.translation for phrase in book}
    assert english["Proibido fumar"] == "Thank you"
    assert english["É proibido fumar"] == "No smoking"
    assert english["É fume"] == "First smoking"
    assert len(english) == len(book) == 1 + 8 + 3 + 3


def test_patterns_of_the_user_replace_what_ships_and_imported_phrases_rank_below_patterns(tmp_path: Path) -> None:
    own = folder_of(tmp_path / "own", pt_patterns="@x\tfumar\tpuffing\nProibido {x}\tNo {x}\n")
    match = Phrasebook.builtin_with(own).lookup("PROIBIDO FUMAR", language="pt")
    assert match is not None
    assert match.translation == "No puffing"
    imported = folder_of(tmp_path / "imported", pt_patterns="@x\tfumar\tsmoking\nProibido {x}\tNo {x}\n")
    (imported / "pt.osm.tsv").write_text("Proibido fumar\tSmoke-free\n", encoding="utf-8")
    (phrase,) = Phrasebook.from_folder(imported)
    assert (phrase.translation, phrase.rank, phrase.from_pattern) == ("No smoking", Rank.BUILTIN, True)


def test_a_reading_error_is_forgiven_in_a_filled_pattern_and_refused_between_two(tmp_path: Path) -> None:
    text = "@thing\tda fonte\tfountain\n@thing\tda ponte\tbridge\nEntrada {thing}\tEntrance to the {thing}\n"
    book = Phrasebook.from_folder(folder_of(tmp_path, pt_patterns=text))
    match = book.lookup("Emtrada da fonte")
    assert match is not None
    assert (match.translation, match.exact) == ("Entrance to the fountain", False)
    assert book.lookup("Entrada da fonte") is not None
    assert book.lookup("Entrada da honte") is None
    assert book.lookup("Entrada da onte") is None


def test_a_written_phrase_with_a_filled_pattern_as_near_is_refused(tmp_path: Path) -> None:
    written, damaged = "Entrada da fonte\tEntrance to the fountain\n", "Entrada da tonte"
    alone = Phrasebook(read_phrases(written, "pt", "pt.tsv"))
    assert alone.lookup(damaged) is not None
    book = Phrasebook.from_folder(
        folder_of(tmp_path, pt=written, pt_patterns="@x\tda lonte\tlont\nEntrada {x}\tEntrance to the {x}\n")
    )
    assert book.lookup(damaged) is None


def test_the_words_of_filled_patterns_are_words_of_the_language(tmp_path: Path) -> None:
    book = Phrasebook.from_folder(folder_of(tmp_path, pt_patterns=PORTUGUESE))
    assert {"proibido", "mergulhar", "fume", "favor"} <= book.words("pt")
    assert {"please", "swimming"} <= book.words("en")
    assert book.languages == ("pt",)


def test_what_ships_has_patterns_whose_words_are_those_of_their_text() -> None:
    filled = [phrase for phrase in Phrasebook.builtin() if phrase.from_pattern]
    assert filled
    assert all(phrase.tokens == tuple(match_tokens(phrase.source)) for phrase in filled)
    assert all(not set(phrase.source + phrase.translation) & set("{}|") for phrase in filled)
