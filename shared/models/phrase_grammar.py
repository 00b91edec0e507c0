"""Where in a text values may stand: the patterns of times, prices, dates, distances and days.

`Grammar.spans` says which stretches of a text may be values, for all languages of a script at once; `Grammar.english`
says what such a stretch is as the value of a slot, in one language (`phrase_values`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from shared.models.phrase_days import DASH, days_pattern
from shared.models.phrase_locale import UNSPACED_LANGUAGES, name_key, vocabulary
from shared.models.phrase_values import (
    AMOUNT,
    HAN_DIGITS,
    HAN_NUMBER,
    NUMBER,
    ORDINAL_MARK,
    PERCENT,
    PHONE,
    QUANTITIES,
    TIME,
    TIME_NAMES,
    Slot,
    Value,
    ValueReader,
)

_CODE: Final = r"[a-hj-knp-rt-y]{0,2}-?\d{1,4}(?!\d)(?:-?[a-f](?![a-z\d]))?(?![a-z])|(?<![\da-z])[a-z](?![a-z\d])"
"""A letter that may be a misread digit (i, l, o, s, z) is none beside digits."""
_LOST_DIGIT: Final = frozenset("|¦!")
"""Marks that are digits misread more often than marks, beside a number."""


@dataclass(frozen=True, slots=True)
class Spans:
    """A place where values may begin.

    Attributes:
        start: index in the text.
        ends: of the values that may begin there, longest first.
        optional: the text there may also be no value.
        glued: a digit that follows a letter: a letter misread, or a space was lost.
    """

    start: int
    ends: tuple[int, ...]
    optional: bool
    glued: bool


class Grammar:
    """The patterns of values in one language, or in several whose names are thrown together.

    Args:
        languages: ISO 639-1 codes.
    """

    def __init__(self, languages: Iterable[str]) -> None:
        self._vocabularies = [vocabulary(language) for language in sorted(languages)]
        codes = [item.language for item in self._vocabularies]
        self._first_words = self._opening_words()
        day = _alternatives(name for item in self._vocabularies for name in item.written["days"])
        month = _alternatives(name for item in self._vocabularies for name in item.written["months"])
        unit = {
            slot: _alternatives(
                name
                for item in self._vocabularies
                for name in item.written["units"]
                if item.units[name_key(name)].startswith(prefix)
            )
            for slot, prefix in QUANTITIES.items()
        }
        currency = _alternatives(name for item in self._vocabularies for name in item.written["currencies"])
        times = dict(pair.split("=") for code in codes for pair in TIME_NAMES.get(code, "").split())
        self._unspaced = bool(UNSPACED_LANGUAGES & set(codes))
        han = f"|{HAN_NUMBER}" if {"ja", "zh"} & set(codes) else ""
        cjk_month = r"|\d{1,2}(?:月|월)" if self._unspaced else ""
        duration = unit[Slot.DURATION]
        price_before = rf"(?:{currency})\s?{AMOUNT}"
        price_after = rf"\d+€\d\d(?!\d)|{AMOUNT}\s?(?:{currency})"
        numbers = {
            Slot.NUMBER: rf"{NUMBER}{han}",
            Slot.ORDINAL: rf"{NUMBER}(?:{ORDINAL_MARK})?{han}",
            Slot.CODE: _CODE,
            Slot.DURATION: rf"{NUMBER}\s?(?:{duration})(?:\s?(?:e|y|und|et)?\s?\d+(?!\d)\s?(?:{duration})?)?",
            Slot.PERCENT: PERCENT,
            Slot.DATE: _date_pattern(month, codes),
            Slot.PHONE: PHONE,
        }
        patterns = {
            **{slot: rf"{NUMBER}\s?(?:{names})" for slot, names in unit.items()},
            **numbers,
            Slot.TIME: rf"{_alternatives(times)}|{TIME}",
            Slot.TEMPERATURE: rf"(?:{DASH}\s?)?{NUMBER}\s?(?:{unit[Slot.TEMPERATURE]})",
            Slot.PRICE: f"{price_before}|{price_after}",
            Slot.DAY: f"(?:{day})",
            Slot.DAYS: days_pattern(day, codes),
            Slot.MONTH: f"(?:{month}){cjk_month}",
        }
        self._patterns = {slot: re.compile(pattern) for slot, pattern in patterns.items()}
        # Where a text is searched, only what can begin with the character at hand: digits, a word, or a mark.
        quantity = "|".join(names for slot, names in unit.items() if slot is not Slot.DURATION)
        digit_days = [name for item in self._vocabularies for name in item.written["days"] if name[0].isdigit()]
        at_digits = [*numbers.values(), TIME, price_after, rf"{NUMBER}\s?(?:{quantity})", r"\d{1,2}(?:月|월)"]
        self._at_digits = [re.compile(pattern) for pattern in [*at_digits, _alternatives(digit_days)]]
        words = (Slot.TIME, Slot.DAY, Slot.DAYS, Slot.MONTH, Slot.CODE)
        self._at_words = [*(self._patterns[slot] for slot in words), re.compile(price_before + han)]
        marks = (Slot.PERCENT, Slot.TEMPERATURE, Slot.PHONE)
        self._at_marks = [*(self._patterns[slot] for slot in marks), re.compile(price_before)]
        openers = r"\d|[€$£¥₩+(]|(?<!\w)[-−–](?=\s?\d)|(?<![^\W\d_])[^\W\d_]+"
        if self._unspaced:
            cjk = [name for item in self._vocabularies for name in item.written["days"] | item.written["months"]]
            cjk += [*times, "午前", "午後", "오전", "오후", "上午", "下午", "早上", "晚上", "凌晨"]
            cjk += list(HAN_DIGITS + "两兩十百") if han else []
            openers = r"\d|[€$£¥₩+(]|(?<![a-z\d])[a-z]+|" + _alternatives(cjk)
        self._opener = re.compile(openers)
        self._readers = {code: ValueReader(code, re.compile(day)) for code in codes}
        # One text is searched several times, for exact and for misread templates, as a whole sign and as its lines.
        self.spans: Callable[[str, int], Spans | None] = lru_cache(maxsize=512)(self._spans)
        """`_spans`, remembered."""
        # A sign in five possible languages repeats its values for each.
        self.english: Callable[[Slot, str, str], Value | None] = lru_cache(maxsize=2048)(self._english)
        """`_english`, remembered."""

    def _spans(self, text: str, start: int) -> Spans | None:
        """The next place at or after `start` where values may begin.

        Args:
            text: folded as by `phrase_locale.fold`.
            start: index in `text`.

        Returns:
            None when there is no such place.
        """
        for opener in self._opener.finditer(text, start):
            place, word = opener.start(), opener[0]
            is_word = word[0].isalpha()
            if is_word and word.isascii() and len(word) > 1 and word not in self._first_words:
                continue
            patterns = self._at_digits if word.isdigit() else self._at_words if is_word else self._at_marks
            found = {match.end() for pattern in patterns if (match := pattern.match(text, place))}
            found = {len(text[:end].rstrip()) for end in found}
            ends = sorted((end for end in found if _may_end(text, place, end)), reverse=True)
            if ends:
                glued = word.isdigit() and place > 0 and text[place - 1].isalpha()
                return Spans(place, tuple(ends), is_word or not word.isdigit() or glued, glued)
        return None

    def _english(self, slot: Slot, span: str, language: str) -> Value | None:
        """The value of a slot in English, or None when the text is none in a language.

        Args:
            slot: what it should be.
            span: folded as by `phrase_locale.fold`.
            language: one of this grammar's.
        """
        if self._patterns[slot].fullmatch(span) is None:
            return None
        return self._readers[language].read(slot, span)

    def _opening_words(self) -> frozenset[str]:
        """First words of names that may open a value, and prefixes such as ``eur``."""
        names = [name for item in self._vocabularies for kind in ("days", "months") for name in item.written[kind]]
        names += [name for item in self._vocabularies for name in item.written["currencies"] if name.isascii()]
        names += [name for item in self._vocabularies for name in TIME_NAMES.get(item.language, "").split()]
        return frozenset({re.split(r"[-. ~=$]", name, maxsplit=1)[0] for name in names} | {"am", "pm"})


@lru_cache(maxsize=64)
def grammar(languages: frozenset[str]) -> Grammar:
    """The grammar of some languages, made once."""
    return Grammar(languages)


def _alternatives(names: Iterable[str]) -> str:
    """A pattern for any of some folded names, longest first; hyphens, dots and spaces in them may be missing.

    Names in letters may not stand inside a word. They share the checks for that, so that the regular expression engine
    can go by their first letters.
    """
    words: list[str] = []
    marks: list[str] = []
    for name in sorted(set(names), key=lambda name: (-len(name), name)):
        parts = [re.escape(part) for part in re.split(r"[-. ]+", name) if part]
        if not parts:
            continue
        bare = name.rstrip(".")
        pattern = r"[-. ]{0,2}".join(parts)
        if bare[0].isascii() and bare[0].isalnum() and bare[-1].isascii() and bare[-1].isalpha():
            words.append(pattern)
        else:
            marks.append(pattern)
    found = [rf"(?<![^\W\d_])(?:{'|'.join(words)})(?![^\W\d_])\.?"] if words else []
    return "|".join([*found, *marks]) or "(?!)"


def _date_pattern(month: str, languages: Iterable[str]) -> str:
    numeric = (
        r"\d{1,2}([./])\d{1,2}(?:%s|\1\d{4}|\1\d{2})(?!\d)|\d{4}[-./]\d{1,2}[-./]\d{1,2}(?!\d)|\d{1,2}/\d{1,2}(?![\d/])"
        % (r"\." if "de" in set(languages) else r"(?!)")
    )
    numeric = numeric.replace(r"([./])", r"(?P<point>[./])").replace(r"\1", "(?P=point)")
    named = rf"\d{{1,2}}(?:\.|o|er|ere)?\s?(?:de |di |d'|d’)?(?:{month})(?:\s?(?:del? |di |, ?)?\d{{4}}(?!\d))?"
    cjk = r"(?:\d{4}[年년]\s?)?\d{1,2}[月월]\s?\d{1,2}[日号號일]"
    return f"{named}|{cjk}|{numeric}" if month != "(?!)" else f"{cjk}|{numeric}"


def _may_end(text: str, start: int, end: int) -> bool:
    """A value does not end inside a number, nor beside a mark that may be one more digit."""
    if end <= start:
        return False
    before = text[:start].rstrip(".,:")[-1:]
    if text[start].isdigit() and before in _LOST_DIGIT:
        return False
    if text[end - 1].isdigit() and text[end : end + 1] in _LOST_DIGIT - {"!"}:  # Só R$ 10!
        return False
    after = text[end : end + 2]
    return not (text[end - 1].isdigit() and (after[:1].isdigit() or re.match(r"[.,:/]\d", after)))
