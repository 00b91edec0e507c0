"""Texts that never leave the phone, whatever the cascade would gain.

Signs are public, but a camera also sees cards, letters and screens. A text that looks like a card, account, document
or phone number, or an e-mail address, stays on the phone; on request so do names (`privacy_names`). The rules err
towards keeping: a false alarm costs one refinement, a miss sends somebody's number away.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from typing import Final

from phone.cascade.privacy_names import NO_OPTIONS, PrivacyOptions, holds_listed_name, looks_like_name

__all__ = ["CloudUse", "PrivacyOptions", "PrivateKind", "find_private", "luhn_valid"]


class CloudUse(StrEnum):
    """What the wearer allows to leave the phone."""

    NEVER = "never"
    ASK = "ask"
    """Only while the wearer's consent lasts (`wayword-phone consent`)."""
    ALLOW = "allow"


class PrivateKind(StrEnum):
    """What a text was taken for; worded to complete "the text looks like …"."""

    CARD = "a payment card number"
    ACCOUNT = "a bank account number"
    DOCUMENT = "a document number"
    PHONE = "a phone number"
    EMAIL = "an e-mail address"
    NUMBER = "somebody's number"
    """A long number of unknown kind: most are phone, tax, customer or ticket numbers."""
    PAGE = "a whole page of text"
    """Letters and documents are long, signs are not."""
    LISTED_NAME = "a name on the wearer's list"
    NAME = "somebody's name"


CARD_DIGITS: Final = range(12, 20)
"""Length of a payment card number (ISO/IEC 7812-1: up to 19 digits; the shortest in use has 12)."""
LONG_NUMBER_DIGITS: Final = 9
"""A run of at least so many digits is no price, date or house number; national phone and tax numbers start here."""
PHONE_DIGITS: Final = 7
"""Shortest number taken for a phone number when something says that it is one ("+351", "tel")."""

MAX_SIGN_CHARACTERS: Final = 2_048
"""A longer text is taken for a page: no sign says so much, and searching it for numbers would take long."""

# What people and recognisers put between the groups of one number.
_SEPARATOR = r"[ .\-–—/()\n\t·]{0,3}"
_NUMBER = re.compile(rf"\d(?:{_SEPARATOR}\d)*")
# A recogniser drops dots and adds spaces, so one of "no spaces" and "a dot" is enough.
_EMAIL = re.compile(r"[^\s@]+@[^\s@]{2,}|[^\s@]+ ?@ ?[^\s@]+ ?[.,] ?[^\s@]{2,}")
_PHONE_CUE = re.compile(
    r"(?:\+|\b00|☎|✆|📞|\b(?:tel|tlf|telf|fone|phone|telefon\w*|telefone|tél\w*|fax|mob\w*|cel\w*|whats\s?app|sms|call)\b\W{0,4}"
    r"|電話\W{0,3}|电话\W{0,3}|전화\W{0,3})\s{0,3}\(?\d",
    re.IGNORECASE,
)
_IBAN = re.compile(r"(?<![A-Z0-9])[A-Z]{2}\d{2}(?:[ \-\n]?[A-Z0-9]){11,30}(?![A-Z0-9])")
_MACHINE_READABLE = re.compile(r"[A-Z0-9]*(?:<[A-Z0-9]*){3,}")
"""Passports and identity cards fill their machine-readable zone with "<" (ICAO Doc 9303)."""
_DOCUMENT = re.compile(
    r"(?<![A-Z0-9])(?:[A-Z]{1,2} ?\d{7,9} ?[A-Z]?|[XYZ]?[ -]?\d{7,8}[ -]?[A-Z]|\d{3}-\d{2}-\d{4})(?![A-Z0-9])"
)
"""Passport and identity cards (one or two letters, seven to nine digits), DNI and NIE (digits and a letter), SSN."""
_DATE_OR_HOURS = re.compile(
    # Not inside a longer chain: "01.23.45.67.89" is a phone number.
    r"(?<![\d./-])(?:\d{1,2}[./-]\d{1,2}[./-](?:\d{4}|\d{2})|\d{4}[./-]\d{1,2}[./-]\d{1,2}|\d{1,2}[:hH]\d{2})(?!\d|[./-]\d)"
)
_LOOK_ALIKE = str.maketrans("OoQDIl|!SsBZz", "0000111155822")


def find_private(text: str, options: PrivacyOptions = NO_OPTIONS) -> PrivateKind | None:
    """What private thing a text looks like, or None.

    Digits of any script count, and so do letters that a recogniser confuses with digits when they stand between
    digits ("4O12" is 4012).

    Args:
        text: lines joined by a line feed; a number may run over a line end.
        options: what else the wearer keeps.
    """
    if len(text) > MAX_SIGN_CHARACTERS:
        return PrivateKind.PAGE
    return _find_number(text) or _find_name(text, options)


def _find_name(text: str, options: PrivacyOptions) -> PrivateKind | None:
    if options.names and holds_listed_name(text, options.names):
        return PrivateKind.LISTED_NAME
    return PrivateKind.NAME if options.keep_names and looks_like_name(text) else None


def _find_number(text: str) -> PrivateKind | None:
    folded = _plain(text)
    if _EMAIL.search(folded):
        return PrivateKind.EMAIL
    upper = folded.upper()
    if any(_is_iban(match.group()) for match in _IBAN.finditer(upper)):
        return PrivateKind.ACCOUNT
    if _MACHINE_READABLE.search(upper.replace(" ", "")):
        return PrivateKind.DOCUMENT
    repaired = _DATE_OR_HOURS.sub(" ; ", _repair_digits(folded))
    runs = ["".join(filter(str.isdigit, match.group())) for match in _NUMBER.finditer(repaired)]
    if any(_holds_card(run) for run in runs):
        return PrivateKind.CARD
    if any(len(run) >= PHONE_DIGITS for run in runs) and _PHONE_CUE.search(repaired):
        return PrivateKind.PHONE
    if _DOCUMENT.search(upper):
        return PrivateKind.DOCUMENT
    if any(len(run) >= LONG_NUMBER_DIGITS for run in runs):
        return PrivateKind.NUMBER
    return None


def luhn_valid(digits: str) -> bool:
    """Whether a string of ASCII digits satisfies the Luhn check (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit)
        if place % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


def _plain(text: str) -> str:
    """NFKC, with the digits of every script as ASCII."""
    return "".join(_ascii_digit(character) for character in unicodedata.normalize("NFKC", text))


def _ascii_digit(character: str) -> str:
    value = unicodedata.digit(character, None)
    return character if value is None else str(value)


def _repair_digits(text: str) -> str:
    """Replace letters that look like digits, where a digit stands next to them."""
    repaired = list(text)
    # Forwards and backwards, so that a run of look-alikes is repaired from either end.
    for indices, step in ((range(len(repaired)), -1), (range(len(repaired) - 1, -1, -1), 1)):
        for index in indices:
            neighbour = index + step
            inside = 0 <= neighbour < len(repaired) and repaired[neighbour].isdigit()
            if inside and repaired[index] in "OoQDIl|!SsBZz":
                repaired[index] = repaired[index].translate(_LOOK_ALIKE)
    return "".join(repaired)


def _holds_card(run: str) -> bool:
    """Whether a card number lies anywhere in a run of digits: other numbers may stand right before or after it."""
    return any(
        luhn_valid(run[start : start + length])
        for length in CARD_DIGITS
        for start in range(len(run) - length + 1)
        if run[start] != "0"
    )


def _is_iban(text: str) -> bool:
    """ISO 13616: the country and check digits moved to the end, letters as numbers, modulo 97 is one."""
    compact = "".join(filter(str.isalnum, text))
    # What follows an account number may have been taken along: try every length that a country uses.
    for length in range(15, min(len(compact), 34) + 1):
        candidate = compact[4:length] + compact[:4]
        if int("".join(str(int(character, 36)) for character in candidate)) % 97 == 1:
            return True
    return False
