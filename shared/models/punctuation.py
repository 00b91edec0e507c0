"""Punctuation and lookalikes set right in what a recogniser read; conservative, one rule at a time.

A recogniser misreads small marks, and some it cannot write: ``¡`` is in no dictionary, ``¿`` in few. Every rule below
changes a character only where the characters around it leave one reading, or where the changed word is known and the
read one is not (`sign_words`). What a sign may mean literally stays: typographic quotes, a price's dash, a list's
hyphen, codes such as B12 and names such as iPhone.

* **Edges**: bars and dashes at either end of a line are the border of the sign.
* **Width**: full-width forms in Latin text become half-width; a comma, colon, ``!`` or ``?`` between Chinese or
  Japanese characters becomes full-width, and a dash between katakana the long-vowel bar.
* **Quotes**: ``<<`` is ``«``, ``,,`` before a word is ``„``, and any raised mark between two letters is an apostrophe.
* **Leaders**: four dots or more, the line of a menu between dish and price, are three.
* **Digits**: ``O o l I`` inside a number are digits; ``0 1`` inside a word are letters.
* **Spanish**: what stands for ``¡`` or ``¿`` before a sentence that ends in ``!`` or ``?`` becomes one; where nothing
  was read, one is added if the picture has a mark there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from shared.limits import MAX_TEXT_CHARACTERS
from shared.models.script import Script, dominant_script, script_of
from shared.models.sign_words import SignWords

_BORDERS: Final = "|¦‖│┃_~"
"""Marks that end a line only as the border of a sign."""
_DASHES: Final = "—―"
_NEVER_FIRST: Final = "]})"
_NEVER_LAST: Final = "[{("
_SPACE: Final = re.compile(r"\s*")
_APOSTROPHES: Final = "'’‘´`′ʼ\"”“"
_APOSTROPHE: Final = re.compile(rf"(?<=[^\W\d_])[{_APOSTROPHES}](?=[^\W\d_])")
_ELISION: Final = re.compile(
    r"(?<![^\W_])(?:[cdjlmnst]|qu|jusqu|lorsqu|dell|all|dall|nell|sull|un|quest|sant|c|v)['’]\s(?=[aeiouhàâèéêìòù])",
    re.IGNORECASE,
)
_DIGIT_OF: Final = str.maketrans("OolI", "0011")
_NUMBER_RUN: Final = re.compile(r"(?<![^\W_])[\dOolI]+(?:[.,:][\dOolI]+)*(?![^\W_])")
_WORD: Final = re.compile(r"[^\W_]+")
_SENTENCE: Final = re.compile(r"(?:^|(?<=[.!?]\s)|(?<=[\"«“(]))\s*((?:[!?](?=\s?[^\W\d_]))?[^.!?]+)([!?])")
_LOOKALIKES_OF_OPENING: Final = {"!": "il1jIï|!;:¿", "?": "il1jIï|?;:2z"}
"""What the opening mark of a sentence that ends like this is read as; measured on rendered lines."""
_OPENING: Final = {"!": "¡", "?": "¿"}
_NAMES_AFTER_I: Final = frozenset({"phone", "pad", "pod", "mac", "os", "tunes", "cloud", "watch", "book", "robot"})
"""What follows a small i in names of products."""
_FULL_MARKS: Final = {",": "，", ":": "：", "!": "！", "?": "？", ";": "；"}
_LONG_VOWEL_LOOKALIKES: Final = "-—–一ｰ"
_HALF_OF: Final = {"。": ".", "、": ",", "・": "·"}
_SPANISH_SHARE: Final = 0.6
"""A text is taken for Spanish when so many of its letters stand in Spanish words."""


@dataclass(frozen=True, slots=True)
class Edited:
    """A text and where it came from.

    Attributes:
        text: as it should be.
        origins: for each of its characters the index of the one it was read as, in the text before; for an inserted
            one, -1.
    """

    text: str
    origins: tuple[int, ...]


def punctuate(text: str, *, words: SignWords | None = None, mark_before: bool = False) -> Edited:
    """Set right what a recogniser read; see the module for the rules.

    Args:
        text: one line. One longer than a text may be (`limits.MAX_TEXT_CHARACTERS`) is left as it is.
        words: what counts as known; the built-in words by default.
        mark_before: whether a mark of which nothing was read is before the text (`Recognition.mark_before`).
    """
    if not text or len(text) > MAX_TEXT_CHARACTERS:
        return Edited(text, tuple(range(len(text))))
    return _punctuate(text, mark_before) if words is None else _Line(text, words, mark_before).edited()


@lru_cache(maxsize=1024)
def _punctuate(text: str, mark_before: bool) -> Edited:
    """Several looks at a line mostly read alike."""
    return _Line(text, SignWords.builtin(), mark_before).edited()


class _Line:
    """A line while it is set right."""

    def __init__(self, text: str, words: SignWords, mark_before: bool) -> None:
        self._mark_before = mark_before
        self._characters = list(text)
        self._origins = list(range(len(text)))
        self._words = words

    def edited(self) -> Edited:
        script = dominant_script(self._text)
        self._strip_borders()
        if script in {Script.LATIN, Script.COMMON}:
            self._each(_half_width)
            self._set_quotes()
            self._shorten_leaders()
            self._single_spaces()
            self._set_numbers()
            self._set_words()
            self._open_sentences()
        elif script in {Script.HAN, Script.KANA}:
            self._set_full_width()
        return Edited(self._text, tuple(self._origins))

    @property
    def _text(self) -> str:
        return "".join(self._characters)

    def _replace(self, start: int, end: int, new: str) -> None:
        """Put other characters in the place of some; those in the same place keep their origin."""
        old = self._origins[start:end]
        self._origins[start:end] = [*old[: len(new)], *[-1] * (len(new) - len(old))]
        self._characters[start:end] = new

    def _each(self, rule: Callable[[str], str]) -> None:
        for index, character in enumerate(self._characters):
            self._characters[index] = rule(character)

    def _strip_borders(self) -> None:
        text = self._text
        start, end = 0, len(text)
        while start < end and _is_border(text, start, step=1):
            start = _skip_space(text, start + 1)
        while end > start and _is_border(text, end - 1, step=-1):
            end = len(text[start : end - 1].rstrip()) + start
        self._replace(end, len(text), "")
        self._replace(0, start, "")

    def _set_quotes(self) -> None:
        for match in reversed(list(re.finditer(r"<<|>>|(?<!\S),,(?=\w)", self._text))):
            self._replace(match.start(), match.end(), {"<<": "«", ">>": "»"}.get(match[0], "„"))
        if re.match(r",\w", self._text) and re.search(r"\w[!?.]?[“”\"]", self._text):
            self._replace(0, 1, "„")
        for match in _APOSTROPHE.finditer(self._text):
            self._replace(match.start(), match.end(), "'")
        for match in reversed(list(_ELISION.finditer(self._text))):
            self._replace(match.end() - 1, match.end(), "")

    def _shorten_leaders(self) -> None:
        for match in reversed(list(re.finditer(r"[.·…]{4,}|(?:[.·] ){3,}[.·]", self._text))):
            self._replace(match.start(), match.end(), "...")

    def _single_spaces(self) -> None:
        for match in reversed(list(re.finditer(r"\s{2,}", self._text))):
            self._replace(match.start(), match.end(), " ")

    def _set_numbers(self) -> None:
        for match in _NUMBER_RUN.finditer(self._text):
            if _is_number(match[0]):
                self._replace(match.start(), match.end(), match[0].translate(_DIGIT_OF))

    def _set_words(self) -> None:
        for match in _WORD.finditer(self._text):
            word = _as_word(match[0], self._words)
            if word != match[0]:
                self._replace(match.start(), match.end(), word)

    def _open_sentences(self) -> None:
        """Spanish opening marks, from the last sentence to the first so that places stay."""
        for match in reversed(list(_SENTENCE.finditer(self._text))):
            start = match.start(1)
            sentence, closing = match[1], match[2][0]
            width = self._misread_opening(sentence, closing)
            if width:
                self._replace(start, start + width, _OPENING[closing])
            elif self._mark_before and start == 0 and self._is_unopened(sentence):
                self._replace(0, 0, _OPENING[closing])

    def _is_unopened(self, sentence: str) -> bool:
        """Whether a sentence is Spanish and begins with a word."""
        return sentence[0].isalpha() and self._words.share_of("es", sentence) >= _SPANISH_SHARE

    def _misread_opening(self, sentence: str, closing: str) -> int:
        """How many characters at the start of a sentence are its misread opening mark."""
        first = sentence[0]
        rest = sentence[1:].lstrip()
        if first not in _LOOKALIKES_OF_OPENING[closing] or not rest[:1].isalpha():
            return 0
        width = len(sentence) - len(rest)
        spanish = self._words.share_of("es", rest) >= _SPANISH_SHARE
        if not first.isalnum() or width > 1:
            return width if spanish or first == "¿" else 0
        whole, inner = _WORD.match(sentence), _WORD.match(rest)
        if whole is None or inner is None or whole[0] in self._words:
            return 0
        if first in "ij" and rest[0].isupper() and inner[0].casefold() not in _NAMES_AFTER_I:
            return 1  # no word begins like this, whatever its language
        joined = (rest[0].isupper() and not first.isupper()) or "es" in self._words.languages(inner[0])
        return 1 if spanish and joined else 0

    def _set_full_width(self) -> None:
        characters = self._characters
        for index, character in enumerate(characters):
            before = characters[index - 1] if index else ""
            after = characters[index + 1] if index + 1 < len(characters) else ""
            if character in _FULL_MARKS and _is_eastern(before) and (not after or _is_eastern(after)):
                characters[index] = _FULL_MARKS[character]
            elif character in _LONG_VOWEL_LOOKALIKES and _is_katakana(before) and (not after or _is_katakana(after)):
                characters[index] = "ー"


def _is_border(text: str, index: int, *, step: int) -> bool:
    """Whether the mark at an end of a line is no part of it; `step` leads from it into the line."""
    character = text[index]
    if character in _BORDERS or character in (_NEVER_FIRST if step > 0 else _NEVER_LAST):
        return True
    if character not in _DASHES:
        return False
    # "5,—" is a price, and "10 —" may be the first half of a range.
    inside = text[index + step :].lstrip()[:1] if step > 0 else text[:index].rstrip()[-1:]
    return not inside or inside.isalpha()


def _skip_space(text: str, index: int) -> int:
    match = _SPACE.match(text, index)
    return index if match is None else match.end()


def _half_width(character: str) -> str:
    if "\uff01" <= character <= "\uff5e" or character == "\u3000":
        return unicodedata.normalize("NFKC", character)
    return _HALF_OF.get(character, character)


def _is_number(run: str) -> bool:
    """Whether a run of digits and lookalikes is a number: its letters are among digits, not beside them."""
    digits = sum(character.isdigit() for character in run)
    letters = sum(character.isalpha() for character in run)
    if letters == 0 or digits < 2 or letters > digits:
        return False
    parts = re.split("[.,:]", run)
    if len(parts) > 1:
        # "2O,5O", "O9:00": every part has a digit, or is one of several.
        return all(len(part) <= 3 for part in parts)
    return run[0].isdigit() and run[-1].isdigit()


def _as_word(word: str, words: SignWords) -> str:
    """A word whose digits are letters, or that has a capital I for a small L; itself where that is not sure."""
    letters = sum(character.isalpha() for character in word)
    digits = [character for character in word if character.isdigit()]
    if letters < 2 or len(digits) > letters or not set(digits) <= {"0", "1", "5"}:
        return word
    upper = sum(character.isupper() for character in word) > letters / 2
    if digits:
        candidates = [word.translate(table) for table in (_UPPER_TABLES if upper else _LOWER_TABLES)]
        known = [candidate for candidate in candidates if candidate in words]
        if known:
            return known[0]
        # In an unknown word only a zero between letters leaves one reading.
        alone = re.fullmatch(r"[^\W\d_]{2,}0[^\W\d_]{2,}", word)
        return word if alone is None else candidates[0]
    if word in words:
        return word
    wrong = re.search(r"(?<=[A-ZÀ-Þ])l(?=[A-ZÀ-Þ])|(?<=[a-zß-ÿ])I(?=[a-zß-ÿ])", word)
    if wrong is None:
        return word
    changed = [word.replace("l", "I"), word.replace("l", "L")] if upper else [word.replace("I", "l")]
    return next((candidate for candidate in changed if candidate in words), word)


_UPPER_TABLES: Final[Sequence[dict[int, int]]] = (
    str.maketrans("015", "OIS"),
    str.maketrans("015", "OLS"),
)
_LOWER_TABLES: Final[Sequence[dict[int, int]]] = (
    str.maketrans("015", "ols"),
    str.maketrans("015", "ois"),
)


def _is_eastern(character: str) -> bool:
    return bool(character) and script_of(character) in {Script.HAN, Script.KANA}


def _is_katakana(character: str) -> bool:
    return "ァ" <= character <= "ヺ" or character == "ー"
