"""Signs with acceptable English answers: what a translation of a sign is judged by.

One file `<language>.tsv` per language, 100 phrases each, written before any system's output was seen. A phrase belongs
to the development half or to the report half by the CRC-32 of its text, so nobody chose which one it is in. Whoever
improves a translator looks at the development half only; figures that are reported come from the other one.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from importlib import resources
from typing import Final

from shared.errors import InputError
from shared.limits import MAX_TEXT_CHARACTERS
from simulations.bench.sign_phrases.folding import fold
from simulations.bench.sign_phrases.variants import expand

__all__ = ["LANGUAGES", "Category", "Half", "SignPhrase", "fold", "half_of", "is_acceptable", "load", "parse"]

LANGUAGES: Final = ("pt", "es", "fr", "de", "it", "ja", "ko", "zh")
"""Languages with a list, as ISO 639-1 codes."""
MAX_PHRASES: Final = 10_000
"""Most phrases of one list."""
MAX_ANSWERS: Final = 4096
"""Most answers of one phrase, written out."""
MAX_LINE_CHARACTERS: Final = 16_384
"""Longest line of a list."""
_LINE_BREAK: Final = " / "
_COLUMNS: Final = 3


class Half(StrEnum):
    """Which half of a list a phrase is in."""

    DEV = "dev"
    REPORT = "report"


class Category(StrEnum):
    """What kind of sign a phrase is from."""

    NOTICE = "notice"
    TRANSPORT = "transport"
    ROAD = "road"
    SHOP = "shop"
    MENU = "menu"
    LONG = "long"


@dataclass(frozen=True)
class SignPhrase:
    """One sign and what it may be translated to.

    Attributes:
        source: the text of the sign; lines are separated by a line feed.
        answers: acceptable English translations, at least one.
        category: what kind of sign it is from.
        half: which half of the list it is in.
    """

    source: str
    answers: tuple[str, ...]
    category: Category
    half: Half

    @cached_property
    def folded_answers(self) -> frozenset[str]:
        """The answers in the form in which they are compared."""
        return frozenset(fold(answer) for answer in self.answers)


def half_of(source: str) -> Half:
    """The half that a text as written in the file (line break as " / ") is in: an even CRC-32 is development."""
    return Half.REPORT if zlib.crc32(source.encode()) % 2 else Half.DEV


def load(language: str) -> list[SignPhrase]:
    """All phrases of a language, in the order of its file.

    Args:
        language: one of `LANGUAGES`.

    Raises:
        InputError: there is no list for the language, or a line of it is malformed.
    """
    if language not in LANGUAGES:
        raise InputError(f"no sign phrases for {language!r}", hint=f"there are lists for {', '.join(LANGUAGES)}")
    name = f"{language}.tsv"
    try:
        data = resources.files(__name__).joinpath(name).read_bytes()
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from error
    return parse(data, name)


def parse(data: bytes, name: str) -> list[SignPhrase]:
    """The phrases of one list.

    Args:
        data: UTF-8 text, one phrase a line: source, answers separated by `|`, category, separated by tabs. In an
            answer `[x]` may be absent and `{x/y}` is either (see `variants.expand`). Lines that begin with `#` are
            comments; empty lines are skipped.
        name: what to call the list in errors.

    Raises:
        InputError: a line is malformed, or a phrase comes twice; the message begins with file and line.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = data.count(b"\n", 0, error.start)
        raise InputError(f"{name}:{before + 1}: is not UTF-8") from error
    phrases: list[SignPhrase] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{name}:{number}"
        phrase = _phrase(line, where)
        key = " ".join(phrase.source.casefold().split())
        if key in seen:
            raise InputError(f"{where}: the phrase is already on line {seen[key]}")
        if len(phrases) == MAX_PHRASES:
            raise InputError(f"{where}: more than {MAX_PHRASES} phrases")
        seen[key] = number
        phrases.append(phrase)
    return phrases


def _phrase(line: str, where: str) -> SignPhrase:
    if len(line) > MAX_LINE_CHARACTERS:
        raise InputError(f"{where}: the line has more than {MAX_LINE_CHARACTERS} characters")
    columns = line.split("\t")
    if len(columns) != _COLUMNS:
        raise InputError(f"{where}: {len(columns)} columns instead of {_COLUMNS}")
    source, answer_text, category_text = columns
    if not source.strip() or source != source.strip():
        raise InputError(f"{where}: the source is empty or has white space around it")
    if len(source) > MAX_TEXT_CHARACTERS:
        raise InputError(f"{where}: the source has more than {MAX_TEXT_CHARACTERS} characters")
    try:
        answers = expand(answer_text, MAX_ANSWERS)
    except InputError as error:
        raise InputError(f"{where}: {error.message}") from error
    for answer in answers:
        if len(answer) > MAX_TEXT_CHARACTERS:
            raise InputError(f"{where}: an answer has more than {MAX_TEXT_CHARACTERS} characters")
        if not any(character.isalnum() for character in answer):
            raise InputError(f"{where}: an answer says nothing")
    try:
        category = Category(category_text)
    except ValueError as error:
        raise InputError(f"{where}: {category_text!r} is no category", hint=f"one of {', '.join(Category)}") from error
    return SignPhrase(source.replace(_LINE_BREAK, "\n"), answers, category, half_of(source))


def is_acceptable(translation: str, phrase: SignPhrase) -> bool:
    """Whether a translation is one of the phrase's answers, both folded (see `folding.fold`).

    A translation longer than `MAX_TEXT_CHARACTERS` is not acceptable.
    """
    return len(translation) <= MAX_TEXT_CHARACTERS and fold(translation) in phrase.folded_answers
