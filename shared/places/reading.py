"""What one device read on one sign, and what is known of a sign."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from shared.errors import InputError
from shared.limits import MAX_PLACE_TEXT_CHARACTERS, MAX_PLACE_TRANSLATION_CHARACTERS
from shared.places.cells import check_cell

MAX_HASH: Final = 2**64 - 1
_LANGUAGE: Final = re.compile(r"[a-z]{2}")


class PlaceEngine(StrEnum):
    """What produced a translation, as its reader said."""

    UNKNOWN = ""
    PHRASEBOOK = "phrasebook"
    TRANSLATOR = "translator"
    COPY = "copy"
    MIXED = "mixed"


@dataclass(frozen=True, slots=True)
class PlaceReading:
    """One reading of one sign at a place. Neither who read it nor when is part of it.

    Attributes:
        cell: H3 index, see `shared.places.cells`.
        text: lines joined by a line feed.
        translation: of the text; lines joined by a line feed.
        source: language of the text, ISO 639-1; empty when unknown.
        target: language of the translation, ISO 639-1.
        picture_hash: of the strip, see `shared.places.pictures`; None when unknown.
        confidence: P(text and translation are right) as its reader said, 0..1.
        engine: what translated.
    """

    cell: str
    text: str
    translation: str
    source: str
    target: str
    picture_hash: int | None = None
    confidence: float = 0.0
    engine: PlaceEngine = PlaceEngine.UNKNOWN


@dataclass(frozen=True, slots=True)
class KnownSign:
    """A sign as a memory knows it.

    Attributes:
        reading: what it says; its confidence is the trust.
        trust: how far to believe it, 0..1.
        devices: how many read it so; 1 for what only this device read.
    """

    reading: PlaceReading
    trust: float
    devices: int


def check_reading(reading: PlaceReading) -> PlaceReading:
    """A reading as others sent it.

    Raises:
        InputError: a field is empty, too long or malformed; the message names the field, never its content.
    """
    check_cell(reading.cell)
    for name, text, most in (
        ("text", reading.text, MAX_PLACE_TEXT_CHARACTERS),
        ("translation", reading.translation, MAX_PLACE_TRANSLATION_CHARACTERS),
    ):
        if not text.strip() or len(text) > most:
            raise InputError(f"the {name} of a place has 1 to {most} characters")
        if any(unicodedata.category(character) in {"Cc", "Cs"} and character != "\n" for character in text):
            raise InputError(f"the {name} of a place holds a control character")
    if not _LANGUAGE.fullmatch(reading.target) or (reading.source and not _LANGUAGE.fullmatch(reading.source)):
        raise InputError("the direction of a place is not made of lower-case ISO 639-1 codes")
    if reading.picture_hash is not None and not 0 <= reading.picture_hash <= MAX_HASH:
        raise InputError("the hash of a picture has 64 bits")
    if not 0.0 <= reading.confidence <= 1.0:
        raise InputError("a confidence is outside 0..1")
    return reading
