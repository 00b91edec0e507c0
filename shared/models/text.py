"""Text on its way between a recogniser, the phrasebook and a translator. Pure functions, no state.

The functions answer four questions:

* `normalise_for_match`: which texts count as the same sign?
* `normalise_for_translation`: what does a translator want to see?
* `restore_case`: how should the answer look on the sign?
* `is_untranslatable`: is there anything to translate at all?
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final


def _word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


UNSPACED_LANGUAGES: Final = frozenset({"ja", "zh"})
"""Languages whose lines join without a space."""

_UPPER_SHARE: Final = 0.8
"""Share of upper-case letters from which a text counts as written in capitals: signs keep units and articles small."""

_ACRONYMS: Final = _word_set("ATM EU FAQ ID IVA LED OK ONU PIN SOS TVA UE UNESCO URL USA USB VIP")
"""Capitals with a vowel that are no word; those without a vowel (GPS, WC) need no list."""
_UNITS: Final = {
    "KM": "km", "KM/H": "km/h", "KG": "kg", "CM": "cm", "MM": "mm", "ML": "ml", "CL": "cl", "KW": "kW", "KWH": "kWh",
    "HZ": "Hz", "MIN": "min", "HRS": "hrs",
}  # fmt: skip
"""Units that a sign in capitals shouts and a translator wants in their usual form."""

_GERMAN_SMALL_WORDS: Final = _word_set(
    "ab alle allen als am an auch auf aus bei beim bis bitte das dass dem den der des die dieser diese dieses "
    "durch ein eine einem einen einer er es für gegen hier ihr ihre ihren im in ist ihnen kein keine keinen mit "
    "nach nicht nur ob oder ohne sein seit sich sie sind so über um und uns unser unter vom von vor war wegen "
    "wenn wer werden wie wir wird zu zum zur freihalten verboten geöffnet geschlossen gesperrt betreten rauchen "
    "parken"
)
"""German words that stay small when a sign in capitals becomes a sentence; all others are taken for nouns."""

_ROMAN: Final = re.compile(r"(?=[IVX]{2,}$)X{0,3}(?:IX|IV|V?I{0,3})$")
_DOTTED: Final = re.compile(r"(?:[^\W\d_]\.){2,}[^\W\d_]?$")
_WORD_OR_GAP: Final = re.compile(r"\s+|\S+")
_EDGE_PUNCTUATION: Final = re.compile(r"^([^\w]*)(.*?)([^\w]*)$", re.DOTALL)
_VOWELS: Final = frozenset("aeiouyáàâãäåæéèêëíìîïóòôõöøœúùûüý")

_URL: Final = re.compile(
    r"(?:https?://|www\.)\S+|\S+@\S+\.\w+|[@#]\w+"
    r"|[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|info|eu|br|pt|es|fr|de|it|jp|kr|cn|tw|uk|io|ch|at)(?:/\S*)?",
    re.IGNORECASE,
)
_CODE: Final = re.compile(r"(?=[A-Z0-9./-]*\d)[A-Z0-9]+(?:[./-][A-Z0-9]+)*")
_NUMBER: Final = re.compile(r"[^\w]*\d[\d\s.,:;/'’–—+*()=%°ºª&-]*[^\w]*")
_TIME: Final = re.compile(r"\d{1,2}\s*[hH](?:\s*\d{2})?(?:\s*(?:min|m))?|\d{1,2}(?:[:.]\d{2})?\s*[aApP]\.?[mM]\.?")
_CURRENCY: Final = r"(?:R\$|US\$|[$€£¥₩]|EUR|USD|GBP|BRL|CHF|JPY|KRW|CNY|RMB|NT\$|HK\$|円|元|원)"
_PRICE: Final = re.compile(rf"{_CURRENCY}\s*\d[\d.,]*(?:[-–]{{1,2}})?|\d[\d.,]*(?:[-–]{{1,2}})?\s*{_CURRENCY}")
_QUANTITY: Final = re.compile(
    r"\d[\d.,]*\s*(?:km/h|km|kg|g|mg|m|cm|mm|l|ml|cl|kw|kwh|w|v|hz|min|t|°\s*[cf])\b", re.IGNORECASE
)
_PHONE: Final = re.compile(
    r"(?:tel|fone|tél|fax|whatsapp|☎|℡)[.:]?\s*\+?[\d\s()./-]{5,}|\+\d[\d\s()./-]{5,}", re.IGNORECASE
)
_ORDINAL: Final = re.compile(r"\d+\s?(?:[ao]|st|nd|rd|th)\b", re.IGNORECASE)
_LONE_LETTER: Final = re.compile(r"(?<!\w)[A-Za-z](?!\w)")
_HAN_AND_KANA: Final = ((0x2E80, 0x30FF), (0x31F0, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
_PIPE_IN_WORD: Final = re.compile(r"(?<=[a-z])[|!](?=[a-z])")
_WITHOUT_ACCENTS: Final = re.compile("[\\x00-\\x7f\\u3001-\\u3098\\u309d-\\u30ff\\u4e00-\\u9fff\\uac00-\\ud7a3]*")
"""Text in which there is nothing to fold, if it is in Unicode form NFC: a phrasebook folds tens of thousands."""
_TOKEN: Final = re.compile(r"[^\W_]+")


def is_unspaced_character(character: str) -> bool:
    """True for Han and kana, which are written without spaces between words."""
    code = ord(character)
    return any(low <= code <= high for low, high in _HAN_AND_KANA)


def fold_accents(text: str) -> str:
    """Remove the marks of Latin letters (``á`` to ``a``, ``ø`` to ``o``) and of no other script (``が`` stays)."""
    if _WITHOUT_ACCENTS.fullmatch(text):
        return text
    folded: list[str] = []
    keep_marks = False
    for character in unicodedata.normalize("NFD", text):
        if unicodedata.combining(character):
            if keep_marks:
                folded.append(character)
            continue
        keep_marks = ord(character) > 0x24F
        folded.append(_LIGATURES.get(character, character))
    return unicodedata.normalize("NFC", "".join(folded))


_LIGATURES: Final = {"œ": "oe", "æ": "ae", "ø": "o", "ı": "i", "ł": "l", "đ": "d", "Œ": "OE", "Æ": "AE", "Ø": "O"}


def match_tokens(text: str, *, accents: bool = False) -> list[str]:
    """The words of a text in the form in which signs are compared.

    NFKC (full width becomes half width), case folded, accents removed unless `accents` is set, punctuation and
    spaces dropped. A bar or an exclamation mark between two Latin letters is a misread ``l`` and becomes one.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    if not accents:
        folded = fold_accents(folded)
    folded = _PIPE_IN_WORD.sub("l", folded)
    return _TOKEN.findall(folded)


def normalise_for_match(text: str) -> str:
    """The key under which equal signs meet: `match_tokens` joined without spaces.

    ``"¡Prohibido  FUMAR!"`` and ``"prohibido fumar"`` give the same key. Empty for a text without letters and digits.
    """
    return "".join(match_tokens(text))


def normalise_for_translation(text: str, language: str | None) -> str:
    """The text as a translator wants it: NFKC, one line, single spaces, sentence case instead of capitals.

    Lines join without a space in Japanese and Chinese, and a word hyphenated over a line end is joined again. Text
    mostly in capitals becomes sentence case, because translators read capitals badly; codes, acronyms and Roman
    numerals keep their capitals, German nouns theirs.

    Args:
        text: one sign, lines separated by newlines.
        language: ISO 639-1 code, or None when unknown.
    """
    lines = [" ".join(line.split()) for line in unicodedata.normalize("NFKC", text).splitlines()]
    joined = ""
    for line in filter(None, lines):
        joined = _join(joined, line, language)
    return sentence_case(joined, language) if is_upper(joined) else joined


def is_upper(text: str) -> bool:
    """True when a text is written in capitals: at least two cased letters, and 80 % of them upper case."""
    upper = sum(character.isupper() for character in text)
    lower = sum(character.islower() for character in text)
    return upper >= 2 and upper >= _UPPER_SHARE * (upper + lower)


def sentence_case(text: str, language: str | None = None) -> str:
    """Sentence case from capitals: first letter large, the rest small, save codes, acronyms and German nouns."""
    pieces = _WORD_OR_GAP.findall(text)
    cased = (piece if piece.isspace() else _lower_word(piece, language) for piece in pieces)
    return capitalise_first("".join(cased))


def capitalise_first(text: str) -> str:
    """Make the first letter large and leave the rest alone (``str.capitalize`` would make it small)."""
    for index, character in enumerate(text):
        if character.isalpha():
            return text[:index] + character.upper() + text[index + 1 :]
        if character.isdigit():
            return text
    return text


def restore_case(translation: str, like: str) -> str:
    """The translation as it is shown for a source text `like`.

    Sentence case for every sign, also for signs in capitals: mixed case is easier to read when it is fitted into a
    small quad, and names keep their shape. A translation that is itself in capitals loses them; a full stop that the
    source does not have is dropped, because translators add one.
    """
    shown = " ".join(translation.split())
    if is_upper(shown) and len(shown.split()) > 1:
        shown = sentence_case(shown)
    if shown.endswith(".") and shown.count(".") == 1 and not like.rstrip().endswith((".", "。")):
        shown = shown[:-1]
    return capitalise_first(shown)


def is_untranslatable(text: str) -> bool:
    """True when nothing in the text is a word: numbers, prices, times, quantities, codes, addresses, phone numbers.

    A lone Latin letter (``P``, a platform's ``A``) counts as a code. Empty text is untranslatable.
    """
    rest = " ".join(unicodedata.normalize("NFKC", text).split())
    for pattern in (_URL, _PHONE, _PRICE, _TIME, _QUANTITY, _ORDINAL, _CODE, _NUMBER, _LONE_LETTER):
        rest = _blank(pattern, rest)
    return not any(character.isalpha() for character in rest)


def _blank(pattern: re.Pattern[str], text: str) -> str:
    """Replace matches that stand alone (no letter or digit on either side) by a space."""

    def replace(match: re.Match[str]) -> str:
        before = text[match.start() - 1 : match.start()]
        after = text[match.end() : match.end() + 1]
        glued = any(_glues(side, edge) for side, edge in ((before, match[0][:1]), (after, match[0][-1:])))
        return match[0] if glued else " "

    return pattern.sub(replace, text)


def _glues(outside: str, inside: str) -> bool:
    return outside.isalnum() and inside.isalnum()


def _join(text: str, line: str, language: str | None) -> str:
    if not text:
        return line
    if text.endswith("-") and text[-2:-1].isalpha() and text[-2:-1].isupper() == line[0].isupper():
        return text[:-1] + line
    unspaced = language in UNSPACED_LANGUAGES or language is None
    if unspaced and (is_unspaced_character(text[-1]) or is_unspaced_character(line[0])):
        return text + line
    return f"{text} {line}"


def _lower_word(word: str, language: str | None) -> str:
    match = _EDGE_PUNCTUATION.match(word)
    if match is None:
        return word
    before, core, after = match.groups()
    if core in _UNITS:
        return f"{before}{_UNITS[core]}{after}"
    if _DOTTED.match(core + after) or _keeps_capitals(core):
        return word
    lowered = core.lower()
    if language == "de" and lowered not in _GERMAN_SMALL_WORDS:
        lowered = "-".join(capitalise_first(part) for part in lowered.split("-"))
    return f"{before}{lowered}{after}"


def _keeps_capitals(core: str) -> bool:
    if core in _ACRONYMS or _ROMAN.match(core):
        return True
    letters = [character for character in core if character.isalpha()]
    if any(character.isdigit() for character in core):
        return len(letters) <= 3  # a code such as BR-101 or A4, not a misread word such as "ABERT0"
    return 2 <= len(letters) <= 5 and not _has_vowel(letters)


def _has_vowel(letters: Iterable[str]) -> bool:
    return any(letter.lower() in _VOWELS for letter in letters)
