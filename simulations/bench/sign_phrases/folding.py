"""What does not matter when two English translations of a sign are compared.

Case, accents, punctuation, articles and white space do not; nor whether a number is a word, a time is in the 12-hour or
the 24-hour form, a unit is short or long, or the spelling is British. Which words were chosen does matter: synonyms are
the business of the lists of answers.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

_APOSTROPHES: Final = str.maketrans(dict.fromkeys("'’‘ʼ`´", "'"))
_ARTICLES: Final = frozenset({"a", "an", "the"})
_CONTRACTIONS: Final = {"don't": "do not", "can't": "cannot", "it's": "it is", "you're": "you are"}
_NUMBERS: Final = {
    "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6",
    "seven": "7", "eight": "8", "nine": "9", "ten": "10", "eleven": "11", "twelve": "12",
}  # fmt: skip
_ORDINALS: Final = {
    "first": "1st", "second": "2nd", "third": "3rd", "fourth": "4th", "fifth": "5th", "sixth": "6th",
    "seventh": "7th", "eighth": "8th", "ninth": "9th", "tenth": "10th",
}  # fmt: skip
_SPELLINGS: Final = {
    "aluminium": "aluminum", "armour": "armor", "authorisation": "authorization", "authorised": "authorized",
    "cancelled": "canceled", "catalogue": "catalog", "centre": "center", "centres": "centers", "cheque": "check",
    "cheques": "checks", "chilli": "chili", "colour": "color", "colours": "colors", "defence": "defense",
    "doughnut": "donut", "doughnuts": "donuts", "draught": "draft", "enquiries": "inquiries", "enquiry": "inquiry",
    "favourite": "favorite", "fibre": "fiber", "flavour": "flavor", "flavours": "flavors", "grey": "gray",
    "harbour": "harbor", "jewellery": "jewelry", "kerb": "curb", "licence": "license", "litre": "liter",
    "litres": "liters", "metre": "meter", "metres": "meters", "kilometre": "kilometer", "kilometres": "kilometers",
    "mould": "mold", "neighbour": "neighbor", "neighbours": "neighbors", "odour": "odor", "organised": "organized",
    "programme": "program", "pyjamas": "pajamas", "recognised": "recognized", "savoury": "savory",
    "theatre": "theater", "towards": "toward", "traveller": "traveler", "travellers": "travelers",
    "tyre": "tire", "tyres": "tires", "unauthorised": "unauthorized", "yoghurt": "yogurt", "ok": "okay",
    "whisky": "whiskey", "omelette": "omelet", "spelt": "spelled",
}  # fmt: skip
_DAYS: Final = {
    "mon": "monday", "tue": "tuesday", "tues": "tuesday", "wed": "wednesday", "thu": "thursday",
    "thur": "thursday", "thurs": "thursday", "fri": "friday",
}  # fmt: skip
# These two are words of their own, so they are days only where another day or a number is near.
_DAYS_OR_WORDS: Final = {"sat": "saturday", "sun": "sunday"}
_UNITS: Final = {
    "kilometers": "km", "kilometer": "km", "kilometres": "km", "kilometre": "km", "kms": "km",
    "meters": "m", "meter": "m", "metres": "m", "metre": "m", "centimeters": "cm", "centimetres": "cm",
    "minutes": "min", "minute": "min", "mins": "min", "hours": "hour", "hrs": "hour", "hr": "hour", "h": "hour",
    "kilograms": "kg", "kilogram": "kg", "kilos": "kg", "kilo": "kg", "grams": "g", "gram": "g", "grammes": "g",
    "liters": "l", "liter": "l", "litres": "l", "litre": "l", "tonnes": "t", "tonne": "t", "tons": "t", "ton": "t",
    "percent": "%", "kmh": "km/h", "kph": "km/h",
}  # fmt: skip
_CURRENCIES: Final = {"€": "eur", "euro": "eur", "euros": "eur", "eur": "eur", "r$": "brl", "reais": "brl",
                      "real": "brl", "brl": "brl", "₩": "krw", "won": "krw", "krw": "krw", "¥": "¥"}  # fmt: skip

_AMOUNT: Final = r"\d+(?:\.\d+)?"
_MONEY_BEFORE: Final = re.compile(rf"(€|r\$|₩|¥|\beur|\bkrw|\bbrl)\s*({_AMOUNT})")
_MONEY_AFTER: Final = re.compile(rf"({_AMOUNT})\s*(€|₩|¥|(?:euros?|eur|reais|real|brl|won|krw)\b)")
_THOUSANDS: Final = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_DECIMAL_COMMA: Final = re.compile(r"(?<=\d),(?=\d{1,2}(?!\d))")
_HALF_DAY: Final = re.compile(r"(?<![\d:.])(\d{1,2})(?:[:.](\d{2}))?\s*([ap])\.?\s?m\b\.?")
_CLOCK: Final = re.compile(r"(?<![\d:.])(\d{1,2}):(\d{2})(?![\d:])(?:\s*(?:hours|hrs|h|o'?clock)\b)?")
# A point is between hours and minutes only where no currency and no unit follows: "3.50 m" is a width.
_POINT_CLOCK: Final = re.compile(
    r"(?<![\d:.])(\d{1,2})\.(\d{2})(?![\d:.]|\s*(?:[%¥$£]|(?:[ckm]?m|k?g|l|t|km/h|eur|brl|krw|yen|yuan)\b))"
)
_OCLOCKS: Final = re.compile(r"(?<![\d:.])(\d{1,2})(?=\s*(?:[-‐-―~]|to|until|and)\s*\d{1,2}\s*o'?clock)")
_OCLOCK: Final = re.compile(r"(?<![\d:.])(\d{1,2})\s*o'?clock\b")
_NOON: Final = re.compile(r"\b(?:12(?::00)?\s*)?(?:noon|midday)\b")
_MIDNIGHT: Final = re.compile(r"\b(?:12(?::00)?\s*)?midnight\b")
_UNIT: Final = re.compile(r"(\d)[\s-]?(km/h|%|per cent\b|[a-z]+)")
_RANGE: Final = re.compile(r"(?<=\d)\s*[-‐-―~〜]\s*(?=\d)")
_DAY_NAME: Final = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_DAY_RANGE: Final = re.compile(rf"({_DAY_NAME}s?)\.?\s*[-‐-―~〜]\s*(?={_DAY_NAME})")
_DECIMAL: Final = re.compile(r"(\d+)\.(\d+)")
_CONTRACTION: Final = re.compile(rf"\b(?:{'|'.join(_CONTRACTIONS)})\b")
_NUMBER: Final = re.compile(rf"\b(?:{'|'.join(_NUMBERS)})\b")
_DAY: Final = re.compile(rf"\b(?:{'|'.join(_DAYS)})\b")
_DAY_OR_WORD: Final = re.compile(rf"\b(?:{'|'.join(_DAYS_OR_WORDS)})\b")
_NEAR_DAY: Final = re.compile(rf"\d|\b{_DAY_NAME}")
_HAS_FIGURES: Final = re.compile(
    rf"\d|\b(?:{_DAY_NAME}s?|{'|'.join([*_DAYS, *_DAYS_OR_WORDS, *_NUMBERS])}|noon|midday|midnight)\b"
)
_PLUS: Final = re.compile(r"\s*\+\s*")
_PUNCTUATION: Final = re.compile(r"[^\w%¥+]|_")


@lru_cache(maxsize=4096)
def fold(text: str) -> str:
    """The comparison form of an English translation: tokens separated by one space.

    Args:
        text: any text; the caller bounds its length.

    Returns:
        The folded text, empty when nothing but punctuation and articles was there. It is for comparing, not for
        reading: a time becomes `9clock00`, a decimal fraction `2d5`.
    """
    text = _plain(text)
    if "'" in text:
        text = _CONTRACTION.sub(lambda match: _CONTRACTIONS[match[0]], text)
    text = text.replace("can not", "cannot").replace("&", " and ")
    if _HAS_FIGURES.search(text):
        text = _figures(text)
    text = _PUNCTUATION.sub(" ", text.replace("'", ""))
    words = [_word(word) for word in text.split() if word not in _ARTICLES]
    return " ".join(words).replace("wi fi", "wifi")


def _plain(text: str) -> str:
    """Lower case without accents; most answers are ASCII, where that is all there is to do."""
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES)).casefold()
    marks = unicodedata.normalize("NFKD", text)
    return unicodedata.normalize("NFC", "".join(mark for mark in marks if not unicodedata.combining(mark)))


def _figures(text: str) -> str:
    """Numbers, days, money, times, units and ranges in one form each."""
    text = _NUMBER.sub(lambda match: _NUMBERS[match[0]], text)
    text = _days(text)
    text = _DECIMAL_COMMA.sub(".", _THOUSANDS.sub("", text))
    text = _MONEY_BEFORE.sub(lambda match: f" {match[2]} {_CURRENCIES[match[1]]} ", text)
    text = _MONEY_AFTER.sub(lambda match: f" {match[1]} {_CURRENCIES[match[2]]} ", text)
    text = _times(text)
    text = _PLUS.sub("+", text)
    text = _UNIT.sub(_unit, text)
    text = _DAY_RANGE.sub(r"\1 to ", text)
    text = _RANGE.sub(" to ", text)
    return _DECIMAL.sub(_decimal, text).replace("km/h", "kmh")


def _days(text: str) -> str:
    text = _DAY.sub(lambda match: _DAYS[match[0]], text)
    if _NEAR_DAY.search(text):
        text = _DAY_OR_WORD.sub(lambda match: _DAYS_OR_WORDS[match[0]], text)
    return text


def _times(text: str) -> str:
    text = _NOON.sub(" 12clock00 ", text)
    text = _MIDNIGHT.sub(" 0clock00 ", text)
    text = _HALF_DAY.sub(_half_day, text)
    text = _CLOCK.sub(lambda match: _time(match, int(match[1]), int(match[2])), text)
    text = _POINT_CLOCK.sub(lambda match: _time(match, int(match[1]), int(match[2])), text)
    text = _OCLOCKS.sub(lambda match: _time(match, int(match[1]), 0), text)
    return _OCLOCK.sub(lambda match: _time(match, int(match[1]), 0), text)


def _half_day(match: re.Match[str]) -> str:
    hour = int(match[1])
    if hour == 12:
        hour = 0
    if match[3] == "p" and hour < 12:
        hour += 12
    return _time(match, hour, int(match[2] or 0))


def _time(match: re.Match[str], hour: int, minute: int) -> str:
    if hour > 24 or minute > 59:
        return match[0]
    return f"{hour % 24}clock{minute:02}"


def _unit(match: re.Match[str]) -> str:
    unit = "%" if match[2] == "per cent" else match[2]
    if unit == "km/h" or unit in _UNITS or unit in _UNITS.values():
        return f"{match[1]} {_UNITS.get(unit, unit)}"
    return match[0]


def _decimal(match: re.Match[str]) -> str:
    fraction = match[2].rstrip("0")
    return f"{match[1]}d{fraction}" if fraction else match[1]


def _word(word: str) -> str:
    return _SPELLINGS.get(word, _ORDINALS.get(word, word))
