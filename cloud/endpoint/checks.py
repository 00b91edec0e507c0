"""Whether what an external model says may be shown. Pure functions; any doubt is a typed one.

A sign is data that a stranger wrote, and so is the answer of a model that has read it. An answer can therefore do one
thing only: stand as the translation of its own line. Here it is checked that it looks like one: no longer and not much
shorter than a translation can be, in a script of the target language, with the numbers of the line and no others, and
without links, markup or invisible characters that the line does not have.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from shared.limits import MAX_TEXT_CHARACTERS
from shared.models.language import identify
from shared.models.phrasebook import Phrasebook
from shared.models.script import LANGUAGE_SCRIPTS, Script, dominant_script
from shared.models.sign_text import digits_kept

EXPANSION: Final = 3.0
"""Most characters of a translation for each of its source. Short signs between European languages stay below 2.5 in the
sign phrases of the bench; a judgement above that."""
DENSE_EXPANSION: Final = 10.0
"""Likewise for a source in Han, kana or Hangul, a character of which is a syllable or a word."""
EXPANSION_EXTRA: Final = 24
"""Characters allowed beyond either: one word may need a phrase."""
SHRINKING: Final = 0.2
"""Least characters of a translation for each of its source, when the source has `LONG` ones; out of an alphabet into
Han a quarter is common."""
LONG: Final = 20
JUDGED_WORDS: Final = 5
"""Words from which a language is identified reliably enough to contradict."""
JUDGED_PROBABILITY: Final = 0.95

_DENSE: Final = frozenset({Script.HAN, Script.KANA, Script.HANGUL})
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
"""Categories that are no text: control, format (bidirectional overrides, zero width), private, unassigned."""
_LINK: Final = re.compile(
    r"[a-z][a-z0-9+.-]*://\S*|(?:mailto|tel|javascript|data):\S*|www\.\S+"
    r"|[\w.+-]+@[\w-]+\.\S+|@\w+"
    r"|\b[\w-]+(?:\.[\w-]+)*\.(?:com|net|org|info|io|app|dev|me|co|xyz|biz|shop|site|online|ru|cn|eu|uk|de|fr|es|it|pt"
    r"|br|jp|kr|th|us)\b(?:/\S*)?",
    re.IGNORECASE,
)
_MARKUP: Final = re.compile(r"[<>{}`\\|]|\]\(|\*\*|__|&#?\w+;|^\s*#+\s")
_NUMBER: Final = re.compile(r"\d+")


class Doubt(StrEnum):
    """Why an answer is not believed."""

    COUNT = "count"
    """Not as many lines as were asked for."""
    EMPTY = "empty"
    LENGTH = "length"
    INVISIBLE = "invisible"
    """Line breaks, control or formatting characters."""
    LINK = "link"
    MARKUP = "markup"
    NUMBERS = "numbers"
    """A number was lost, or came out of nowhere."""
    SCRIPT = "script"
    LANGUAGE = "language"


def doubt_of_translations(sources: Sequence[str], translations: Sequence[str], *, target: str) -> Doubt | None:
    """The first reason not to believe the translations of a sign's lines; None without one.

    Args:
        sources: lines as they were sent.
        translations: one for each.
        target: language asked for, ISO 639-1.
    """
    if len(sources) != len(translations):
        return Doubt.COUNT
    for source, translation in zip(sources, translations, strict=True):
        doubt = _doubt_of_line(source, translation, target)
        if doubt is not None:
            return doubt
    together = " ".join(translations)
    if len(together.split()) >= JUDGED_WORDS:
        guess = identify(together, phrasebook=Phrasebook.builtin(), expected=(target,))
        if guess.language not in {None, target} and guess.probability >= JUDGED_PROBABILITY:
            return Doubt.LANGUAGE
    return None


def _doubt_of_line(source: str, translation: str, target: str) -> Doubt | None:
    if not translation.strip():
        return Doubt.EMPTY if source.strip() else None
    factor = DENSE_EXPANSION if dominant_script(source) in _DENSE else EXPANSION
    if len(translation) > min(factor * len(source) + EXPANSION_EXTRA, MAX_TEXT_CHARACTERS):
        return Doubt.LENGTH
    if len(source) >= LONG and len(translation) < SHRINKING * len(source):
        return Doubt.LENGTH
    doubt = doubt_of_characters(translation, source)
    if doubt is not None:
        return doubt
    if not digits_kept(source, translation, target) or _new_numbers(source, translation):
        return Doubt.NUMBERS
    if dominant_script(translation) not in {Script.COMMON, *LANGUAGE_SCRIPTS.get(target, {Script.LATIN})}:
        return Doubt.SCRIPT
    return None


def doubt_of_characters(text: str, source: str = "") -> Doubt | None:
    """Whether a text has characters or links that its source does not.

    Args:
        text: one line.
        source: what it was made from.
    """
    allowed = set(source)
    if any(unicodedata.category(letter) in _INVISIBLE and letter not in allowed for letter in text):
        return Doubt.INVISIBLE
    folded = source.casefold()
    if any(match[0].casefold() not in folded for match in _LINK.finditer(text)):
        return Doubt.LINK
    if any(match[0].casefold() not in folded for match in _MARKUP.finditer(text)):
        return Doubt.MARKUP
    return None


def doubt_of_reading(text: str) -> Doubt | None:
    """The first reason not to believe what a model read off one line's picture.

    There is no source to compare with, so a link on a sign is not believed either.
    """
    if not text.strip():
        return Doubt.EMPTY
    if len(text) > MAX_TEXT_CHARACTERS:
        return Doubt.LENGTH
    return doubt_of_characters(text)


def _new_numbers(source: str, translation: str) -> bool:
    """Whether the translation has a number that the source has neither in digits nor as a time of the other clock."""
    given = _numbers(source)
    allowed = given + Counter({str(int(number) - 12): count for number, count in given.items() if _afternoon(number)})
    # Grouping may change (1.000, 1,000): what is left over must at least be made of the source's digits in order.
    extra = _numbers(translation) - allowed
    joined = "".join(_NUMBER.findall(_digits(source)))
    return any(number not in joined for number in extra)


def _numbers(text: str) -> Counter[str]:
    return Counter(number.lstrip("0") or "0" for number in _NUMBER.findall(_digits(text)))


def _digits(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _afternoon(number: str) -> bool:
    return number.isascii() and 13 <= int(number[:3]) <= 23 and len(number) == 2
