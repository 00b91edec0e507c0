"""Signs that are several phrases: "Achtung, Stufe", "Fermé le lundi", "Kaffee 2,50 €", "Salida / Exit".

A composed answer is believed less than a phrase, and made only where the parts can hardly change each other's meaning:

* parts between punctuation marks, each of them a phrase or nothing to translate;
* a word of attention (achtung), or of politeness (por favor, merci de, 请), with a phrase;
* a phrase and a number, price or code;
* a phrase and a second one, not both a single word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shared.limits import MAX_PHRASE_CHARACTERS
from shared.models.phrasebook import Phrasebook, PhraseMatch
from shared.models.text import is_untranslatable, match_tokens

MAX_PARTS: Final = 4
MAX_WORDS: Final = 12
"""Longest part that is divided, in words."""
COMPOSED: Final = 0.9
"""Factor on the score of the least sure part."""

_SEPARATOR: Final = re.compile(r"(\s+[/|·•–—-]\s+|[,;:.!?]+\s+|[、，。；：！？・]\s*)")
_ASKING: Final[Mapping[str, re.Pattern[str]]] = {
    "pt": re.compile(r"(?:é favor|favor|por gentileza|pede-se(?: para)?|solicita-se|pedimos)\s+", re.IGNORECASE),
    "es": re.compile(r"(?:(?:se|le) (?:ruega|solicita|pide)|les? rogamos|rogamos|favor de)\s+", re.IGNORECASE),
    "fr": re.compile(r"(?:merci de|veuillez|pri[èe]re de|nous vous prions de)\s+", re.IGNORECASE),
    "de": re.compile(r"(?:wir bitten (?:sie|darum),?|bitte)\s+", re.IGNORECASE),
    "it": re.compile(r"(?:(?:si|vi) prega(?: di)?|vi preghiamo di|siete pregati di|per cortesia)\s+", re.IGNORECASE),
    "zh": re.compile("(?:敬?请您?|敬?請您?)(?![勿进進])"),
}
"""Forms of asking that stand before what is asked for."""
_ATTENTION: Final = frozenset({("caution",), ("warning",), ("danger",), ("attention",)})
_PLEASE: Final = ("please",)
_NAMES: Final = frozenset({
    "I", "English", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday", "January", "February",
    "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
})  # fmt: skip
"""First words that stay as they are after a comma."""
_SHOWN: Final = {"、": ", ", "，": ", ", "。": ". ", "；": "; ", "：": ": ", "！": "! ", "？": "? ", "・": ", "}


@dataclass(frozen=True, slots=True)
class _Part:
    """English of a part, and how sure it is; `match` None where the part is copied."""

    text: str
    match: PhraseMatch | None
    score: float = 1.0


def compose(phrasebook: Phrasebook, text: str, *, language: str, expected: Sequence[str] = ()) -> PhraseMatch | None:
    """The English of a line whose every part is a phrase or nothing to translate; None where that is not so.

    Args:
        phrasebook: where phrases are looked up.
        text: one line. Longer ones than `MAX_PHRASE_CHARACTERS` have no answer.
        language: ISO 639-1 code of the line.
        expected: as for `Phrasebook.lookup`.

    Returns:
        A match that is not exact; its source is the text.
    """
    if len(text) > MAX_PHRASE_CHARACTERS:
        return None
    # An odd number of pieces: parts, and the separators between them.
    pieces = _SEPARATOR.split(" ".join(text.split()).strip(" ,;:.!?¡¿、，。；：！？・"))
    if len(pieces) > 2 * MAX_PARTS - 1:
        return None

    def lookup(part: str) -> PhraseMatch | None:
        return phrasebook.lookup(part, language=language, expected=expected)

    parts = [_part(piece, phrasebook, language, lookup) for piece in pieces[::2]]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        # "Salida / Exit": a part that nothing translates may be the translation of another.
        translations = {_key(part.text) for part in known}
        if any(
            part is None and _key(piece) not in translations for part, piece in zip(parts, pieces[::2], strict=True)
        ):
            return None
    matches = [part.match for part in known if part.match is not None]
    if not matches:
        return None
    separators = ["", *pieces[1::2]]
    shown = ""
    for part, separator in zip(parts, separators, strict=True):
        if part is not None:
            shown = _joined(shown, part.text, _SHOWN.get(separator.strip(), separator))
    score = COMPOSED * min(part.score for part in known)
    return PhraseMatch(text, shown, language, score, exact=False)


def _part(
    text: str, phrasebook: Phrasebook, language: str, lookup: Callable[[str], PhraseMatch | None]
) -> _Part | None:
    match = lookup(text)
    if match is not None:
        return _Part(match.translation, match, match.score)
    if is_untranslatable(text):
        return _Part(text, None)

    def exact(part: str) -> PhraseMatch | None:
        return lookup(part) if language in phrasebook.exact_languages(part) else None

    asked = _asked_kindly(text, language, lookup)
    if asked is not None:
        return asked
    words = text.split()
    if not 2 <= len(words) <= MAX_WORDS:
        return None
    return _with_courtesy(words, lookup, exact) or _with_value(words, exact) or _of_two(words, exact)


def _asked_kindly(text: str, language: str, lookup: Callable[[str], PhraseMatch | None]) -> _Part | None:
    """A form of asking before a phrase: "Merci de ne pas fumer", "请排队"."""
    pattern = _ASKING.get(language)
    asking = pattern.match(text) if pattern is not None else None
    if asking is None:
        return None
    phrase = lookup(text[asking.end() :])
    if phrase is None:
        return None
    return _Part(_kindly(phrase.translation), phrase, phrase.score)


def _kindly(english: str) -> str:
    return english if "please" in match_tokens(english) else f"Please {_small(english)}"


def _with_courtesy(
    words: list[str], lookup: Callable[[str], PhraseMatch | None], exact: Callable[[str], PhraseMatch | None]
) -> _Part | None:
    """A word of attention before a phrase, or one of politeness before or after it."""
    for length in range(1, min(4, len(words))):
        for courtesy, rest in ((words[:length], words[length:]), (words[-length:], words[:-length])):
            first = exact(" ".join(courtesy))
            if first is None:
                continue
            kind = tuple(match_tokens(first.translation))
            if kind != _PLEASE and (
                kind not in _ATTENTION or (rest is not words[length:] and courtesy != words[:length])
            ):
                continue
            phrase = lookup(" ".join(rest))
            if phrase is None:
                continue
            if kind != _PLEASE:
                text = _joined(first.translation, phrase.translation, ": ")
            else:
                text = _kindly(phrase.translation)
            return _Part(text, phrase, min(first.score, phrase.score))
    return None


def _with_value(words: list[str], exact: Callable[[str], PhraseMatch | None]) -> _Part | None:
    """A phrase before a number, a price or a code."""
    for length in range(len(words) - 1, 0, -1):
        rest = " ".join(words[length:])
        if not is_untranslatable(rest):
            return None
        phrase = exact(" ".join(words[:length]))
        if phrase is not None:
            return _Part(f"{phrase.translation} {rest}", phrase, phrase.score)
    return None


def _of_two(words: list[str], exact: Callable[[str], PhraseMatch | None]) -> _Part | None:
    for length in range(len(words) - 1, 0, -1):
        if len(words) == 2 and not any(map(str.isdigit, "".join(words))):
            return None
        first, second = exact(" ".join(words[:length])), exact(" ".join(words[length:]))
        if first is not None and second is not None:
            text = _joined(first.translation, second.translation, ", ")
            return _Part(text, first, min(first.score, second.score))
    return None


def _joined(first: str, second: str, separator: str) -> str:
    """Both, or the one that says all that the other says."""
    if not first:
        return second
    one, other = set(match_tokens(first)), set(match_tokens(second))
    if other <= one:
        return first
    if one <= other:
        return second
    if separator.strip() in {",", ":", ""}:
        second = _small(second)
    return f"{first}{separator}{second}"


def _small(text: str) -> str:
    """The text as it goes on after a comma: its first letter small, unless its first word is a name or letters."""
    first = text.split(" ", 1)[0]
    if first.strip(",.:").removesuffix("s") in _NAMES or any(letter.isupper() for letter in first[1:]):
        return text
    return text[:1].lower() + text[1:]


def _key(text: str) -> str:
    return "".join(match_tokens(text))
