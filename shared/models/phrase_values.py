"""Values on signs, and what they are in English: times, prices, dates, distances, days.

Values are converted faithfully: marks and names change, digits never do, and what two readings fit (03/04, $) stays as
it is written. Where in a text values may stand is `phrase_grammar`'s subject.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from babel.dates import format_date, get_month_names

from shared.models.phrase_days import DASH, DayReader
from shared.models.phrase_locale import (
    english_currency,
    english_unit,
    name_key,
    vocabulary,
)


class Slot(StrEnum):
    """Kinds of values, as templates name them."""

    NUMBER = "number"
    ORDINAL = "ordinal"
    CODE = "code"
    """Of a platform, gate or room: B12, 5a, A."""
    TIME = "time"
    DURATION = "duration"
    DISTANCE = "distance"
    WEIGHT = "weight"
    VOLUME = "volume"
    SPEED = "speed"
    TEMPERATURE = "temperature"
    PERCENT = "percent"
    PRICE = "price"
    DATE = "date"
    DAY = "day"
    DAYS = "days"
    """A day, a range or a list of days."""
    MONTH = "month"
    PHONE = "phone"


@dataclass(frozen=True, slots=True)
class Value:
    """A value in English.

    Attributes:
        text: as it stands in the translation.
        whole: the number it is, if it is a whole one; for plurals and ordinals.
        plural: one weekday or several of them in the plural; empty for everything else.
        firm: it can stand on a sign alone: it has digits or a whole name.
    """

    text: str
    whole: int | None = None
    plural: str = ""
    firm: bool = True


HAN_DIGITS: Final = "〇零一二三四五六七八九"
NUMBER: Final = r"\d+(?:[.,'’ ]\d{3})*(?:[.,]\d+)?(?!\d)"
ORDINAL_MARK: Final = r"(?:\.?\s?(?:os|as|o|a|ere|er|eme|e|te|ter)(?![^\W_])\.?|\.(?=\s|$))"
HAN_NUMBER: Final = rf"[{HAN_DIGITS}两兩十百]+"
AMOUNT: Final = (
    r"(?:\d+(?:\.\d+)?\s?[万萬만]\s?(?:\d\s?[千천])?(?:\d\s?[百백])?|\d\s?[千천]\s?(?:\d\s?[百백])?|\d\s?[百백]"
    rf"|{NUMBER}(?:,?{DASH}{{1,2}}(?!\s?\d))?)"
)
_MULTIPLIERS: Final = {"万": 10_000, "萬": 10_000, "만": 10_000, "千": 1000, "천": 1000, "百": 100, "백": 100}
TIME: Final = (
    r"(?P<before>午前|午後|오전|오후|上午|下午|早上|晚上|凌晨|am\s?|pm\s?)?\s?"
    r"(?P<hour>\d{1,2})(?!\d)"
    r"(?:\s?(?P<mark>(?:uhr|ore|heures?|horas?)(?![a-z])|h(?![b-z])|[:.]|時(?!間)|点|點|时(?!间)|시(?!간))\s?"
    r"(?:(?P<minute>\d{2})(?!\d)(?:\s?(?:min|m|分|분|uhr|h|hs)(?![a-z]))?|(?P<half>半|반))?)?"
    r"\s?(?P<after>a\.?m\.?(?![a-z])|p\.?m\.?(?![a-z]))?"
)
TIME_NAMES: Final = {
    "pt": "meio-dia=12 meia-noite=0",
    "es": "mediodia=12 medianoche=0",
    "fr": "midi=12 minuit=0",
    "de": "mittag=12 mitternacht=0",
    "it": "mezzogiorno=12 mezzanotte=0",
    "ja": "正午=12 深夜0時=0",
    "ko": "정오=12 자정=0",
    "zh": "正午=12 午夜=0",
}
_NOON_AND_MIDNIGHT: Final = {"12": "noon", "0": "midnight"}
_MORNING: Final = frozenset({"午前", "오전", "上午", "早上", "凌晨", "am"})
PHONE: Final = r"(?:\+|\()?\d[\d ().\-/]{4,18}\d"
PERCENT: Final = (
    rf"(?:{DASH}|\+)?\s?{NUMBER}\s?(?:%|프로|퍼센트|パーセント|por cento|por ciento|prozent|pour cent|per cento)"
)
_ALSO_MONTHS: Final = frozenset({"mars", "mayo"})
"""Names of months that mean something else when they stand alone: mayo is a sauce."""

QUANTITIES: Final = {
    Slot.DURATION: "duration-",
    Slot.DISTANCE: "length-",
    Slot.WEIGHT: "mass-",
    Slot.VOLUME: "volume-",
    Slot.SPEED: "speed-",
    Slot.TEMPERATURE: "temperature-",
}


class ValueReader:
    """Reads values as one language writes them.

    Args:
        language: ISO 639-1 code.
        day: a pattern that finds the names of days; names of other languages may be among them.
    """

    def __init__(self, language: str, day: re.Pattern[str]) -> None:
        self._words = vocabulary(language)
        self._days = DayReader(language, day)
        self._times = {
            name_key(name): hour for name, hour in (pair.split("=") for pair in TIME_NAMES.get(language, "").split())
        }
        self._parsers: dict[Slot, Callable[[str], Value | None]] = {
            Slot.NUMBER: self._number,
            Slot.ORDINAL: self._number,
            Slot.CODE: lambda span: Value(span.upper()),
            Slot.TIME: self._time,
            Slot.DURATION: self._duration,
            Slot.PERCENT: self._percent,
            Slot.PRICE: self._price,
            Slot.DATE: self._date,
            Slot.DAY: self._read_days,
            Slot.DAYS: self._read_days,
            Slot.MONTH: self._month,
            Slot.PHONE: lambda span: Value(span),
        }

    def read(self, slot: Slot, span: str) -> Value | None:
        """The value in English; None when the language has no such value.

        Args:
            slot: what it should be.
            span: folded as by `phrase_locale.fold`, and of the slot's form.
        """
        return self._parsers.get(slot, self._quantity)(span)

    def _number(self, span: str) -> Value | None:
        bare = re.sub(rf"{ORDINAL_MARK}$", "", span).strip()
        if bare and not bare[0].isdigit():
            number = _han_number(bare)
            return None if number is None else Value(str(number), number, firm=False)
        text = self._decimal(bare)
        return None if text is None else Value(text, int(text.replace(",", "")) if "." not in text else None)

    def _decimal(self, span: str) -> str | None:
        """A number with English marks; None when the language would not write it so."""
        if span.isdigit():
            return span
        decimal, group = re.escape(self._words.decimal), re.escape(self._words.group)
        groups = rf"(?:{group}|[ '’])"
        if re.fullmatch(rf"\d{{1,3}}(?:{groups}\d{{3}})+(?:{decimal}\d+)?", span):
            whole, _, fraction = span.partition(self._words.decimal)
            joined = re.sub(r"\D", ",", whole)
            return f"{joined}.{fraction}" if fraction else joined
        if re.fullmatch(rf"\d+{decimal}\d+", span):
            return span.replace(self._words.decimal, ".")
        # Prices and lengths follow the foreign fashion at times; three digits would be a group.
        return span.replace(",", ".") if re.fullmatch(r"\d+[.,]\d{1,2}", span) else None

    def _time(self, span: str) -> Value | None:
        named = self._times.get(name_key(span))
        if named is not None:
            return Value(_NOON_AND_MIDNIGHT[named], firm=False)
        match = re.fullmatch(TIME, span)
        if match is None:
            return None
        hour, minute = int(match["hour"]), int(match["minute"] or (30 if match["half"] else 0))
        if hour > 24 or minute > 59 or (hour == 24 and minute):
            return None
        said = (match["before"] or match["after"] or "").replace(".", "").strip()
        if not said or hour > 12 or hour == 0:
            # The clock of the sign stays: 18:00 is as clear as 6 PM, and a bare 6 may be either.
            return Value(f"{hour}:{minute:02}", firm=match["mark"] is not None)
        half = "AM" if said in _MORNING else "PM"
        return Value(f"{hour}:{minute:02} {half}" if minute else f"{hour} {half}")

    def _quantity(self, span: str) -> Value | None:
        match = re.match(rf"(?P<sign>{DASH}\s?)?(?P<number>{NUMBER})\s?", span)
        unit = self._words.units.get(name_key(span[match.end() :])) if match else None
        number = self._decimal(match["number"]) if match else None
        if match is None or unit is None or number is None:
            return None
        sign = "-" if match["sign"] else ""
        return Value(f"{sign}{number}{english_unit(unit, singular=number == '1')}", firm=True)

    def _duration(self, span: str) -> Value | None:
        parts = re.match(rf"({NUMBER})\s?([^\d]+?)\s?(?:(?:e|y|und|et)\s)?(?:(\d+)\s?([^\d]*))?$", span)
        if parts is None:
            return None
        first = self._quantity(f"{parts[1]} {parts[2]}")
        if first is None or parts[3] is None:
            return first
        # 1h30 is an hour and thirty minutes; no other unit is left out.
        if not parts[4] and not (first.text.endswith(("hour", "hours")) and len(parts[3]) == 2):
            return None
        if not parts[4]:
            return Value(f"{first.text} {parts[3]}{english_unit('duration-minute', singular=parts[3] == '1')}")
        second = self._quantity(f"{parts[3]} {parts[4]}")
        return None if second is None else Value(f"{first.text} {second.text}")

    def _percent(self, span: str) -> Value | None:
        match = re.match(rf"(?P<sign>{DASH}|\+)?\s?(?P<number>{NUMBER})", span)
        number = self._decimal(match["number"]) if match else None
        if match is None or number is None:
            return None
        sign = "" if not match["sign"] else "+" if match["sign"] == "+" else "-"
        return Value(f"{sign}{number}%")

    def _price(self, span: str) -> Value | None:
        cents = re.fullmatch(r"(\d+)€(\d\d)", span)
        if cents:
            return Value(f"€{cents[1]}.{cents[2]}")
        match = re.fullmatch(rf"(?P<before>\D*?)\s?(?P<amount>{AMOUNT})\s?(?P<after>\D*)", span)
        if match is None or bool(match["before"]) == bool(match["after"]):
            return None
        written = match["before"] or match["after"]
        code = self._words.currencies.get(name_key(written))
        amount = self._amount(match["amount"])
        if code is None or amount is None:
            return None
        symbol = _SYMBOLS.get(
            written, _SYMBOLS.get(code.lower()) if written.isascii() and written == code.lower() else None
        )
        if code == "BRL":
            symbol = "R$"
        if symbol is not None:
            return Value(f"{symbol}{amount}")
        if written == code.lower():
            return Value(f"{code} {amount}")
        return Value(f"{amount} {english_currency(code, singular=amount == '1')}")

    def _amount(self, span: str) -> str | None:
        if not any(mark in span for mark in _MULTIPLIERS):
            return self._decimal(re.sub(rf",?{DASH}+$", "", span).strip())
        total = 0.0
        for number, mark in re.findall(r"(\d+(?:\.\d+)?)\s?([万萬만千천百백])", span):
            total += float(number) * _MULTIPLIERS[mark]
        return f"{round(total):,}" if abs(total - round(total)) < 1e-6 else None

    def _date(self, span: str) -> Value | None:
        if any(character.isalpha() for character in span):
            return self._named_date(span)
        numbers = [int(number) for number in re.findall(r"\d+", span)]
        widths = [len(number) for number in re.findall(r"\d+", span)]
        if widths[0] == 4:
            return _english_date(numbers[0], numbers[1], numbers[2])
        if len(numbers) == 3 and widths[2] != 4:
            return Value(span) if _plausible(numbers) else None  # the century is not on the sign
        year = numbers[2] if len(numbers) == 3 else None
        first, second = numbers[:2]
        month_first = self._words.language in {"ja", "ko", "zh"}
        certain = (span.rstrip(".").count(".") and self._words.language == "de") or max(first, second) > 12
        if not certain:
            return Value(span) if _plausible(numbers) else None
        day, month = (second, first) if month_first else (first, second)
        return _english_date(year, month, day)

    def _named_date(self, span: str) -> Value | None:
        cjk = re.fullmatch(r"(?:(\d{4})[年년]\s?)?(\d{1,2})[月월]\s?(\d{1,2})[日号號일]", span)
        if cjk:
            return _english_date(int(cjk[1]) if cjk[1] else None, int(cjk[2]), int(cjk[3]))
        match = re.fullmatch(r"(\d{1,2})(?:\.|o|er|ere)?\s?(?:de |di |d'|d’)?(\D+?)\s?(?:del? |di |, ?)?(\d{4})?", span)
        month = self._words.months.get(name_key(match[2])) if match else None
        if match is None or month is None:
            return None
        return _english_date(int(match[3]) if match[3] else None, month, int(match[1]))

    def _month(self, span: str) -> Value | None:
        number = re.match(r"\d+", span)
        month = int(number[0]) if number else self._words.months.get(name_key(span))
        if month is None or not 1 <= month <= 12:
            return None
        key = name_key(span)
        return Value(
            get_month_names("wide", locale="en")[month],
            firm=number is not None or (len(key) > 3 and key not in _ALSO_MONTHS),
        )

    def _read_days(self, span: str) -> Value | None:
        days = self._days.read(span)
        return None if days is None else Value(days.text, plural=days.plural, firm=days.firm)


_SYMBOLS: Final = {"€": "€", "eur": "€", "us$": "US$", "usd": "US$", "£": "£", "gbp": "£", "r$": "R$", "brl": "R$",
                   "nt$": "NT$", "hk$": "HK$", "₩": "₩", "$": "$", "¥": "¥"}  # fmt: skip


def ordinal(number: int) -> str:
    """``1st``, ``2nd``, ``11th``."""
    suffix = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def _plausible(numbers: list[int]) -> bool:
    """Whether two or three numbers can be day, month and year in some order of day and month."""
    return min(numbers[:2]) >= 1 and min(numbers[:2]) <= 12 and max(numbers[:2]) <= 31


@lru_cache(maxsize=512)
def _english_date(year: int | None, month: int, day: int) -> Value | None:
    try:
        date = datetime.date(2000 if year is None else year, month, day)  # 2000 has a 29 February
    except ValueError:
        return None
    return Value(format_date(date, "MMMM d" if year is None else "MMMM d, y", locale="en"))


def _han_number(text: str) -> int | None:
    """A number below 1000 in Han numerals, 三 or 二十五 or 二〇五; None for anything else."""
    digits = {character: min(index - 1, 9) if index else 0 for index, character in enumerate(HAN_DIGITS)}
    digits |= {"零": 0, "两": 2, "兩": 2}
    if all(character in digits for character in text):
        return int("".join(str(digits[character]) for character in text))
    total, pending = 0, None
    for character in text:
        if character in digits:
            if pending is not None and pending != 0:
                return None
            pending = digits[character]
        else:
            total += (1 if pending is None else pending) * (10 if character == "十" else 100)
            pending = None
    return total + (pending or 0)
