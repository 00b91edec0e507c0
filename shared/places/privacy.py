"""Texts that no shared memory keeps, whoever sends them: the last check, after the phone's (`phone.cascade.privacy`).

It knows what can be told without a wearer's settings: numbers that reach somebody, and addresses. It errs towards
leaving out: a sign with a telephone number is read anew each time.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

MAX_DIGITS: Final = 7
"""Digits in one number, its separators apart, from which it may reach somebody; years, prices and bus lines are
shorter."""
_SEPARATOR: Final = r"[ .\-–—/()\n\t·]{0,3}"
_NUMBER: Final = re.compile(rf"\d(?:{_SEPARATOR}\d)*")
_HOURS_AND_DATES: Final = re.compile(
    r"(?<!\d)(?:\d{1,2}[:h]\d{2}|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}[./-]\d{1,2}[./-]\d{1,2})(?!\d)", re.IGNORECASE
)
_ADDRESS: Final = re.compile(r"[^\s@]+ ?@ ?[^\s@]+")


def looks_private(text: str) -> bool:
    """Whether a text holds a number that may reach somebody or an e-mail address, or has no letter at all.

    A text of digits alone is no sign worth sharing: it reads the same in every language, and may be anything.
    """
    plain = "".join(
        character if (value := unicodedata.decimal(character, None)) is None else str(value)
        for character in unicodedata.normalize("NFKC", text)
    )
    if _ADDRESS.search(plain) or not any(character.isalpha() for character in plain):
        return True
    numbers = _NUMBER.finditer(_HOURS_AND_DATES.sub(" ; ", plain))
    return any(sum(map(str.isdigit, number.group())) >= MAX_DIGITS for number in numbers)
