"""Acceptable English answers for the texts on the real photographs: what a translation of one of them is judged by.

`photo_references.tsv` names a photograph's lines by their index and holds English only: the photographs and their
transcriptions are not part of the repository. The answers were written before any system's output was seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Final

from shared.errors import InputError
from shared.limits import MAX_TEXT_CHARACTERS
from simulations.bench.sign_phrases import MAX_ANSWERS, MAX_LINE_CHARACTERS, fold
from simulations.bench.sign_phrases.variants import expand

__all__ = ["PhotoReference", "load", "parse"]

MAX_ROWS: Final = 10_000
"""Most rows of the list."""
MAX_PHOTO_LINES: Final = 1000
"""Most lines that a photograph's transcription may have."""
_NAME: Final = "photo_references.tsv"
_COLUMNS: Final = 3


@dataclass(frozen=True)
class PhotoReference:
    """One text on a photograph and what it may be translated to.

    Attributes:
        photo: file name of the photograph.
        lines: indices into the photograph's transcribed lines, in reading order; several where they are one text.
        answers: acceptable English translations, at least one.
    """

    photo: str
    lines: tuple[int, ...]
    answers: tuple[str, ...]

    @cached_property
    def folded_answers(self) -> frozenset[str]:
        """The answers in the form in which they are compared."""
        return frozenset(_comparable(answer) for answer in self.answers)

    def accepts(self, translation: str) -> bool:
        """Whether a translation is one of the answers, both folded; none longer than `MAX_TEXT_CHARACTERS` is."""
        return len(translation) <= MAX_TEXT_CHARACTERS and _comparable(translation) in self.folded_answers


def load() -> Mapping[str, list[PhotoReference]]:
    """Photograph → its texts, in the order of the list.

    Raises:
        InputError: the list cannot be read, or a line of it is malformed.
    """
    try:
        data = resources.files("simulations.bench").joinpath(_NAME).read_bytes()
    except OSError as error:
        raise InputError(f"{_NAME}: cannot be read: {error.strerror}") from error
    return parse(data, _NAME)


def parse(data: bytes, name: str) -> Mapping[str, list[PhotoReference]]:
    """Photograph → its texts.

    Args:
        data: UTF-8 text, one text of a photograph a line: file name, line indices joined by `+`, answers separated by
            `|` in the notation of `variants.expand`, separated by tabs. Lines that begin with `#` are comments; empty
            lines are skipped.
        name: what to call the list in errors.

    Raises:
        InputError: a line is malformed, or the same lines of a photograph come twice; the message begins with file and
            line.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = data.count(b"\n", 0, error.start)
        raise InputError(f"{name}:{before + 1}: is not UTF-8") from error
    references: dict[str, list[PhotoReference]] = {}
    seen: dict[tuple[str, frozenset[int]], int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{name}:{number}"
        reference = _reference(line, where)
        key = (reference.photo, frozenset(reference.lines))
        if key in seen:
            raise InputError(f"{where}: the same lines are already on line {seen[key]}")
        if len(seen) == MAX_ROWS:
            raise InputError(f"{where}: more than {MAX_ROWS} rows")
        seen[key] = number
        references.setdefault(reference.photo, []).append(reference)
    return references


def _reference(line: str, where: str) -> PhotoReference:
    if len(line) > MAX_LINE_CHARACTERS:
        raise InputError(f"{where}: the line has more than {MAX_LINE_CHARACTERS} characters")
    columns = line.split("\t")
    if len(columns) != _COLUMNS:
        raise InputError(f"{where}: {len(columns)} columns instead of {_COLUMNS}")
    photo, line_text, answer_text = columns
    if not photo or photo != photo.strip():
        raise InputError(f"{where}: the file name is empty or has white space around it")
    lines = tuple(_index(part, where) for part in line_text.split("+"))
    if len(set(lines)) != len(lines):
        raise InputError(f"{where}: a line comes twice in {line_text!r}")
    try:
        answers = expand(answer_text, MAX_ANSWERS)
    except InputError as error:
        raise InputError(f"{where}: {error.message}") from error
    for answer in answers:
        if len(answer) > MAX_TEXT_CHARACTERS:
            raise InputError(f"{where}: an answer has more than {MAX_TEXT_CHARACTERS} characters")
        if not any(character.isalnum() for character in answer):
            raise InputError(f"{where}: an answer says nothing")
    return PhotoReference(photo, lines, answers)


def _index(text: str, where: str) -> int:
    # Beyond ASCII `isdigit` is true of signs that `int` refuses; the length keeps `int` cheap.
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) < MAX_PHOTO_LINES):
        raise InputError(f"{where}: {text[:20]!r} is no index of a line")
    return int(text)


def _comparable(text: str) -> str:
    """Folded, or only in small letters where nothing but articles was there: "the" is a line of its own on one sign."""
    return fold(text) or " ".join(text.casefold().split())
