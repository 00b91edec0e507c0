"""Whether two readings are of the same sign, seen from another angle perhaps.

Text decides. A picture's hash supports a text that is nearly the same, or stands in for one that could not be read; it
never replaces a text that says something else, and never vouches for a number, which a glance at a picture cannot tell
from its neighbour.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final

from rapidfuzz.distance import Levenshtein

from shared.models.text import match_tokens, normalise_for_match
from shared.places.reading import KnownSign

MIN_FUZZY_CHARACTERS: Final = 8
"""Shorter texts (in the normal form) must be equal: one letter of "Damen" or "Gate B" is another sign."""
FUZZY: Final = 0.85
"""Least similarity of two texts that are the same sign: one error in seven letters. "Proibido" and "Permitido" before
the same word stay apart. A judgement, checked by the pairs in tests/shared/test_places_matching.py."""
SUPPORTED: Final = 0.7
"""Least similarity where the pictures look alike, too. A judgement, as above."""
CONTRADICTS: Final = 0.5
"""Two texts less similar say something else: no picture makes them one. A judgement, as above."""
NEAR: Final = 10
"""Hashes that differ in at most so many of their 64 bits show the same line. A judgement; `wayword-cloud bench places`
prints what this and neighbouring limits let through (docs/places.md)."""
MIN_PICTURE_CHARACTERS: Final = 3
"""Shorter texts in letters are never recognised by a picture alone. A judgement."""
_DIGITS: Final = re.compile(r"\d+")
_WORDS_OF_ONE_LETTER: Final = frozenset("aeiouyl")


class Kind(IntEnum):
    """How a sign was recognised, weakest first."""

    PICTURE = 1
    """By its picture, with no text to go by or one that is nearly lost."""
    FUZZY = 2
    """By a text that differs in a few letters."""
    EXACT = 3
    """By the same text, but for case, accents, spaces and punctuation."""


@dataclass(frozen=True, slots=True)
class Match:
    """Two readings are of one sign.

    Attributes:
        kind: by what.
        score: how alike, 0..1; comparable within one kind only.
    """

    kind: Kind
    score: float


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What is seen of a sign that is looked for.

    Attributes:
        text: as read, however unsurely; empty when nothing was.
        picture_hash: of the strip; None when unknown.
    """

    text: str
    picture_hash: int | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """A text as texts are compared: letters and digits, the numbers as they are divided, and letters that stand for
    themselves."""

    normal: str
    digits: tuple[str, ...]
    letters: tuple[str, ...]


def hash_distance(one: int, other: int) -> int:
    """Bits in which two hashes differ, 0..64."""
    return (one ^ other).bit_count()


def text_key(text: str) -> str:
    """Equal for texts that are the same sign beyond doubt: the normal form, and the numbers as they are divided."""
    form = form_of(text)
    return f"{form.normal}|{' '.join(form.digits)}"


def match_text(one: str, other: str, *, least: float = FUZZY) -> Match | None:
    """Whether two texts are readings of the same words; None where they are not, or one is empty.

    Args:
        one: a text.
        other: another.
        least: similarity asked for, 0..1.
    """
    return match_forms(form_of(one), form_of(other), least=least)


def match_forms(a: Form, b: Form, *, least: float = FUZZY) -> Match | None:
    """As `match_text`, where many texts are compared with each other."""
    if a.digits != b.digits or not a.normal or not b.normal:
        return None
    if a.normal == b.normal:
        return Match(Kind.EXACT, 1.0)
    shorter, longer = sorted((len(a.normal), len(b.normal)))
    if shorter < MIN_FUZZY_CHARACTERS or shorter < least * longer or a.letters != b.letters:
        return None
    similarity = Levenshtein.normalized_similarity(a.normal, b.normal, score_cutoff=least)
    if similarity < least or _drops_a_word(a.normal, b.normal):
        return None
    return Match(Kind.FUZZY, float(similarity))


def match(glimpse: Glimpse, text: str, picture_hash: int | None) -> Match | None:
    """Whether a glimpse is of a known sign.

    Args:
        glimpse: what was seen.
        text: of the known sign.
        picture_hash: of the known sign; None when unknown, or not to be gone by.
    """
    distance = None
    if glimpse.picture_hash is not None and picture_hash is not None:
        distance = hash_distance(glimpse.picture_hash, picture_hash)
    alike = distance is not None and distance <= NEAR
    found = match_text(glimpse.text, text, least=SUPPORTED if alike else FUZZY)
    if found is not None:
        return found
    if distance is None or not alike or _contradicts(glimpse.text, text):
        return None
    return Match(Kind.PICTURE, 1.0 - distance / 64.0)


def best_match(glimpse: Glimpse, known: Sequence[KnownSign]) -> tuple[KnownSign, Match] | None:
    """The known sign that a glimpse is of; None where there is none, or two that say different things fit alike.

    Args:
        glimpse: what was seen.
        known: signs at this place.
    """
    found = [
        (sign, fit)
        for sign in known
        if (fit := match(glimpse, sign.reading.text, sign.reading.picture_hash)) is not None
    ]
    if not found:
        return None
    found.sort(key=lambda pair: (pair[1].kind, pair[1].score, pair[0].trust, pair[0].reading.text), reverse=True)
    best, fit = found[0]
    for other, also in found[1:]:
        says_else = text_key(other.reading.text) != text_key(best.reading.text)
        if says_else and also.kind is fit.kind and fit.kind is not Kind.EXACT:
            return None
    return best, fit


def _contradicts(seen: str, known: str) -> bool:
    """Whether a text rules a known one out, whatever the pictures look like."""
    a, b = form_of(seen), form_of(known)
    if b.digits or b.letters or (b.normal.isascii() and len(b.normal) < MIN_PICTURE_CHARACTERS):
        # Nothing but a text can tell gate 3 from gate 5, and what was read was not this text.
        return True
    if not a.normal:
        return False
    return bool(a.digits) or Levenshtein.normalized_similarity(a.normal, b.normal) < CONTRADICTS


def _drops_a_word(one: str, other: str) -> bool:
    """Whether two letters or more in a row stand in only one of the texts: "un-", "no" and "non" turn a sign round, and
    a recogniser errs letter by letter."""
    before: tuple[str, int] | None = None
    for edit in Levenshtein.editops(one, other):
        if edit.tag == "replace":
            before = None
            continue
        place = edit.src_pos if edit.tag == "delete" else edit.dest_pos
        if before == (edit.tag, place - 1):
            return True
        before = (edit.tag, place)
    return False


@lru_cache(maxsize=16_384)
def form_of(text: str) -> Form:
    """A text in the form in which it is compared."""
    digits = tuple(
        "".join(str(unicodedata.decimal(digit, digit)) for digit in run)
        for run in _DIGITS.findall(unicodedata.normalize("NFKC", text))
    )
    lines = [match_tokens(line) for line in text.splitlines()]
    letters = tuple(
        token
        for line in lines
        for index, token in enumerate(line)
        if len(token) == 1 and token.isascii() and token.isalpha()
        # Within a line "o", "a", "e" and "y" are words of many languages; a platform's letter comes last.
        if index == len(line) - 1 or token not in _WORDS_OF_ONE_LETTER
    )
    return Form(normalise_for_match(text), digits, letters)
