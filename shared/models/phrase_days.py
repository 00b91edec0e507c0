"""Days on signs: one, a range, or a list of them, in English.

Strict on purpose, because a misread letter in between makes another day or another meaning: ranges and lists are told
by the words and marks of the language alone, a list repeats no day, and days that touch without any mark between them
(土日祝) go through the week in order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shared.models.phrase_locale import UNSPACED_LANGUAGES, WEEKDAYS, name_key, vocabulary

DASH: Final = r"[-‐‑‒–—―−~〜]"
_RANGES: Final[Mapping[str, str]] = {
    "pt": "a|ate|ao|aos",
    "es": "a|al|hasta",
    "fr": "a|au|jusqu.au",
    "de": "bis",
    "it": "a|al|alla",
    "ja": "から|より",
    "ko": "부터|에서",
    "zh": "至|到",
}
_LISTS: Final[Mapping[str, str]] = {
    "pt": "e",
    "es": "y",
    "fr": "et",
    "de": "und|u\\.?",
    "it": "e|ed",
    "ja": "と|及び",
    "ko": "와|과|및",
    "zh": "和|及|与|與",
}
_LIST_MARKS: Final = r"[,/&+・、·;]"
_CHINESE_DAY: Final = "[一二三四五六日天]"
_CHINESE_BARE: Final = re.compile(rf"(?:(?<=[、,/至到和及与與])|(?<={DASH}))\s?({_CHINESE_DAY})")
_ALSO_WORDS: Final = frozenset(
    {"segunda", "terca", "quarta", "quinta", "sexta", "segundas", "tercas", "quartas", "quintas", "sextas", "diario"}
    | {"diariamente", "festivo", "festivi", "feriale", "feriali", "ferie", "laborables", "marte", "weekend"}
)
"""Names of days that mean something else when they stand alone: Quinta is a farm, diario a newspaper."""


@dataclass(frozen=True, slots=True)
class Days:
    """Days in English.

    Attributes:
        text: ``Monday to Friday``, ``Saturday and public holidays``.
        plural: the same with single weekdays in the plural.
        firm: they can stand on a sign alone: more than one short name.
    """

    text: str
    plural: str
    firm: bool


def days_pattern(day: str, languages: list[str]) -> str:
    """A pattern for one or several days.

    Args:
        day: a pattern for one.
        languages: whose words stand between them.
    """
    words = "|".join(table[language] for table in (_RANGES, _LISTS) for language in languages if language in table)
    unspaced = bool(UNSPACED_LANGUAGES & set(languages))
    between = rf"{DASH}|{_LIST_MARKS}|{words}" if unspaced or not words else rf"{DASH}|{_LIST_MARKS}|\b(?:{words})\b"
    again = rf"(?:{day}|{_CHINESE_DAY})" if "zh" in languages else rf"(?:{day})"
    touching = "?" if unspaced else ""
    return rf"(?:{day})(?:\s?(?:{between}){touching}\s?{again}){{0,7}}(?:까지|まで)?"


class DayReader:
    """Reads days as one language writes them.

    Args:
        language: ISO 639-1 code.
        day: a pattern that finds the name of one; names of other languages may be among them.
    """

    def __init__(self, language: str, day: re.Pattern[str]) -> None:
        self._days = vocabulary(language).days
        self._day = day
        self._language = language
        words = _RANGES.get(language, "(?!)")
        self._range = re.compile(rf"{DASH}|{words}")
        self._list = re.compile(rf"{_LIST_MARKS}|{_LISTS.get(language, '(?!)')}")

    def read(self, span: str) -> Days | None:
        """The days in English; None when they are none, or not told apart clearly.

        Args:
            span: folded as by `phrase_locale.fold`.
        """
        if self._language == "zh":
            span = _CHINESE_BARE.sub(r"周\1", span)
        names = list(self._day.finditer(span))
        items: list[str] = []
        touching = False
        end = 0
        for name in names:
            day = self._days.get(name_key(name[0]))
            if day is None:
                return None
            between = span[end : name.start()].strip()
            end = name.end()
            if not items:
                items += day.split(" and ")
            elif self._range.fullmatch(between):
                if " to " in items[-1] or items[-1] == day:
                    return None
                items[-1] = f"{items[-1]} to {day}"
            elif self._list.fullmatch(between) or (not between and self._touch(items[-1], day, name[0])):
                touching = touching or not between
                items += day.split(" and ")
            else:
                return None
        if not items or len(set(items)) < len(items):
            return None
        return Days(_listed(items), _listed([_plural(item) for item in items]), self._is_firm(span, names, touching))

    def _touch(self, before: str, day: str, name: str) -> bool:
        """Whether a day may follow another without a mark between them."""
        if self._language not in UNSPACED_LANGUAGES or before not in WEEKDAYS:
            return False
        return WEEKDAYS.index(before) < WEEKDAYS.index(day) if day in WEEKDAYS else name[0] in "祝공"

    def _is_firm(self, span: str, names: list[re.Match[str]], touching: bool) -> bool:
        # A short name alone is also a word: "Mar" is the sea, 日 the sun, 수목 are trees.
        key = name_key(span)
        if touching:
            return len(names) > 2
        if len(names) > 1:
            return True
        return len(key) > (1 if self._language in UNSPACED_LANGUAGES else 4) and key not in _ALSO_WORDS


def _plural(item: str) -> str:
    return f"{item}s" if item in WEEKDAYS else item


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
