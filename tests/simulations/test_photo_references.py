"""The English for the real photographs: well-formed, complete, and compared by what an answer says."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import pytest

from shared.errors import InputError
from shared.limits import MAX_TEXT_CHARACTERS
from simulations.bench.photo_references import MAX_PHOTO_LINES, PhotoReference, load, parse
from simulations.bench.sign_phrases import MAX_LINE_CHARACTERS


@pytest.fixture(scope="module")
def references() -> Mapping[str, list[PhotoReference]]:
    return load()


def test_a_photographs_lines_each_have_a_row_of_their_own(references: Mapping[str, list[PhotoReference]]) -> None:
    assert references
    for photo, texts in references.items():
        alone = [text.lines[0] for text in texts if len(text.lines) == 1]
        joined = {line for text in texts for line in text.lines}
        assert alone == list(range(len(alone))), photo
        assert joined == set(alone), photo


def test_answers_are_in_latin_letters(references: Mapping[str, list[PhotoReference]]) -> None:
    letters = {c for texts in references.values() for text in texts for a in text.answers for c in a if c.isalpha()}
    assert [letter for letter in sorted(letters) if not unicodedata.name(letter).startswith("LATIN")] == []


def test_every_line_of_every_photograph_is_covered(
    references: Mapping[str, list[PhotoReference]], shared_material: Path
) -> None:
    truth = json.loads((shared_material / "photos" / "ground_truth.json").read_text(encoding="utf-8"))

    covered = {photo: sum(len(text.lines) == 1 for text in texts) for photo, texts in references.items()}

    assert covered == {photo: len(label["lines"]) for photo, label in truth.items()}


def test_the_english_that_comes_with_the_transcriptions_is_acceptable(
    references: Mapping[str, list[PhotoReference]], shared_material: Path
) -> None:
    truth = json.loads((shared_material / "photos" / "ground_truth.json").read_text(encoding="utf-8"))
    by_line = {(photo, text.lines): text for photo, texts in references.items() for text in texts}

    refused = [
        (photo, index, english)
        for photo, label in truth.items()
        for index, line in enumerate(label["lines"])
        for english in line.get("en", [])
        if not by_line[photo, (index,)].accepts(english)
    ]

    assert refused == []


def test_a_translation_is_accepted_by_what_it_says() -> None:
    (texts,) = parse(b"a.jpg\t2+3\tNo {smoking/smoking area}|Smoking [is] prohibited\n", "x").values()
    (text,) = texts

    assert text.lines == (2, 3)
    assert text.accepts("NO SMOKING!")
    assert text.accepts("smoking prohibited")
    assert not text.accepts("Smoking")
    assert not text.accepts("")
    assert not text.accepts("no smoking" + " " * MAX_TEXT_CHARACTERS)


def test_a_line_that_is_only_an_article_does_not_accept_nothing() -> None:
    text = PhotoReference("a.jpg", (0,), ("the",))

    assert text.accepts("The")
    assert not text.accepts("")
    assert not text.accepts("a")


def test_comments_and_empty_lines_are_skipped() -> None:
    assert parse(b"# a comment\n\na.jpg\t0\tExit\n", "x") == {"a.jpg": [PhotoReference("a.jpg", (0,), ("Exit",))]}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a.jpg\t0", "2 columns"),
        ("\t0\tExit", "file name"),
        ("a.jpg\t\tExit", "no index"),
        ("a.jpg\t-1\tExit", "no index"),
        ("a.jpg\t²\tExit", "no index"),
        (f"a.jpg\t{MAX_PHOTO_LINES}\tExit", "no index"),
        ("a.jpg\t1+1\tExit", "comes twice"),
        ("a.jpg\t0\t{Exit", "not closed"),
        ("a.jpg\t0\tExit|!", "says nothing"),
        ("a.jpg\t0\t" + "x" * (MAX_TEXT_CHARACTERS + 1), "more than 512 characters"),
        ("a.jpg\t0\t" + "x" * MAX_LINE_CHARACTERS, "the line has more than"),
        ("a.jpg\t0+1\tExit\na.jpg\t1+0\tExit", "already on line 2"),
    ],
)
def test_a_malformed_line_is_named(line: str, reason: str) -> None:
    with pytest.raises(InputError, match=rf"^list:\d+: .*{reason}"):
        parse(f"# list\n{line}\n".encode(), "list")


def test_what_is_not_utf8_is_named_by_its_line() -> None:
    with pytest.raises(InputError, match=r"^list:2: is not UTF-8"):
        parse(b"# list\n\xff", "list")
